//! Attempts: what a job changes, how far it is, and which process works on it.
//!
//! Writes that move an attempt name the process that works on it. One that finds another there has lost the attempt, and
//! must stop at once.

mod shape;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::apps::{BadImage, insert_bad};
use super::connection::Store;
use super::error::{Failure, StoreError};
use super::rows::{known, word};
use crate::domain::app::ServiceName;
use crate::domain::attempt::{Attempt, Side, Stage};
use crate::domain::job::{JobId, State, Step};

/// An attempt as another process left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub attempt: Attempt,
    /// The body that makes a container again which removed itself.
    pub recipe: Option<Value>,
    /// Hooks that come after an update have begun: nobody knows what twice would do.
    pub hooks_begun: bool,
}

impl Store {
    /// Records an attempt, its job's step, and what is held from its beginning on. Nothing may be touched before.
    pub async fn begin_attempt(
        &self,
        attempt: &Attempt,
        recipe: Option<&Value>,
        worker: &str,
        step: Step,
        held: Vec<BadImage>,
    ) -> Result<(), StoreError> {
        let (attempt, recipe, worker) = (attempt.clone(), recipe.map(Value::to_string), worker.to_owned());
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            let facts = shape::facts(&attempt).map_err(|error| Failure::row("an attempt", error))?;
            let (stage, why) = stage_words(&attempt.stage)?;
            transaction.execute(
                "INSERT OR REPLACE INTO attempts (job, host, format, facts, stage, exposed, deaths, why, worker, recipe)
                 VALUES (?1, 'local', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    attempt.job.as_str(),
                    shape::FORMAT,
                    facts,
                    stage,
                    attempt.exposed,
                    attempt.deaths,
                    why,
                    worker,
                    recipe
                ],
            )?;
            set_step(&transaction, &attempt.job, step)?;
            held.iter().try_for_each(|bad| insert_bad(&transaction, bad))?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Moves an attempt to its next stage, holds the images of `held`, and forgets what was held of the owner's `forgotten`
    /// services, all in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when another process works on it.
    pub async fn enter(
        &self,
        attempt: &Attempt,
        worker: &str,
        step: Option<Step>,
        held: &[BadImage],
        owner: &str,
        forgotten: &[ServiceName],
    ) -> Result<(), StoreError> {
        let (attempt, worker, owner) = (attempt.clone(), worker.to_owned(), owner.to_owned());
        let (held, forgotten) = (held.to_vec(), forgotten.to_vec());
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            let (stage, why) = stage_words(&attempt.stage)?;
            let changed = transaction.execute(
                "UPDATE attempts SET stage = ?3, why = ?4 WHERE job = ?1 AND worker = ?2",
                params![attempt.job.as_str(), worker, stage, why],
            )?;
            mine(changed, &attempt.job)?;
            if let Some(step) = step {
                set_step(&transaction, &attempt.job, step)?;
            }
            held.iter().try_for_each(|bad| insert_bad(&transaction, bad))?;
            for service in &forgotten {
                let delete = "DELETE FROM bad_images WHERE app = ?1 AND service = ?2";
                transaction.execute(delete, [owner.as_str(), service.as_str()])?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Notes that `action` begins, that the one before it has ended, and whether New may run from now on.
    pub async fn begin_action(
        &self,
        job: &JobId,
        worker: &str,
        action: &'static str,
        exposes: bool,
    ) -> Result<(), StoreError> {
        let (job, worker) = (job.clone(), worker.to_owned());
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            let update = "UPDATE attempts SET exposed = exposed OR ?3 WHERE job = ?1 AND worker = ?2";
            mine(transaction.execute(update, params![job.as_str(), worker, exposes])?, &job)?;
            let now = Timestamp::now().to_string();
            end_step(&transaction, &job, &now)?;
            transaction.execute(
                "INSERT INTO attempt_steps (job, n, action, begun)
                 VALUES (?1, (SELECT COALESCE(MAX(n), 0) + 1 FROM attempt_steps WHERE job = ?1), ?2, ?3)",
                params![job.as_str(), action, now],
            )?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Records the container that was made for a side.
    pub async fn record_made(&self, job: &JobId, worker: &str, side: Side, id: &str) -> Result<(), StoreError> {
        let (job, worker, id) = (job.clone(), worker.to_owned(), id.to_owned());
        self.call(move |connection| {
            let update = match side {
                Side::Old => "UPDATE attempts SET made_old = ?3 WHERE job = ?1 AND worker = ?2",
                Side::New => "UPDATE attempts SET made_new = ?3 WHERE job = ?1 AND worker = ?2",
            };
            mine(connection.execute(update, params![job.as_str(), worker, id])?, &job)
        })
        .await
    }

    /// The attempt of a job, whoever works on it; `None` where the job never recorded one.
    ///
    /// # Errors
    /// Also for one that a newer program has written: it stays as it is.
    pub async fn attempt(&self, job: &JobId) -> Result<Option<Found>, StoreError> {
        let job = job.clone();
        self.call(move |connection| read(connection, &job)).await
    }

    /// Takes over the attempt of a process that no longer works on it, and gives the number of processes that have died.
    /// One has where it was at work on New until its end.
    pub async fn take_over(&self, job: &JobId, worker: &str) -> Result<u32, StoreError> {
        let (job, worker) = (job.clone(), worker.to_owned());
        self.call(move |connection| {
            let update = "UPDATE attempts
                          SET deaths = deaths + (worker IS NOT NULL AND worker <> ?2 AND stage = 'forward'),
                              worker = ?2, blocked = NULL
                          WHERE job = ?1 RETURNING deaths";
            Ok(connection.query_row(update, params![job.as_str(), worker], |row| row.get(0))?)
        })
        .await
    }

    /// Leaves everything open that this process works on: it ends on purpose.
    pub async fn let_all_go(&self, worker: &str) -> Result<(), StoreError> {
        let worker = worker.to_owned();
        self.call(move |connection| {
            connection.execute("UPDATE attempts SET worker = NULL WHERE worker = ?1", [worker])?;
            Ok(())
        })
        .await
    }

    /// Leaves an attempt open for whoever tries next: no process works on it, and none has died.
    pub async fn let_go(&self, job: &JobId, worker: &str, blocked: Option<&str>) -> Result<(), StoreError> {
        let (job, worker, blocked) = (job.clone(), worker.to_owned(), blocked.map(str::to_owned));
        self.call(move |connection| {
            let update = "UPDATE attempts SET worker = NULL, blocked = ?3 WHERE job = ?1 AND worker = ?2";
            connection.execute(update, params![job.as_str(), worker, blocked])?;
            Ok(())
        })
        .await
    }
}

fn read(connection: &Connection, job: &JobId) -> Result<Option<Found>, Failure> {
    let query = "SELECT format, facts, stage, why, exposed, deaths, made_old, made_new, recipe,
                        EXISTS (SELECT 1 FROM attempt_steps s WHERE s.job = a.job AND s.action = 'hooks_after')
                 FROM attempts a WHERE job = ?1";
    let row = connection
        .prepare_cached(query)?
        .query_row([job.as_str()], |row| {
            let raw = shape::RawAttempt {
                job: job.clone(),
                format: row.get(0)?,
                facts: row.get(1)?,
                stage: row.get(2)?,
                why: row.get(3)?,
                exposed: row.get(4)?,
                deaths: row.get(5)?,
                made_old: row.get(6)?,
                made_new: row.get(7)?,
            };
            Ok((raw, row.get::<_, Option<String>>(8)?, row.get::<_, bool>(9)?))
        })
        .optional()?;
    let Some((raw, recipe, hooks_begun)) = row else { return Ok(None) };
    let wrong = |reason: super::rows::Reason| Failure::row(format!("the attempt of job {job}"), reason);
    let recipe = recipe.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| wrong(error.into()))?;
    Ok(Some(Found { attempt: shape::read(raw).map_err(wrong)?, recipe, hooks_begun }))
}

/// Ends the attempt of a job with the job: nothing in it is secret from then on.
pub(super) fn close(connection: &Connection, job: &JobId) -> Result<bool, Failure> {
    let had_secrets: Option<bool> = connection
        .query_row("SELECT recipe IS NOT NULL FROM attempts WHERE job = ?1", [job.as_str()], |row| row.get(0))
        .optional()?;
    let update = "UPDATE attempts SET stage = 'closed', worker = NULL, blocked = NULL, recipe = NULL WHERE job = ?1";
    connection.execute(update, [job.as_str()])?;
    end_step(connection, job, &Timestamp::now().to_string())?;
    Ok(had_secrets.unwrap_or(false))
}

fn end_step(connection: &Connection, job: &JobId, now: &str) -> Result<(), Failure> {
    let update = "UPDATE attempt_steps SET ended = ?2 WHERE job = ?1 AND ended IS NULL";
    connection.execute(update, params![job.as_str(), now])?;
    Ok(())
}

fn stage_words(stage: &Stage) -> Result<(String, Option<String>), Failure> {
    shape::stage(stage).map_err(|error| Failure::row("a stage", error))
}

fn set_step(connection: &Connection, job: &JobId, step: Step) -> Result<(), Failure> {
    let update = "UPDATE jobs SET state = ?2, step = ?3 WHERE id = ?1";
    known(connection.execute(update, params![job.as_str(), word(&State::Running)?, word(&step)?])?, job)
}

fn mine(changed: usize, job: &JobId) -> Result<(), Failure> {
    if changed == 0 { Err(Failure::Taken(job.to_string())) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
