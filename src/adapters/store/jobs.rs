//! Jobs, from their start to the history, and the journal that lets anyone finish one.
//!
//! Jobs have the order in which they were written down: the clock that their IDs are made from may have been wrong.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::attempts;
use super::connection::Store;
use super::error::{Failure, StoreError};
use super::forgetting::forget;
use super::rows::{Reason, json, known, read_json, read_optional_word, read_word, word};
use crate::domain::attempt::{Attempt, legacy};
use crate::domain::host::{AppId, Subject, Target};
use crate::domain::job::{Job, JobId, Kind, Outcome, State, Step};
use crate::domain::journal::Journal;

/// Everything of a job but the journal, which is large and seldom wanted.
pub(super) const COLUMNS: &str =
    "id, kind, target_kind, target, state, step, outcome, result, error, by, request_id, started_at,
    finished_at, (SELECT blocked FROM attempts WHERE attempts.job = jobs.id) AS blocked";

/// The updates that a rollback takes back: they changed containers and were not taken back.
pub(super) const CAN_BE_TAKEN_BACK: &str = "target_kind = 'app' AND kind = 'update' AND state = 'finished'
    AND (journal IS NOT NULL OR EXISTS (SELECT 1 FROM attempts WHERE attempts.job = jobs.id))
    AND (outcome IN ('updated', 'failed') OR outcome = 'interrupted' AND json_extract(result, '$.updated'))";

/// Which part of the history to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Only jobs of this app; `None` means all jobs.
    pub app: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Only jobs that started before this one: the last of the page before.
    pub before: Option<JobId>,
    /// Only jobs of this kind.
    pub kind: Option<Kind>,
    /// Only jobs that ended like this.
    pub outcome: Option<Outcome>,
    /// Only jobs that ended then or later.
    pub since: Option<Timestamp>,
}

