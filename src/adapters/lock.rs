//! Locks between processes, as advisory locks (`flock`) on files below the data directory.
//!
//! The kernel keeps such a lock for an open file, not for a process: two opens of the same file exclude each other also
//! within one process, and the lock ends when the last copy of the handle is closed, however its owners end. So there is
//! nothing to clean up after a crash. The files stay empty, and are never deleted: another process may have opened one
//! that is about to go, and would then hold a lock that nobody else can see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::disk::{Disk, Hangs};
use crate::domain::host::{HostName, Target};
use crate::domain::image::ImageReference;

/// How often a lock that is taken is tried again: `flock` can wait, but not with a deadline.
const POLL: Duration = Duration::from_millis(50);
/// An app's name may be as long as a file's name may be; with prefix and ending it has to be shorter.
const MAX_NAME: usize = 200;

/// Why a lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("the lock file {} cannot be used: {reason}. Let this user write below the data directory", path.display())]
    File { path: PathBuf, reason: io::Error },
    #[error("another update has been using the image {reference} for {} s. Try again when it is done", after.as_secs())]
    Busy { reference: String, after: Duration },
    #[error(transparent)]
    Hangs(#[from] Hangs),
}

/// The locks of one data directory.
#[derive(Debug, Clone)]
pub struct Locks {
    dir: PathBuf,
    disk: Disk,
}

/// An app, a container or a group is worked on.
///
/// Dropped, it ends when every child that got [`JobLock::as_stdin`] has ended as well; see [`JobLock::release`].
#[derive(Debug)]
pub struct JobLock(File);

/// The first process that serves a data directory, for as long as it is held.
#[derive(Debug)]
pub struct ServeLock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Image references are written to: pulled, or given another meaning by a tag. Ends when dropped.
#[derive(Debug)]
pub struct ImageLocks {
    host: HostName,
    /// By file name, which is the order in which everybody takes them.
    held: BTreeMap<String, File>,
}

impl Locks {
    /// The locks in `locks/` of `data_dir`. Nothing is created before the first lock is taken.
    pub fn new(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("locks"), disk: Disk::default() }
    }

    /// Takes the lock of an app, a container or a group; `None` when somebody has it.
    pub async fn try_target(&self, target: &Target) -> Result<Option<JobLock>, LockError> {
        Ok(self.try_away(target_file(target), File::try_lock).await?.map(JobLock))
    }

    /// The same for a job that only looks: beside one that changes the target, and one at a time.
    pub async fn try_look(&self, target: &Target) -> Result<Option<JobLock>, LockError> {
        Ok(self.try_away(format!("look-{}", target_file(target)), File::try_lock).await?.map(JobLock))
    }

    /// Becomes the one process that serves this data directory; `None` while another one is.
    pub async fn try_serve(&self) -> Result<Option<ServeLock>, LockError> {
        Ok(self.try_away("serve.lock".to_owned(), File::try_lock).await?.map(ServeLock))
    }

    /// Takes the locks of all `references` on a host, and waits at most `deadline` for those that are taken.
    ///
    /// They are taken in one order, so that two who want several cannot wait for each other.
    ///
    /// # Errors
    /// [`LockError::Busy`] names the first reference that stayed locked; then none is held.
    pub async fn images(
        &self,
        host: &HostName,
        references: &BTreeSet<String>,
        deadline: Duration,
    ) -> Result<ImageLocks, LockError> {
        self.lock_images(host, references, deadline, File::try_lock).await
    }

    /// The same beside others that take them in this way: they exclude those who use what the references mean, and not each
    /// other.
    pub async fn images_shared(
        &self,
        host: &HostName,
        references: &BTreeSet<String>,
        deadline: Duration,
    ) -> Result<ImageLocks, LockError> {
        self.lock_images(host, references, deadline, File::try_lock_shared).await
    }

    async fn lock_images(
        &self,
        host: &HostName,
        references: &BTreeSet<String>,
        deadline: Duration,
        lock: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<ImageLocks, LockError> {
        let end = Instant::now() + deadline;
        let wanted: BTreeMap<_, _> =
            references.iter().map(|reference| (image_file(host, reference), reference)).collect();
        let mut taken = ImageLocks { host: host.clone(), held: BTreeMap::new() };
        for (name, reference) in wanted {
            let file = loop {
                if let Some(file) = self.try_away(name.clone(), lock).await? {
                    break file;
                }
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(LockError::Busy { reference: reference.clone(), after: deadline });
                }
                tokio::time::sleep(POLL.min(left)).await;
            };
            taken.held.insert(name, file);
        }
        Ok(taken)
    }

    /// Off the worker, and with a deadline. A lock that comes too late ends at once: nobody has it.
    async fn try_away(
        &self,
        name: String,
        lock: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<File>, LockError> {
        let locks = self.clone();
        self.disk.run(&self.dir, move || locks.try_file(&name, lock)).await?
    }

    fn try_file(&self, name: &str, lock: fn(&File) -> Result<(), TryLockError>) -> Result<Option<File>, LockError> {
        let path = self.dir.join(name);
        let failed = |reason| LockError::File { path: path.clone(), reason };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        match lock(&file) {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(reason)) => Err(failed(reason)),
        }
    }
}

