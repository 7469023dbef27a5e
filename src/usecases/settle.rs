//! Finds jobs that lost their process in the middle, by a crash, a power cut or a kill, and has them resumed.

use std::sync::Arc;
use std::time::Duration;

use super::context::Host;
use crate::domain::job::{Job, State};
use crate::error::Error;

/// How often jobs that have lost their process are looked for: also a command of another process may break off.
const LOOK: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody has let an open job go, like a Compose that goes on without its caller.
const HELD: Duration = Duration::from_secs(1);
/// How soon to try again what could not be settled; each time twice as long.
const RETRY: Duration = Duration::from_secs(10);
const LONGEST_RETRY: Duration = Duration::from_secs(2 * 60);

/// What an attempt to settle has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    Nothing,
    /// Somebody else works on a job.
    Held,
    /// A job could not be settled; the log says why.
    Open,
}

impl Host {
    /// Settles the jobs that never ended and that no living process works on, for as long as the service runs: what is
    /// needed for it, like the engine or a readable Compose file, may come later. Whoever works on an app meanwhile
    /// settles it first.
    pub async fn keep_settling(self: Arc<Self>) {
        let mut retry = RETRY;
        loop {
            let (pause, next_retry) = match self.settle_all().await {
                Left::Nothing => (LOOK, RETRY),
                Left::Held => (HELD, RETRY),
                Left::Open => (retry, (retry * 2).min(LONGEST_RETRY)),
            };
            retry = next_retry;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.service.stopping.cancelled() => return,
            }
        }
    }

    /// Tries each of them once, and tells the worst of what is left.
    pub async fn settle_all(self: &Arc<Self>) -> Left {
        let jobs = match self.service.store.running().await {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::error!(%error, "interrupted jobs could not be looked for");
                return Left::Open;
            }
        };
        let own = jobs.into_iter().filter(|job| job.target.host == self.name);
        let dead = own.filter(|job| self.service.jobs.find(&job.id).is_none());
        let settled = futures_util::future::join_all(dead.map(|job| self.settle_one(job))).await;
        let left = settled.into_iter().map(|settled| {
            settled.unwrap_or_else(|error| {
                tracing::error!(%error, "an interrupted job is not settled");
                Left::Open
            })
        });
        left.max().unwrap_or(Left::Nothing)
    }

    async fn settle_one(self: &Arc<Self>, job: Job) -> Result<Left, Error> {
        let Some(lock) = self.service.try_lock(job.kind, &job.target).await? else { return Ok(Left::Held) };
        // It may have ended between the list and the lock.
        if self.service.store.job(&job.id).await?.is_none_or(|now| now.state == State::Finished) {
            return Ok(Left::Nothing);
        }
        self.settle_first(job, lock).await.map(|()| Left::Nothing)
    }
}
