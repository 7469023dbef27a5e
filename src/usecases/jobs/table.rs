//! The jobs of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::handle::Handle;
use crate::domain::host::Target;
use crate::domain::job::{Job, JobId, Kind};
use crate::usecases::mutex::lock_of;

/// How often what another process does to a job is looked for.
pub(super) const POLL: Duration = Duration::from_millis(150);

/// Every job of this process that has not ended.
#[derive(Default)]
pub struct Jobs {
    pub(super) running: Mutex<HashMap<JobId, Arc<Handle>>>,
    /// The ends of jobs that could not be written down yet: they are known, whatever happened to the containers since.
    pub(super) unwritten: Mutex<HashMap<JobId, Job>>,
    pub(super) tracker: TaskTracker,
}

impl Jobs {
    /// The running jobs of this process.
    pub fn running(&self) -> Vec<Job> {
        lock_of(&self.running).values().map(|handle| handle.job()).collect()
    }

    /// A job of this process that has not ended.
    pub fn find(&self, id: &JobId) -> Option<Arc<Handle>> {
        lock_of(&self.running).get(id).cloned()
    }

    /// The job that `kind` on `target` would join, or have to wait for.
    pub(super) fn of(&self, kind: Kind, target: &Target) -> Option<Arc<Handle>> {
        let same = |handle: &&Arc<Handle>| handle.target == *target && handle.kind.only_looks() == kind.only_looks();
        lock_of(&self.running).values().find(same).cloned()
    }

    /// Waits until every job has ended.
    pub async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
