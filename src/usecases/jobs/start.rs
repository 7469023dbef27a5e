//! How a job begins: under its lock, after what a dead process left there is settled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::handle::{Handle, Phase, Ticket, Wish};
use super::running::Running;
use super::table::POLL;
use crate::adapters::lock::JobLock;
use crate::adapters::task;
use crate::domain::host::Target;
use crate::domain::job::{Job, JobId, JobResult, Kind, State};
use crate::error::{Code, Error};
use crate::usecases::attempt;
use crate::usecases::context::Host;
use crate::usecases::mutex::lock_of;

/// How long a process may take between taking an app's lock and writing down its job.
const BETWEEN_LOCK_AND_JOB: Duration = Duration::from_secs(2);

impl Host {
    /// Starts `work` on a target under its lock, or joins the job of the same kind that is running there.
    ///
    /// A job of another kind on the target is a conflict that names it. What a process that died left half done is
    /// settled before the work begins.
    pub async fn start_job<W, F>(self: &Arc<Self>, kind: Kind, target: Target, work: W) -> Result<Ticket, Error>
    where
        W: FnOnce(Arc<Running>) -> F + Send + 'static,
        F: Future<Output = Result<JobResult, Error>> + Send + 'static,
    {
        self.start_job_with(kind, target, None, work).await
    }

    /// The same for a job that can say what it was asked to do.
    pub async fn start_job_with<W, F>(
        self: &Arc<Self>,
        kind: Kind,
        target: Target,
        wish: Option<Wish>,
        work: W,
    ) -> Result<Ticket, Error>
    where
        W: FnOnce(Arc<Running>) -> F + Send + 'static,
        F: Future<Output = Result<JobResult, Error>> + Send + 'static,
    {
        if self.service.stopping.is_cancelled() {
            return Err(Error::new(Code::ShuttingDown, "Restock is shutting down"));
        }
        let deadline = Instant::now() + BETWEEN_LOCK_AND_JOB;
        let lock = loop {
            if let Some(handle) = self.service.jobs.of(kind, &target) {
                return join(kind, handle.kind, &handle.id, &target).map(|()| Ticket::Own(handle));
            }
            if let Some(lock) = self.service.try_lock(kind, &target).await? {
                // Nobody else holds the app, so a job that has not ended there has lost its process.
                match self.service.store.running_for(kind, &target).await? {
                    None => break lock,
                    Some(dead) => self.settle_first(dead, lock).await?,
                }
                continue;
            }
            if let Some(job) = self.service.store.running_for(kind, &target).await? {
                return join(kind, job.kind, &job.id, &target).map(|()| Ticket::Elsewhere(job.id));
            }
            if Instant::now() >= deadline {
                let message = format!("another process works on `{}`", target.name());
                return Err(Error::new(Code::Busy, message).hint("wait until it has ended").app(target.name()));
            }
            tokio::time::sleep(POLL).await;
        };
        let job = Job {
            id: JobId::new(ulid::Ulid::new()),
            kind,
            target,
            state: State::Running,
            step: None,
            outcome: None,
            result: None,
            error: None,
            blocked: None,
            by: None,
            request_id: task::request().map(|id| id.to_string()),
            started_at: Timestamp::now(),
            finished_at: None,
        };
        self.service.store.insert(&job).await?;
        Ok(Ticket::Own(self.spawn_job(job, lock, Phase::Untouched, wish, work)))
    }

    /// Settles a job whose process died, or writes down the end of one that had ended without that.
    ///
    /// # Errors
    /// When that is not possible now: the job stays as it is, for whoever tries next.
    pub(in crate::usecases) async fn settle_first(self: &Arc<Self>, dead: Job, lock: JobLock) -> Result<(), Error> {
        let id = dead.id.clone();
        let unwritten = lock_of(&self.service.jobs.unwritten).get(&id).cloned();
        if let Some(job) = unwritten {
            self.service.store.finish(&job).await?;
            lock_of(&self.service.jobs.unwritten).remove(&id);
            lock.release();
            return Ok(());
        }
        let ended = self.resume(dead, lock).finished().await;
        if self.service.store.job(&id).await?.is_none_or(|job| job.state == State::Finished) {
            return Ok(());
        }
        let reason = ended.error.map_or_else(|| "its end could not be written down".to_owned(), |error| error.message);
        let name = ended.target.name();
        let message = format!("the interrupted job {id} on `{name}` cannot be settled yet: {reason}");
        Err(Error::new(Code::Unsettled, message)
            .hint("remove the cause; it is tried again by itself, and before anything else is done there")
            .job(&id))
    }

    /// Goes on with a job whose process died, under its own identity, until what it worked on is settled.
    fn resume(self: &Arc<Self>, dead: Job, lock: JobLock) -> Arc<Handle> {
        tracing::warn!(job.id = %dead.id, target = dead.target.name(), step = ?dead.step, "settling an interrupted job");
        let was = dead.clone();
        let settling = move |running: Arc<Running>| async move { attempt::resume(&running, &was).await };
        self.spawn_job(dead, lock, Phase::Touching, None, settling)
    }
}

fn join(wanted: Kind, running: Kind, id: &JobId, target: &Target) -> Result<(), Error> {
    if wanted == running {
        return Ok(());
    }
    let message = format!("`{}` is busy: {running} job {id} is running", target.name());
    Err(Error::new(Code::Busy, message).hint("wait until that job has ended").app(target.name()).job(id))
}
