//! The jobs that the database forgets, so that it stays bounded also where something always fails.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::error::Failure;
use super::rows::word;
use crate::domain::job::{Job, Kind};

/// How long a job stays that is only an answer: for a client that comes back for the result.
const ANSWERS_KEPT: Duration = Duration::from_secs(3600);

/// How long passes that changed nothing stay in the history: one an hour, with its report, would outgrow all else in it.
const UNCHANGED_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Forgets what is too old, and the pass before `ended` if that failed in the same way.
pub(super) fn forget(connection: &Connection, ended: &Job) -> Result<(), Failure> {
    let now = Timestamp::now();
    let answers = "DELETE FROM jobs WHERE answer AND julianday(finished_at) < julianday(?1)";
    connection.execute(answers, [(now - ANSWERS_KEPT).to_string()])?;
    if ended.kind != Kind::AutoUpdate {
        return Ok(());
    }
    let pass = word(&Kind::AutoUpdate)?;
    connection.execute(
        "DELETE FROM jobs WHERE kind = ?1 AND julianday(finished_at) < julianday(?2)
           AND outcome IN ('unchanged', 'failed') AND NOT coalesce(json_extract(result, '$.updated'), 0)",
        params![pass, (now - UNCHANGED_KEPT).to_string()],
    )?;
    connection.execute(
        "DELETE FROM jobs WHERE rowid =
           (SELECT rowid FROM jobs WHERE kind = ?1 AND state = 'finished' AND id <> ?2 ORDER BY rowid DESC LIMIT 1)
           AND outcome = 'failed'
           AND EXISTS (SELECT 1 FROM jobs AS ended WHERE ended.id = ?2 AND ended.outcome = jobs.outcome
             AND ended.error IS jobs.error
             AND json_extract(ended.result, '$.report') IS json_extract(jobs.result, '$.report'))",
        params![pass, ended.id.as_str()],
    )?;
    Ok(())
}