impl JobLock {
    /// The lock's empty file, to be the standard input of a child that must not be overtaken.
    ///
    /// A child inherits the open file and with it the lock. When this process is killed while `docker compose up` runs,
    /// the child runs on, and the app stays locked until it has ended: nobody starts to settle the app beside it. To the
    /// child it reads like `/dev/null`.
    pub fn as_stdin(&self) -> io::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    /// Ends the lock now: for an owner who knows that its children have ended.
    ///
    /// Dropping is not as prompt. A child that another thread is just starting has copies of all open files until it
    /// executes its program, and a command that was kept has its standard input; for so long the app would look busy.
    pub fn release(self) {
        unlock(&self.0);
    }
}

impl Drop for ImageLocks {
    /// Promptly, as [`JobLock::release`]: no child ever gets these.
    fn drop(&mut self) {
        self.held.values().for_each(unlock);
    }
}

impl ImageLocks {
    /// Returns whether all of `references` are locked here.
    pub fn covers(&self, references: &BTreeSet<String>) -> bool {
        references.iter().all(|reference| self.held.contains_key(&image_file(&self.host, reference)))
    }
}

fn unlock(file: &File) {
    // It cannot fail on an open file; if it did, closing the file, which follows, would do the same.
    let _ = file.unlock();
}

fn target_file(target: &Target) -> String {
    let (kind, name) = (target.kind(), target.name());
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    // `~` is in no plain name, so a hashed name is never that of another target.
    if plain && name.len() <= MAX_NAME { format!("{kind}-{name}.lock") } else { format!("{kind}-~{}.lock", hash(name)) }
}

/// References that mean the same image on a host have the same file: `nginx` and `docker.io/library/nginx:latest`.
fn image_file(host: &HostName, reference: &str) -> String {
    let canonical = reference.parse::<ImageReference>().map(|parsed| parsed.canonical());
    format!("image-{}.lock", hash(&host.qualify(&canonical.unwrap_or_else(|_| reference.to_owned()))))
}

