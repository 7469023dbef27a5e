//! A job's life: its work in a task of its own, and its one end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::handle::{Handle, Phase, Wish};
use super::running::Running;
use crate::adapters::lock::{JobLock, LockError};
use crate::adapters::task;
use crate::domain::host::Target;
use crate::domain::job::{Job, JobResult, Kind, Outcome, State};
use crate::error::{Code, Error};
use crate::usecases::context::{Host, Service};
use crate::usecases::mutex::lock_of;

impl Service {
    /// Records that this process ends on purpose: what it leaves open has not died with it.
    pub async fn leave_open(&self) {
        if let Err(error) = self.store.let_all_go(&self.worker).await {
            tracing::error!(%error, "that jobs are left open is not recorded: the next start counts a death for each");
        }
    }

    /// The lock for a job of `kind` on `target`; `None` when somebody has it.
    pub(in crate::usecases) async fn try_lock(
        &self,
        kind: Kind,
        target: &Target,
    ) -> Result<Option<JobLock>, LockError> {
        if kind.only_looks() { self.locks.try_look(target).await } else { self.locks.try_target(target).await }
    }
}

impl Host {
    pub(super) fn spawn_job<W, F>(
        self: &Arc<Self>,
        job: Job,
        lock: JobLock,
        phase: Phase,
        wish: Option<Wish>,
        work: W,
    ) -> Arc<Handle>
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
            progress: Mutex::default(),
            wish,
        });
        lock_of(&self.service.jobs.running).insert(job.id.clone(), handle.clone());
        self.changed();
        let span = tracing::info_span!("job", job.id = %job.id, job.kind = %job.kind, target = job.target.name());
        let running = Arc::new(Running { host: self.clone(), handle: handle.clone(), lock });
        let life = async move {
            let started = Instant::now();
            tracing::info!("job started");
            running.host.service.events.tell(Some(&job.id), "job", serde_json::json!(job));
            // A panic in the work is a failed job, never one that is forgotten.
            let worked = task::spawn("job", work(running.clone()))
                .await
                .unwrap_or_else(|panic| Err(Error::new(Code::Panic, format!("the job broke off: {panic}"))));
            match worked {
                Err(error) if error.code == Code::Unsettled || resumed && error.may_pass() => {
                    postpone(running, job, &error);
                }
                worked => end(running, job, worked, started.elapsed()).await,
            }
        };
        let life = self.service.jobs.tracker.track_future(life.instrument(span));
        drop(task::spawn("end of a job", life));
        handle
    }
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
                None if error.code == Code::Cancelled => Outcome::Cancelled,
                None => Outcome::Failed,
            });
            tracing::warn!(
                outcome = ?job.outcome,
                code = %error.code,
                error = %error,
                command = error.command,
                stderr = error.stderr,
                duration_ms = took.as_millis(),
                "job finished without success"
            );
            job.result = attempt.map(|attempt| JobResult {
                services: attempt.services,
                warnings: attempt.warnings,
                ..JobResult::of(job.id.clone(), attempt.outcome, took)
            });
            job.error = Some(error.to_job_error());
        }
    }
    let host = running.host.clone();
    host.service.metrics.ended(job.kind, job.outcome.unwrap_or(Outcome::Failed), took);
    // Before its end is written down: killed in between, people are told twice rather than never.
    host.service.announce(&job).await;
    if let Err(error) = host.service.store.finish(&job).await {
        // It is tried again while this process lives; a next one finds the job unfinished and settles it.
        tracing::error!(error = %error, "the end of the job could not be written down");
        lock_of(&host.service.jobs.unwritten).insert(job.id.clone(), job.clone());
    } else if job.outcome == Some(Outcome::Updated) {
        host.forget_old_images().await;
    }
    match job.outcome {
        _ if job.kind.only_looks() => host.changed(),
        Some(Outcome::Unchanged) => host.changed(),
        _ => host.wrote(),
    }
    let_go(running, JobLock::release);
    host.service.events.tell(Some(&job.id), "result", serde_json::json!(job));
    handle.state.send_replace(job);
}

/// Leaves an interrupted job as it was found. Only who waits for it here is told that it has ended.
fn postpone(running: Arc<Running>, mut job: Job, error: &Error) {
    tracing::warn!(code = %error.code, %error, "the interrupted job cannot be settled yet");
    let handle = running.handle.clone();
    running.host.wrote();
    job.state = State::Finished;
    job.outcome = Some(Outcome::Interrupted);
    job.error = Some(error.to_job_error());
    // A Compose that goes on holds the lock as well, and keeps it.
    let_go(running, drop);
    handle.state.send_replace(job);
}

/// The lock goes before anybody is told, so that who asks again at once is not refused.
fn let_go(running: Arc<Running>, end: fn(JobLock)) {
    let (host, id) = (running.host.clone(), running.handle.id.clone());
    // Nobody but this task has the lock any more, and its children have ended.
    if let Some(running) = Arc::into_inner(running) {
        end(running.lock);
    }
    lock_of(&host.service.jobs.running).remove(&id);
}