impl Store {
    /// Writes down a new job.
    pub async fn insert(&self, job: &Job) -> Result<(), StoreError> {
        let job = job.clone();
        self.call(move |connection| {
            connection.execute(
                "INSERT INTO jobs (id, kind, target_kind, target, state, step, outcome, result, error, by,
                                   request_id, started_at, finished_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                params![
                    job.id.as_str(),
                    word(&job.kind)?,
                    job.target.kind(),
                    job.target.name(),
                    word(&job.state)?,
                    job.step.as_ref().map(word).transpose()?,
                    job.outcome.as_ref().map(word).transpose()?,
                    job.result.as_ref().map(json).transpose()?,
                    job.error.as_ref().map(json).transpose()?,
                    job.by,
                    job.request_id,
                    job.started_at.to_string(),
                    job.finished_at.map(|at| at.to_string()),
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Notes that the job has begun `step`, and so that it runs.
    pub async fn set_step(&self, job: &JobId, step: Step) -> Result<(), StoreError> {
        let job = job.clone();
        self.call(move |connection| {
            let update = "UPDATE jobs SET state = ?2, step = ?3 WHERE id = ?1";
            let changed = connection.execute(update, params![job.as_str(), word(&State::Running)?, word(&step)?])?;
            known(changed, &job)
        })
        .await
    }

    /// Writes down how a job ended. The journal of an app's update stays, for a later rollback; that of a container goes,
    /// because it may hold the values of its environment.
    pub async fn finish(&self, job: &Job) -> Result<(), StoreError> {
        let job = job.clone();
        self.call(move |connection| {
            // Together: nobody looks again at what a job has left that has ended.
            let transaction = connection.transaction()?;
            let changed = transaction.execute(
                "UPDATE jobs SET state = ?2, step = ?3, outcome = ?4, result = ?5, error = ?6, finished_at = ?7,
                 answer = ?8, journal = iif(target_kind = 'container', NULL, journal)
                 WHERE id = ?1",
                params![
                    job.id.as_str(),
                    word(&job.state)?,
                    job.step.as_ref().map(word).transpose()?,
                    job.outcome.as_ref().map(word).transpose()?,
                    job.result.as_ref().map(json).transpose()?,
                    job.error.as_ref().map(json).transpose()?,
                    job.finished_at.map(|at| at.to_string()),
                    job.is_only_an_answer(),
                ],
            )?;
            known(changed, &job.id)?;
            let had_secrets = attempts::close(&transaction, &job.id)?;
            forget(&transaction, &job)?;
            transaction.commit()?;
            if had_secrets || matches!(job.target.subject, Subject::Container(_)) {
                // The log as well has what the journal said. While somebody reads, it is emptied another time.
                connection.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()))?;
            }
            Ok(())
        })
        .await
    }

    /// One job, running or finished.
    pub async fn job(&self, id: &JobId) -> Result<Option<Job>, StoreError> {
        let id = id.clone();
        self.call(move |connection| {
            one(connection, &format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"), params![id.as_str()])
        })
        .await
    }

    /// Finished jobs, newest first: not those that are only an answer. One that cannot be understood is left out, with
    /// a warning in the log.
    pub async fn history(&self, filter: &HistoryFilter) -> Result<Vec<Job>, StoreError> {
        let filter = filter.clone();
        self.call(move |connection| {
            // Two queries: `?1 IS NULL OR …` would keep SQLite from using the index.
            let of_app = if filter.app.is_some() { "target_kind = 'app' AND target = ?1" } else { "?1 IS NULL" };
            // Of a job that has been forgotten only the ID is left, which says when it started.
            let query = format!(
                "SELECT {COLUMNS} FROM jobs
                 WHERE {of_app} AND state = 'finished' AND NOT answer
                   AND (?2 IS NULL OR rowid < coalesce((SELECT rowid FROM jobs WHERE id = ?2),
                                                       (SELECT max(rowid) + 1 FROM jobs WHERE id < ?2), 0))
                   AND (?3 IS NULL OR kind = ?3) AND (?4 IS NULL OR outcome = ?4)
                   AND (?5 IS NULL OR julianday(finished_at) >= julianday(?5))
                 ORDER BY rowid DESC LIMIT ?6"
            );
            let wanted = params![
                filter.app,
                filter.before.as_ref().map(JobId::as_str),
                filter.kind.as_ref().map(word).transpose()?,
                filter.outcome.as_ref().map(word).transpose()?,
                filter.since.map(|since| since.to_string()),
                i64::try_from(filter.limit).unwrap_or(i64::MAX),
            ];
            many(connection, &query, wanted)
        })
        .await
    }

    /// Jobs that have not finished, oldest first. One with words of a newer version is among them as far as it is
    /// understood, as blocked: its images are in use, and a person must see it. [`Store::job`] refuses it, so that nobody
    /// settles it by half of what it says.
    pub async fn running(&self) -> Result<Vec<Job>, StoreError> {
        self.call(|connection| {
            let query = format!("SELECT {COLUMNS} FROM jobs WHERE state <> 'finished' ORDER BY rowid");
            let mut statement = connection.prepare_cached(&query)?;
            let mut rows = statement.query(params![])?;
            let mut jobs = Vec::new();
            while let Some(row) = rows.next()? {
                let id: String = row.get("id")?;
                match columns_of(row, &id).or_else(|reason| open_as_far_as_understood(row, &id, &reason)) {
                    Ok(job) => jobs.push(job),
                    Err(reason) => tracing::warn!(%reason, "job {id} in the database is left out"),
                }
            }
            Ok(jobs)
        })
        .await
    }

    /// The job on `target` that has not finished and that one of `kind` has to wait for or can join; the oldest, should
    /// there be several.
    pub async fn running_for(&self, kind: Kind, target: &Target) -> Result<Option<Job>, StoreError> {
        let target = target.clone();
        self.call(move |connection| {
            let query = format!(
                "SELECT {COLUMNS} FROM jobs
                 WHERE target_kind = ?1 AND target = ?2 AND state <> 'finished' ORDER BY rowid"
            );
            let mut statement = connection.prepare_cached(&query)?;
            let mut rows = statement.query(params![target.kind(), target.name()])?;
            while let Some(row) = rows.next()? {
                let job = job_of(row)?;
                if job.kind.only_looks() == kind.only_looks() {
                    return Ok(Some(job));
                }
            }
            Ok(None)
        })
        .await
    }

    /// The newest job on `target`.
    pub async fn last_job(&self, target: &Target) -> Result<Option<Job>, StoreError> {
        let target = target.clone();
        self.call(move |connection| {
            let query = format!(
                "SELECT {COLUMNS} FROM jobs WHERE target_kind = ?1 AND target = ?2 ORDER BY rowid DESC LIMIT 1"
            );
            one(connection, &query, params![target.kind(), target.name()])
        })
        .await
    }

    /// What the job wrote down before it touched a container; `None` if it never came so far.
    pub async fn journal<J>(&self, id: &JobId) -> Result<Option<J>, StoreError>
    where
        J: DeserializeOwned + Send + 'static,
    {
        let id = id.clone();
        self.call(move |connection| {
            let journal = connection.query_row("SELECT journal FROM jobs WHERE id = ?1", [id.as_str()], |row| {
                Ok(read_json(row, "journal"))
            });
            match journal.optional()? {
                Some(read) => read.map_err(|reason| Failure::row(format!("the journal of job {id}"), reason)),
                None => Ok(None),
            }
        })
        .await
    }

    /// The newest update of `app` that changed its containers and was not taken back: what a rollback takes back.
    ///
    /// # Errors
    /// Also when that one cannot be understood: an older one in its place would bring back the wrong images.
    pub async fn last_update(&self, app: &AppId) -> Result<Option<(Job, Attempt)>, StoreError> {
        let app = app.to_string();
        let query = format!(
            "SELECT {COLUMNS} FROM jobs
             WHERE target = ?1 AND {CAN_BE_TAKEN_BACK}
             ORDER BY rowid DESC LIMIT 1"
        );
        let found = self.call(move |connection| one(connection, &query, params![app])).await?;
        let Some(job) = found else { return Ok(None) };
        if let Some(found) = self.attempt(&job.id).await? {
            return Ok(Some((job, found.attempt)));
        }
        match self.journal::<Journal>(&job.id).await? {
            Some(journal) => {
                let attempt = legacy::of_app(&job.id, job.kind, job.step.unwrap_or(Step::Apply), journal);
                Ok(Some((job, attempt)))
            }
            None => Err(Failure::row(format!("job {}", job.id), "it has no journal").at(self.path())),
        }
    }
}

fn one(connection: &Connection, query: &str, params: impl rusqlite::Params) -> Result<Option<Job>, Failure> {
    let read = connection.prepare_cached(query)?.query_row(params, |row| Ok(job_of(row))).optional()?;
    read.transpose()
}

pub(super) fn many(connection: &Connection, query: &str, params: impl rusqlite::Params) -> Result<Vec<Job>, Failure> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(params)?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        match job_of(row) {
            Ok(job) => jobs.push(job),
            Err(Failure::Row { what, reason }) => tracing::warn!(%reason, "{what} in the database is left out"),
            Err(other) => return Err(other),
        }
    }
    Ok(jobs)
}

fn job_of(row: &Row<'_>) -> Result<Job, Failure> {
    let id: String = row.get("id")?;
    columns_of(row, &id).map_err(|reason| Failure::row(format!("job {id}"), reason))
}

fn columns_of(row: &Row<'_>, id: &str) -> Result<Job, Reason> {
    Ok(Job {
        id: id.parse()?,
        kind: read_word(row, "kind")?,
        target: Target::read(&row.get::<_, String>("target_kind")?, &row.get::<_, String>("target")?)?,
        state: read_word(row, "state")?,
        step: read_optional_word(row, "step")?,
        outcome: read_optional_word(row, "outcome")?,
        result: read_json(row, "result")?,
        error: read_json(row, "error")?,
        blocked: row.get("blocked")?,
        by: row.get("by")?,
        request_id: row.get("request_id")?,
        started_at: row.get::<_, String>("started_at")?.parse()?,
        finished_at: row.get::<_, Option<String>>("finished_at")?.map(|at| at.parse()).transpose()?,
    })
}

fn open_as_far_as_understood(row: &Row<'_>, id: &str, reason: &Reason) -> Result<Job, Reason> {
    let blocked = format!("{reason}: a newer Restock has written this job, and only a newer one can end it");
    Ok(Job {
        id: id.parse()?,
        kind: read_word(row, "kind").unwrap_or(Kind::Unknown),
        target: Target::read(&row.get::<_, String>("target_kind")?, &row.get::<_, String>("target")?)?,
        state: State::Running,
        step: read_optional_word(row, "step").unwrap_or_default(),
        outcome: None,
        result: None,
        error: None,
        blocked: Some(blocked),
        by: row.get("by")?,
        request_id: row.get("request_id")?,
        started_at: row.get::<_, String>("started_at")?.parse()?,
        finished_at: None,
    })
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
