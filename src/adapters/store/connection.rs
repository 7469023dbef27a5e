//! Opening the database, and the one way in which all calls reach it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::{Failure, StoreError};
use super::schema;
use crate::adapters::task;

const FILE: &str = "restock.db";
/// How long a call waits for another process's transaction. Transactions here take milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call waits for its turn, and how long it may take then. One that takes longer waits for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long opening may take; an old database is brought up to date meanwhile.
const OPEN_PATIENCE: Duration = Duration::from_secs(120);

/// The database. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Device and inode, by which the file is known again.
    identity: (u64, u64),
    connection: Arc<tokio::sync::Mutex<Connection>>,
}

impl Store {
    /// Opens the database in `dir` on a thread that may block; see [`Store::open`].
    ///
    /// # Errors
    /// As [`Store::open`], and when the disk hangs.
    pub async fn open_away(dir: &Path) -> Result<Self, StoreError> {
        let (path, dir) = (dir.join(FILE), dir.to_owned());
        let opened = task::blocking("opening the database", move || Self::open(&dir));
        match tokio::time::timeout(OPEN_PATIENCE, opened).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => Err(StoreError::Other { path, reason: error.to_string() }),
            Err(_) => Err(late(path, OPEN_PATIENCE)),
        }
    }

    /// Opens the database in `dir`, creates what is missing and brings its schema up to date. Blocks.
    ///
    /// # Errors
    /// Whatever [`StoreError`] says; a file that is no database, or one that is too new, stays exactly as it was.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        create_directory(dir)?;
        // Two processes that start together must not both create the tables: the migrations read the version before
        // their transaction begins. Closing the directory unlocks it.
        let _one_at_a_time = lock_directory(dir)?;
        create_file(dir, &path)?;
        let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(&path, &error);
        // Without CREATE: SQLite would use the umask's permissions.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(sqlite)?;
        check_version(&connection, &path)?;
        // SQLite opens what it may not write for reading, and fails at the first write only.
        if connection.is_readonly("main").map_err(sqlite)? {
            return Err(StoreError::NotWritable { path, reason: "this user may only read it".into() });
        }
        restrict_to_owner(&path)?;
        prepare(&mut connection).map_err(sqlite)?;
        schema::MIGRATIONS.to_latest(&mut connection).map_err(|error| migration_error(&path, error))?;
        let identity = identity(&path).ok_or_else(|| StoreError::Replaced { path: path.clone() })?;
        Ok(Self(Arc::new(Inner { path, identity, connection: Arc::new(tokio::sync::Mutex::new(connection)) })))
    }

    /// Proves that the database can be written now: commits a transaction that writes what is already there.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let inner = self.0.clone();
        let is_ours = self.call(move |connection| {
            // SQLite would go on writing into a file that has been deleted.
            if identity(&inner.path) != Some(inner.identity) {
                return Ok(false);
            }
            let transaction = connection.transaction()?;
            let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()?;
            Ok(true)
        });
        if is_ours.await? { Ok(()) } else { Err(StoreError::Replaced { path: self.0.path.clone() }) }
    }

    /// Runs `work` with the connection on a thread that may block: one at a time, so that a disk that hangs costs one
    /// thread. It runs to its end also when the caller goes away.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.0.connection.clone().lock_owned();
        let call = async move {
            let mut connection = tokio::time::timeout(PATIENCE, turn).await.ok()?;
            // A call that panicked has rolled its transaction back, so the connection is good for the next one.
            let work = task::blocking("database", move || work(&mut connection));
            tokio::time::timeout(PATIENCE, work).await.ok()
        };
        match task::spawn("database", call).await {
            Ok(Some(Ok(result))) => result.map_err(|failure| failure.at(&self.0.path)),
            Ok(None) => Err(late(self.0.path.clone(), PATIENCE)),
            Ok(Some(Err(error))) | Err(error) => {
                Err(StoreError::Other { path: self.0.path.clone(), reason: error.to_string() })
            }
        }
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

fn late(path: PathBuf, after: Duration) -> StoreError {
    let reason = format!("the disk has not answered for {} s", after.as_secs());
    StoreError::Other { path, reason }
}

