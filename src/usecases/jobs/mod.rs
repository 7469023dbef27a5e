//! Jobs that run: they belong to the service, not to the request that asked for them.

mod handle;
mod life;
mod running;
mod start;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::task::TaskTracker;

pub(super) use handle::cancelled;
pub use handle::{Handle, Ticket, Wish};
pub use running::Running;
pub use wait::no_such_job;

use crate::adapters::lock::{JobLock, LockError};
use crate::domain::host::Target;
use crate::domain::job::{Job, JobId, Kind};
use crate::usecases::context::Service;

/// How often what another process does to a job is looked for.
const POLL: Duration = Duration::from_millis(150);

/// The jobs of this process.
#[derive(Default)]
pub struct Jobs {
    running: Mutex<HashMap<JobId, Arc<Handle>>>,
    /// The ends of jobs that could not be written down yet: they are known, whatever happened to the containers since.
    unwritten: Mutex<HashMap<JobId, Job>>,
    tracker: TaskTracker,
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
    fn of(&self, kind: Kind, target: &Target) -> Option<Arc<Handle>> {
        let same = |handle: &&Arc<Handle>| handle.target == *target && handle.kind.only_looks() == kind.only_looks();
        lock_of(&self.running).values().find(same).cloned()
    }

    /// Waits until every job has ended.
    pub async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Service {
    /// Records that this process ends on purpose: what it leaves open has not died with it.
    pub async fn leave_open(&self) {
        if let Err(error) = self.store.let_all_go(&self.worker).await {
            tracing::error!(%error, "that jobs are left open is not recorded: the next start counts a death for each");
        }
    }

    /// The lock for a job of `kind` on `target`; `None` when somebody has it.
    pub(super) async fn try_lock(&self, kind: Kind, target: &Target) -> Result<Option<JobLock>, LockError> {
        if kind.only_looks() { self.locks.try_look(target).await } else { self.locks.try_target(target).await }
    }
}

fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
