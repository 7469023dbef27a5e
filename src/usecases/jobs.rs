//! Jobs that run: they belong to the service, not to the request that asked for them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::context::Restock;
use super::ending::UNSETTLED;
use super::settle;
use crate::adapters::lock::{ImageLocks, JobLock};
use crate::domain::job::{Job, JobId, JobResult, Kind, Outcome, State, Step, Target};
use crate::error::{self, Error};

/// How often the end of a job of another process is looked for.
const POLL: Duration = Duration::from_millis(150);
/// How long a process may take between taking an app's lock and writing down its job.
const BETWEEN_LOCK_AND_JOB: Duration = Duration::from_secs(2);
/// How long the images that apps share may be held by another job.
const IMAGE_LOCK_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// The jobs of this process.
#[derive(Default)]
pub struct Jobs {
    running: Mutex<HashMap<JobId, Arc<Handle>>>,
    tracker: TaskTracker,
}

/// A job of this process, from its start to its end.
pub struct Handle {
    pub id: JobId,
    kind: Kind,
    target: Target,
    state: watch::Sender<Job>,
    cancel: CancellationToken,
    phase: Mutex<Phase>,
}

/// Whether a job can still be cancelled.
#[derive(PartialEq, Eq)]
enum Phase {
    Untouched,
    Cancelled,
    Touching,
}

/// A job that was started or joined.
pub enum Ticket {
    Own(Arc<Handle>),
    /// Another process works on it.
    Elsewhere(JobId),
}

impl Ticket {
    /// The job's identity.
    pub fn id(&self) -> &JobId {
        match self {
            Self::Own(handle) => &handle.id,
            Self::Elsewhere(id) => id,
        }
    }
}

impl Handle {
    /// The job as it is now.
    pub fn job(&self) -> Job {
        self.state.borrow().clone()
    }

    /// Fires when somebody wants the job not to go on; from [`Handle::begin_touching`] on it is ignored.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The last moment at which the job could be cancelled: from here on it goes on to its end.
    pub fn begin_touching(&self) -> Result<(), Error> {
        let mut phase = lock_of(&self.phase);
        if *phase == Phase::Cancelled {
            return Err(cancelled());
        }
        *phase = Phase::Touching;
        Ok(())
    }

    /// Asks the job to end before it touches anything.
    pub fn cancel(&self) -> Result<(), Error> {
        let mut phase = lock_of(&self.phase);
        if *phase == Phase::Touching || self.state.borrow().state == State::Finished {
            return Err(Error::new(
                error::Kind::Conflict,
                "too_late_to_cancel",
                format!("job {} can no longer be cancelled: it has begun to change containers", self.id),
            )
            .hint("wait for its end, then roll it back"));
        }
        *phase = Phase::Cancelled;
        self.cancel.cancel();
        Ok(())
    }

    /// Waits for the end.
    pub async fn finished(&self) -> Job {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|job| job.state == State::Finished).await;
        ended.map_or_else(|_| self.job(), |job| job.clone())
    }
}

/// What a job's work is given: itself, and the lock of what it works on.
pub struct Running {
    pub restock: Arc<Restock>,
    pub handle: Arc<Handle>,
    lock: JobLock,
}

impl Running {
    /// Notes that the job is at `step`, durably, and tells it.
    pub async fn step(&self, step: Step) -> Result<(), Error> {
        self.restock.store.set_step(&self.handle.id, step).await?;
        self.tell_step(step);
        Ok(())
    }

    /// Tells that the job is at `step`, which something else has written down.
    pub fn tell_step(&self, step: Step) {
        tracing::info!(step = ?step, "job step");
        self.handle.state.send_modify(|job| job.step = Some(step));
        self.restock.events.tell(Some(&self.handle.id), "step", serde_json::json!({ "step": step }));
    }

