//! Waiting for jobs, asking about them and cancelling them, whichever process runs them.

use std::sync::Arc;

use jiff::Timestamp;

use super::handle::{Ticket, Wish};
use super::table::POLL;
use crate::adapters::lock::JobLock;
use crate::domain::job::{Job, JobId, Outcome, State};
use crate::error::{Code, Error};
use crate::usecases::context::Service;

impl Service {
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

    /// Starts a job, or joins one that was asked for what `serves` accepts. Any other one is waited for, also one of another
    /// process, which does not say what it was asked for.
    pub(in crate::usecases) async fn start_or_join<S, F>(
        &self,
        start: S,
        serves: impl Fn(&Wish) -> bool,
    ) -> Result<Ticket, Error>
    where
        S: Fn() -> F,
        F: Future<Output = Result<Ticket, Error>>,
    {
        loop {
            let ticket = start().await?;
            if let Ticket::Own(handle) = &ticket
                && handle.wish.as_ref().is_some_and(&serves)
            {
                return Ok(ticket);
            }
            tokio::select! {
                ended = self.wait(&ticket) => drop(ended?),
                // The next attempt is refused for that reason.
                () = self.stopping.cancelled() => {}
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
                // It may have ended between the question and the look at its lock.
                Some(job) if self.is_abandoned(&job).await? => {
                    return Ok(self.store.job(id).await?.filter(|job| job.state == State::Finished));
                }
                Some(_) => tokio::time::sleep(POLL).await,
                None => return Ok(None),
            }
        }
    }

    /// The jobs that run, here and in other processes. One of a process that died is not among them.
    pub(in crate::usecases) async fn running_jobs(&self) -> Result<Vec<Job>, Error> {
        let mut jobs = self.jobs.running();
        for job in self.store.running().await? {
            if jobs.iter().all(|own| own.id != job.id) && !self.is_abandoned(&job).await? {
                jobs.push(job);
            }
        }
        Ok(jobs)
    }

    /// A running job whose target nobody holds has lost its process.
    async fn is_abandoned(&self, job: &Job) -> Result<bool, Error> {
        Ok(self.try_lock(job.kind, &job.target).await?.map(JobLock::release).is_some())
    }

    /// A job by its ID, whether it runs or has ended.
    pub async fn job(&self, id: &JobId) -> Result<Job, Error> {
        if let Some(handle) = self.jobs.find(id) {
            return Ok(handle.job());
        }
        self.store.job(id).await?.ok_or_else(|| no_such_job(id.as_str()))
    }

    /// Cancels a job before it touches containers, or closes one that was left open the way it is: as failed.
    pub async fn cancel_job(&self, id: &JobId) -> Result<(), Error> {
        if let Some(handle) = self.jobs.find(id) {
            return handle.cancel();
        }
        let job = self.store.job(id).await?.ok_or_else(|| no_such_job(id.as_str()))?;
        let refused = |message| Error::new(Code::NotCancellable, message);
        if job.state == State::Finished {
            return Err(refused(format!("job {id} has already finished")));
        }
        match self.try_lock(job.kind, &job.target).await? {
            Some(lock) => self.close_open(job, lock).await,
            None => Err(refused(format!("job {id} runs in another process"))),
        }
    }

    /// Ends an open job without touching anything: a person has decided what becomes of it.
    async fn close_open(&self, mut job: Job, lock: JobLock) -> Result<(), Error> {
        let message = format!("a person closed the open job on `{}`, and everything stays as it is", job.target.name());
        let error = Error::new(Code::ClosedAsItIs, message)
            .hint("look at the containers with `docker ps -a`; the images of before are kept under restock.local/keep");
        job.state = State::Finished;
        job.outcome = Some(Outcome::Failed);
        job.blocked = None;
        job.error = Some(error.to_job_error());
        job.finished_at = Some(Timestamp::now());
        self.store.finish(&job).await?;
        lock.release();
        tracing::warn!(job.id = %job.id, "an open job was closed as it is");
        self.events.tell(Some(&job.id), "result", serde_json::json!(job));
        Ok(())
    }
}

/// The error for a job that is not known.
pub fn no_such_job(id: &str) -> Error {
    let id: String = id.chars().take(80).collect();
    Error::new(Code::NoSuchJob, format!("no such job: {id}"))
}
