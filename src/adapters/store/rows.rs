//! Columns that hold words of an enumeration or JSON.

use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::Failure;
use crate::domain::job::JobId;

/// Why a column could not be read; the caller adds whose column it was.
pub(super) type Reason = Box<dyn std::error::Error + Send + Sync>;

/// A word of an enumeration, as the API writes it. Serde's own error lists the words that are known.
pub(super) fn read_word<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T, Reason> {
    Ok(serde_json::from_value(Value::String(row.get(column)?))?)
}

/// The same of a column that may be NULL.
pub(super) fn read_optional_word<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Option<T>, Reason> {
    let word: Option<String> = row.get(column)?;
    Ok(word.map(|word| serde_json::from_value(Value::String(word))).transpose()?)
}

/// JSON of a column that may be NULL.
pub(super) fn read_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Option<T>, Reason> {
    let text: Option<String> = row.get(column)?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// The word of an enumeration, for a column.
pub(super) fn word<T: Serialize>(value: &T) -> Result<String, Failure> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Ok(word),
        Ok(other) => Err(Failure::row("a word", format!("{other} is no text"))),
        Err(error) => Err(Failure::row("a word", error)),
    }
}

/// JSON for a column.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::row("a value", error))
}

/// Refuses a change that met no job.
pub(super) fn known(changed: usize, job: &JobId) -> Result<(), Failure> {
    if changed == 1 { Ok(()) } else { Err(Failure::UnknownJob(job.to_string())) }
}