fn create_directory(dir: &Path) -> Result<(), StoreError> {
    let failed = |reason: String| StoreError::NotCreatable { dir: dir.into(), reason };
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(failed("a file of that name is in the way".into())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| failed(error.to_string()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

fn lock_directory(dir: &Path) -> Result<File, StoreError> {
    let locked = File::open(dir).and_then(|directory| directory.lock().map(|()| directory));
    locked.map_err(|error| StoreError::NotWritable { path: dir.join(FILE), reason: error.to_string() })
}

/// Creates the file for its owner only, and makes its name durable. A file that is there is not opened: closing it
/// again would drop the locks that another connection of this process holds on it.
fn create_file(dir: &Path, path: &Path) -> Result<(), StoreError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match created.and_then(|_| File::open(dir)?.sync_all()) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(StoreError::NotWritable { path: path.into(), reason: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// Refuses what is no database, and what a newer program made, before anything is written.
fn check_version(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    // SQLite takes a file of one byte for an empty one.
    if fs::metadata(path).is_ok_and(|found| found.len() == 1) {
        return Err(StoreError::NotADatabase { path: path.into(), reason: "it holds a single byte".into() });
    }
    let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(path, &error);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    // Closing would otherwise write a log that was left beside the file into it.
    let keep_log = |on| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on).map_err(sqlite);
    keep_log(true)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite)?;
    if !(0..=schema::VERSION).contains(&found) {
        return Err(StoreError::Newer { path: path.into(), found, supported: schema::VERSION });
    }
    keep_log(false)?;
    Ok(())
}

fn restrict_to_owner(path: &Path) -> Result<(), StoreError> {
    let restricted = fs::metadata(path).and_then(|found| {
        if found.mode() & 0o077 == 0 { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(0o600)) }
    });
    restricted.map_err(|error| StoreError::NotWritable { path: path.into(), reason: error.to_string() })
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // NORMAL may lose the last transactions in a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is removed may have been secret.
    connection.pragma_update(None, "secure_delete", "ON")?;
    // A transaction that reads first and then finds that somebody has written cannot be retried by the busy timeout.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(())
}

fn migration_error(path: &Path, error: rusqlite_migration::Error) -> StoreError {
    match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => StoreError::from_sqlite(path, &err),
        other => StoreError::Other { path: path.into(), reason: other.to_string() },
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens what must be refused, and proves that the file is the same afterwards.
    fn refusal(dir: &Path) -> StoreError {
        let before = fs::read(dir.join(FILE)).unwrap();
        let error = Store::open(dir).unwrap_err();
        assert_eq!(fs::read(dir.join(FILE)).unwrap(), before);
        error
    }

    fn set_version(dir: &Path, version: i64) -> Connection {
        let connection = Connection::open(dir.join(FILE)).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        connection
    }

    #[tokio::test]
    async fn a_new_database_is_private_and_writable() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        let store = Store::open(&data).unwrap();
        store.check_writable().await.unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(data.clone()), 0o700);
        assert_eq!((mode(data.join(FILE)), mode(data.join("restock.db-wal"))), (0o600, 0o600));
    }

    #[test]
    fn garbage_is_refused_and_kept() {
        for garbage in ["x".to_owned(), "xy".to_owned(), "not a database\n".repeat(1000)] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), garbage).unwrap();
            let error = refusal(dir.path());
            assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
        }
    }

    #[test]
    fn an_empty_file_is_a_new_database() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "").unwrap();
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn a_newer_database_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        drop(set_version(dir.path(), 99));
        let error = refusal(dir.path());
        assert!(matches!(error, StoreError::Newer { found: 99, supported: schema::VERSION, .. }), "{error}");
    }

    #[test]
    fn the_log_of_a_newer_database_counts_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        // As after a crash: the new version is in the log only.
        std::mem::forget(set_version(dir.path(), 99));
        let log = fs::read(dir.path().join("restock.db-wal")).unwrap();
        let error = refusal(dir.path());
        assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
        assert_eq!(fs::read(dir.path().join("restock.db-wal")).unwrap(), log);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for dir in [file.path().to_owned(), file.path().join("below")] {
            let error = Store::open(&dir).unwrap_err();
            assert!(matches!(error, StoreError::NotCreatable { .. }), "{error}");
            assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn many_can_open_a_new_database_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(|| Store::open(dir.path()).map(drop))).collect();
            openers.into_iter().for_each(|opener| opener.join().unwrap().unwrap());
        });
    }

    #[tokio::test]
    async fn a_database_that_was_deleted_is_not_writable() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::remove_file(store.path()).unwrap();
        assert!(matches!(store.check_writable().await, Err(StoreError::Replaced { .. })));
    }

    #[tokio::test]
    async fn a_call_that_panics_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let panicked = store.call(|_| -> Result<(), Failure> { panic!("on purpose") }).await;
        assert!(panicked.is_err());
        store.check_writable().await.unwrap();
    }
}