/// 16 hexadecimal digits: enough that two names of one machine do not share a lock.
fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host::Subject;

    fn locks() -> (tempfile::TempDir, Locks) {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::new(dir.path());
        (dir, locks)
    }

    #[tokio::test]
    async fn what_a_tag_means_is_a_fact_of_one_host() {
        let (_dir, locks) = locks();
        let images = set(&["nginx"]);
        let _here = locks.images(&HostName::local(), &images, Duration::ZERO).await.unwrap();
        let there = locks.images(&"nas".parse().unwrap(), &images, Duration::ZERO).await.unwrap();
        assert!(there.covers(&images));
        let _web = locks.try_target(&app("web")).await.unwrap().unwrap();
        let web_there = Target::new(&"nas".parse().unwrap(), Subject::App("web".into()));
        assert!(locks.try_target(&web_there).await.unwrap().is_some());
    }

    fn app(name: &str) -> Target {
        Target::local(Subject::App(name.to_owned()))
    }

    #[tokio::test]
    async fn who_only_looks_keeps_nobody_waiting_who_changes_something() {
        let (_dir, locks) = locks();
        let looking = locks.try_look(&app("web")).await.unwrap();
        assert!(looking.is_some() && locks.try_look(&app("web")).await.unwrap().is_none());
        assert!(locks.try_target(&app("web")).await.unwrap().is_some());
    }

    fn set(references: &[&str]) -> BTreeSet<String> {
        references.iter().map(|reference| (*reference).to_owned()).collect()
    }

    #[tokio::test]
    async fn an_app_is_locked_once_until_the_lock_is_released() {
        let (_dir, locks) = locks();
        let web = locks.try_target(&app("web")).await.unwrap().unwrap();
        assert!(locks.try_target(&app("web")).await.unwrap().is_none());
        assert!(locks.try_target(&app("db")).await.unwrap().is_some());
        web.release();
        assert!(locks.try_target(&app("web")).await.unwrap().is_some());
    }

    /// Tests run side by side, and each child that one of them starts has all open files for a moment.
    async fn is_soon_free(locks: &Locks, app: &Target) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        while locks.try_target(app).await.unwrap().is_none() {
            if Instant::now() > end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    #[tokio::test]
    async fn names_as_long_as_they_may_be_are_locked_apart() {
        let (_dir, locks) = locks();
        let (a, b) = (app(&"a".repeat(255)), app(&format!("{}b", "a".repeat(254))));
        let held = locks.try_target(&a).await.unwrap();
        assert!(
            held.is_some()
                && locks.try_target(&a).await.unwrap().is_none()
                && locks.try_target(&b).await.unwrap().is_some()
        );
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a test of what any child does with the handle")]
    async fn a_child_keeps_the_lock_that_it_got_as_standard_input() {
        let (_dir, locks) = locks();
        let lock = locks.try_target(&app("web")).await.unwrap().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").stdin(lock.as_stdin().unwrap()).spawn().unwrap();
        drop(lock);
        assert!(locks.try_target(&app("web")).await.unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_soon_free(&locks, &app("web")).await);
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a test of what any child does with the handle")]
    async fn a_child_reads_the_end_of_the_file_and_no_other_child_has_the_lock() {
        let (_dir, locks) = locks();
        let lock = locks.try_target(&app("web")).await.unwrap().unwrap();
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let read = std::process::Command::new("cat").stdin(lock.as_stdin().unwrap()).output().unwrap();
        assert_eq!(read.stdout, b"");
        drop(lock);
        assert!(is_soon_free(&locks, &app("web")).await);
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[tokio::test]
    async fn every_spelling_of_a_reference_is_the_same_lock() {
        let (_dir, locks) = locks();
        let held = locks
            .images(&HostName::local(), &set(&["nginx", "docker.io/library/nginx:latest"]), Duration::ZERO)
            .await
            .unwrap();
        assert!(held.covers(&set(&["nginx:latest"])) && !held.covers(&set(&["nginx", "redis"])));
        let busy =
            locks.images(&HostName::local(), &set(&["library/nginx"]), Duration::from_millis(120)).await.unwrap_err();
        assert!(matches!(&busy, LockError::Busy { reference, .. } if reference == "library/nginx"), "{busy}");
        drop(held);
        locks.images(&HostName::local(), &set(&["library/nginx"]), Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn those_who_share_exclude_only_those_who_do_not() {
        let (_dir, locks) = locks();
        let a = set(&["a"]);
        let one = locks.images_shared(&HostName::local(), &a, Duration::ZERO).await.unwrap();
        let other = locks.images_shared(&HostName::local(), &a, Duration::ZERO).await.unwrap();
        drop(one);
        assert!(locks.images(&HostName::local(), &a, Duration::ZERO).await.is_err());
        drop(other);
        let alone = locks.images(&HostName::local(), &a, Duration::ZERO).await.unwrap();
        assert!(locks.images_shared(&HostName::local(), &a, Duration::ZERO).await.is_err());
        drop(alone);
    }

    #[tokio::test]
    async fn a_lock_that_is_let_go_in_time_is_waited_for() {
        let (_dir, locks) = locks();
        let held = locks.images(&HostName::local(), &set(&["a"]), Duration::ZERO).await.unwrap();
        let both = set(&["a", "b"]);
        let here = HostName::local();
        let mut waiting = std::pin::pin!(locks.images(&here, &both, Duration::from_secs(20)));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(held);
        assert!(waiting.await.unwrap().covers(&both));
    }

    #[tokio::test]
    async fn who_cannot_have_all_holds_none() {
        let (_dir, locks) = locks();
        let _other = locks.images(&HostName::local(), &set(&["b"]), Duration::ZERO).await.unwrap();
        assert!(locks.images(&HostName::local(), &set(&["a", "b", "c"]), Duration::ZERO).await.is_err());
        locks.images(&HostName::local(), &set(&["a", "c"]), Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Locks::new(file.path()).try_target(&app("web")).await.unwrap_err().to_string();
        assert!(error.contains("app-web.lock"), "{error}");
    }
}
