//! Every way in which the database can fail, in words that say what to do.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the database could not be opened, read or written. Nothing was changed by a call that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the data directory {} cannot be created: {reason}. Create it, or choose another one with --data", dir.display())]
    NotCreatable { dir: PathBuf, reason: String },
    #[error(
        "the database {} cannot be written: {reason}. Let this user write to that directory, \
         or choose another one with --data", path.display()
    )]
    NotWritable { path: PathBuf, reason: String },
    #[error("the disk is full: the database {} cannot be written. Make room; nothing else is needed", path.display())]
    Full { path: PathBuf },
    #[error(
        "{} cannot be read as a database: {reason}. It was left as it is: restore it from a backup, \
         or move it away to start with an empty history", path.display()
    )]
    NotADatabase { path: PathBuf, reason: String },
    #[error(
        "the database {} has schema {found}, from a newer Restock; this one knows up to {supported}. It was left as it is: \
         run the newer Restock, or choose another directory with --data", path.display()
    )]
    Newer { path: PathBuf, found: i64, supported: i64 },
    #[error("the database {} was removed or replaced while it was in use. Restart Restock", path.display())]
    Replaced { path: PathBuf },
    #[error("the database {} is kept locked by another process. Try again; if it stays, end that process", path.display())]
    Busy { path: PathBuf },
    #[error("{what} in the database {} cannot be understood: {reason}. A newer Restock may have written it", path.display())]
    Row { path: PathBuf, what: String, reason: String },
    #[error("the database {} does not know the job {job}", path.display())]
    UnknownJob { path: PathBuf, job: String },
    #[error("another process works on the job {job}")]
    Taken { job: String },
    #[error("the database {} failed: {reason}. Look at the disk and at the file's permissions", path.display())]
    Other { path: PathBuf, reason: String },
}

/// A failure inside a call, before it is known by its path.
#[derive(Debug)]
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    Row { what: String, reason: String },
    UnknownJob(String),
    Taken(String),
}

impl Failure {
    /// `what` is there, and is not what this program expects.
    pub(super) fn row(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Row { what: what.into(), reason: reason.to_string() }
    }

    pub(super) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Sqlite(error) => StoreError::from_sqlite(path, &error),
            Self::Row { what, reason } => StoreError::Row { path: path.into(), what, reason },
            Self::UnknownJob(job) => StoreError::UnknownJob { path: path.into(), job },
            Self::Taken(job) => StoreError::Taken { job },
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl StoreError {
    pub(super) fn from_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, reason) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::NotADatabase { path, reason },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::NotWritable { path, reason }
            }
            _ => Self::Other { path, reason },
        }
    }
}