    /// The app's lock as the standard input of a child, which holds it on if this process is killed.
    pub fn lock_for_child(&self) -> std::process::Stdio {
        self.lock.as_stdin().unwrap_or_else(|error| {
            tracing::warn!(%error, "the lock cannot be shared with Compose; it would be freed if Restock were killed");
            std::process::Stdio::null()
        })
    }

    /// Waits for `work`, unless somebody cancels the job first.
    pub async fn unless_cancelled<T, E: Into<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        tokio::select! {
            done = work => done.map_err(Into::into),
            () = self.handle.cancelled().cancelled() => Err(cancelled()),
        }
    }

    /// Locks images that apps share against everybody else who pulls them or gives them another meaning.
    pub async fn image_locks(&self, references: &BTreeSet<String>) -> Result<ImageLocks, Error> {
        self.unless_cancelled(self.restock.locks.images(references, IMAGE_LOCK_DEADLINE)).await
    }

    /// Tells something that the owner should know though the job goes on.
    pub fn warn(&self, message: &str) {
        tracing::warn!("{message}");
        self.restock.events.tell(Some(&self.handle.id), "warning", serde_json::json!({ "message": message }));
    }
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

    fn of(&self, target: &Target) -> Option<Arc<Handle>> {
        lock_of(&self.running).values().find(|handle| handle.target == *target).cloned()
    }

    /// Waits until every job has ended.
    pub async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Restock {
    /// Starts `work` on a target under its lock, or joins the job of the same kind that is running there.
    ///
    /// A job of another kind on the target is a conflict that names it. What a process that died left half done is
    /// settled before the work begins.
    pub async fn start_job<W, F>(self: &Arc<Self>, kind: Kind, target: Target, work: W) -> Result<Ticket, Error>
    where
        W: FnOnce(Arc<Running>) -> F + Send + 'static,
        F: Future<Output = Result<JobResult, Error>> + Send + 'static,
    {
        if self.stopping.is_cancelled() {
            return Err(Error::new(error::Kind::Unavailable, "shutting_down", "Restock is shutting down"));
        }
        let deadline = Instant::now() + BETWEEN_LOCK_AND_JOB;
        let lock = loop {
            if let Some(handle) = self.jobs.of(&target) {
                return join(kind, handle.kind, &handle.id, &target).map(|()| Ticket::Own(handle));
            }
            if let Some(lock) = self.locks.try_target(&target)? {
                // Nobody else holds the app, so a job that has not ended there has lost its process.
                match self.store.running_for(&target).await? {
                    None => break lock,
                    Some(dead) => self.settle_first(dead, lock).await?,
                }
                continue;
            }
            if let Some(job) = self.store.running_for(&target).await? {
                return join(kind, job.kind, &job.id, &target).map(|()| Ticket::Elsewhere(job.id));
            }
            if Instant::now() >= deadline {
                let message = format!("another process works on `{}`", target.name());
                return Err(Error::new(error::Kind::Conflict, "busy", message)
                    .hint("wait until it has ended")
                    .app(target.name()));
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
            by: None,
            started_at: Timestamp::now(),
            finished_at: None,
        };
        self.store.insert(&job).await?;
        Ok(Ticket::Own(self.spawn_job(job, lock, Phase::Untouched, work)))
    }

    /// Settles a job whose process died.
    ///
    /// # Errors
    /// When that is not possible now: the job stays as it is, for whoever tries next.
    pub(super) async fn settle_first(self: &Arc<Self>, dead: Job, lock: JobLock) -> Result<(), Error> {
        let id = dead.id.clone();
        let ended = self.resume(dead, lock).finished().await;
        if self.store.job(&id).await?.is_none_or(|job| job.state == State::Finished) {
            return Ok(());
        }
        let reason = ended.error.map_or_else(|| "its end could not be written down".to_owned(), |error| error.message);
        let name = ended.target.name();
        let message = format!("the interrupted job {id} on `{name}` cannot be settled yet: {reason}");
        Err(Error::new(error::Kind::Unavailable, UNSETTLED, message)
            .hint("remove the cause; it is tried again by itself, and before anything else is done there")
            .job(&id))
    }

    /// Goes on with a job whose process died, under its own identity, until what it worked on is settled.
    fn resume(self: &Arc<Self>, dead: Job, lock: JobLock) -> Arc<Handle> {
        tracing::warn!(job.id = %dead.id, target = dead.target.name(), step = ?dead.step, "settling an interrupted job");
        let was = dead.clone();
        let settling = move |running: Arc<Running>| async move { settle::settle(&running, &was).await };
        self.spawn_job(dead, lock, Phase::Touching, settling)
    }

    fn spawn_job<W, F>(self: &Arc<Self>, job: Job, lock: JobLock, phase: Phase, work: W) -> Arc<Handle>
    where
        W: FnOnce(Arc<Running>) -> F + Send + 'static,
        F: Future<Output = Result<JobResult, Error>> + Send + 'static,
    {
        let resumed = phase == Phase::Touching;
        let handle = Arc::new(Handle {
            id: job.id.clone(),
            kind: job.kind,
            target: job.target.clone(),
            state: watch::channel(job.clone()).0,
            cancel: CancellationToken::new(),
            phase: Mutex::new(phase),
        });
        lock_of(&self.jobs.running).insert(job.id.clone(), handle.clone());
        let span = tracing::info_span!("job", job.id = %job.id, job.kind = %job.kind, target = job.target.name());
        let running = Arc::new(Running { restock: self.clone(), handle: handle.clone(), lock });
        self.jobs.tracker.spawn(
            async move {
                let started = Instant::now();
                tracing::info!("job started");
                running.restock.events.tell(Some(&job.id), "job", serde_json::json!(job));
                // A panic in the work is a failed job, never one that is forgotten.
                let worked = tokio::spawn(work(running.clone()).in_current_span()).await.unwrap_or_else(|panic| {
                    Err(Error::new(error::Kind::Internal, "panic", format!("the job broke off: {panic}")))
                });
                match worked {
                    Err(error) if error.code == UNSETTLED || resumed && error.may_pass() => {
                        postpone(running, job, &error);
                    }
                    worked => end(running, job, worked, started.elapsed()).await,
                }
            }
            .instrument(span),
        );
        handle
    }

    /// Runs a job to its end: whoever works on it. When another process that did so dies, its job is settled and the
    /// work is started again here.
    pub async fn run_to_end<S, F>(self: &Arc<Self>, start: S) -> Result<Job, Error>
    where
        S: Fn() -> F,
        F: Future<Output = Result<Ticket, Error>>,
    {
        loop {
            if let Some(job) = self.wait(&start().await?).await? {
                return Ok(job);
            }
        }
    }

    /// Waits for a job's end; `None` when the process that ran it died without one.
    pub async fn wait(&self, ticket: &Ticket) -> Result<Option<Job>, Error> {
        let id = match ticket {
            Ticket::Own(handle) => return Ok(Some(handle.finished().await)),
            Ticket::Elsewhere(id) => id,
        };
        loop {
            match self.store.job(id).await? {
                Some(job) if job.state == State::Finished => return Ok(Some(job)),
                Some(job) if self.is_abandoned(&job)? => return Ok(None),
                Some(_) => tokio::time::sleep(POLL).await,
                None => return Ok(None),
            }
        }
    }

    /// A running job whose target nobody holds has lost its process.
    fn is_abandoned(&self, job: &Job) -> Result<bool, Error> {
        Ok(self.locks.try_target(&job.target)?.map(JobLock::release).is_some())
    }

    /// A job by its ID, whether it runs or has ended.
    pub async fn job(&self, id: &JobId) -> Result<Job, Error> {
        if let Some(handle) = self.jobs.find(id) {
            return Ok(handle.job());
        }
        self.store.job(id).await?.ok_or_else(|| no_such_job(id.as_str()))
    }

    /// Cancels a job before it touches containers.
    pub async fn cancel_job(&self, id: &JobId) -> Result<(), Error> {
        if let Some(handle) = self.jobs.find(id) {
            return handle.cancel();
        }
        let job = self.store.job(id).await?.ok_or_else(|| no_such_job(id.as_str()))?;
        let message = match job.state {
            State::Finished => format!("job {id} has already finished"),
            _ => format!("job {id} runs in another process"),
        };
        Err(Error::new(error::Kind::Conflict, "not_cancellable", message))
    }
}

/// The error for a job that is not known.
pub fn no_such_job(id: &str) -> Error {
    let id: String = id.chars().take(80).collect();
    Error::new(error::Kind::NotFound, "no_such_job", format!("no such job: {id}"))
}

fn join(wanted: Kind, running: Kind, id: &JobId, target: &Target) -> Result<(), Error> {
    if wanted == running {
        return Ok(());
    }
    let message = format!("`{}` is busy: {running} job {id} is running", target.name());
    Err(Error::new(error::Kind::Conflict, "busy", message)
        .hint("wait until that job has ended")
        .app(target.name())
        .job(id))
}

/// The error of a job that somebody has cancelled.
pub(super) fn cancelled() -> Error {
    Error::new(error::Kind::Conflict, "cancelled", "the job was cancelled before anything was touched")
}

async fn end(running: Arc<Running>, mut job: Job, worked: Result<JobResult, Error>, took: Duration) {
    let handle = running.handle.clone();
    job.state = State::Finished;
    job.step = handle.job().step;
    job.finished_at = Some(Timestamp::now());
    match worked {
        Ok(result) => {
            tracing::info!(outcome = %result.outcome, duration_ms = took.as_millis(), "job finished");
            job.outcome = Some(result.outcome);
            job.result = Some(result);
        }
        Err(error) => {
            let attempt = error.attempt.clone();
            job.outcome = Some(match &attempt {
                Some(attempt) => attempt.outcome,
                None if error.code == "cancelled" => Outcome::Cancelled,
                None => Outcome::Failed,
            });
            tracing::warn!(
                outcome = ?job.outcome,
                code = error.code,
                error = %error,
                command = error.command,
                stderr = error.stderr,
                duration_ms = took.as_millis(),
                "job finished without success"
            );
            job.result = attempt.map(|attempt| JobResult {
                services: attempt.services,
                ..JobResult::of(job.id.clone(), attempt.outcome, took)
            });
            job.error = Some(error.to_job_error());
        }
    }
    let restock = running.restock.clone();
    restock.metrics.ended(job.kind, job.outcome.unwrap_or(Outcome::Failed), took);
    // Before its end is written down: killed in between, people are told twice rather than never.
    restock.announce(&job).await;
    if let Err(error) = restock.store.finish(&job).await {
        // The next start finds the job unfinished and settles it.
        tracing::error!(error = %error, "the end of the job could not be written down");
    }
    let_go(running);
    restock.events.tell(Some(&job.id), "result", serde_json::json!(job));
    handle.state.send_replace(job);
}

/// Leaves an interrupted job as it was found. Only who waits for it here is told that it has ended.
fn postpone(running: Arc<Running>, mut job: Job, error: &Error) {
    tracing::warn!(code = error.code, %error, "the interrupted job cannot be settled yet");
    let handle = running.handle.clone();
    job.state = State::Finished;
    job.outcome = Some(Outcome::Interrupted);
    job.error = Some(error.to_job_error());
    let restock = running.restock.clone();
    let_go(running);
    handle.state.send_replace(job);
    if error.code == UNSETTLED {
        tokio::spawn(restock.keep_settling());
    }
}

/// The lock goes before anybody is told, so that who asks again at once is not refused.
fn let_go(running: Arc<Running>) {
    let (restock, id) = (running.restock.clone(), running.handle.id.clone());
    // Nobody but this task has the lock any more, and its children have ended.
    if let Some(running) = Arc::into_inner(running) {
        running.lock.release();
    }
    lock_of(&restock.jobs.running).remove(&id);
}

fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
