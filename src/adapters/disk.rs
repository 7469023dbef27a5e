//! Calls on a file system that may hang: a disk that spins up, a network mount whose server is gone.
//!
//! They leave the worker, have a deadline, and do not pile up: one call at a time for each place, so that a place that
//! hangs costs one thread, however often it is asked for. While that call is under way, others are refused at once.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::task;

/// How long a call may take. A disk that was asleep needs up to ten seconds.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How many places can hang at once. Threads that may block are for the database and children as well (Tokio has 512).
const MOST_AT_ONCE: usize = 128;

/// A place whose file system does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} has not answered for {} s: the disk or the network behind it hangs", place.display(), after.as_secs())]
pub struct Hangs {
    pub place: PathBuf,
    pub after: Duration,
}

/// The way to places that may hang. Clones share what is under way.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    under_way: Mutex<HashMap<PathBuf, Call>>,
    room: Arc<Semaphore>,
}

/// A call that has not come back.
#[derive(Debug, Clone)]
struct Call {
    since: Instant,
    over: CancellationToken,
}

/// The right to call on a place; free for the next when it is dropped.
#[derive(Debug)]
pub struct Place {
    disk: Disk,
    path: PathBuf,
}

impl Default for Disk {
    fn default() -> Self {
        Self(Arc::new(Inner { under_way: Mutex::default(), room: Arc::new(Semaphore::new(MOST_AT_ONCE)) }))
    }
}

/// The same disk, not an equal one.
impl PartialEq for Disk {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Disk {}

impl Disk {
    /// Runs `work`, which calls on `place`, and waits at most [`PATIENCE`] for it.
    ///
    /// # Errors
    /// [`Hangs`] when it is not back by then, or when another call is not.
    pub async fn run<T: Send + 'static>(
        &self,
        place: &Path,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hangs> {
        self.run_within(PATIENCE, place, work).await
    }

    /// The same for a caller with less patience.
    pub async fn run_within<T: Send + 'static>(
        &self,
        patience: Duration,
        place: &Path,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hangs> {
        let begun = Instant::now();
        let hangs = |since: Instant| Hangs { place: place.to_owned(), after: since.elapsed() };
        let taken = loop {
            let call = match self.enter(place) {
                Ok(taken) => break taken,
                Err(call) => call,
            };
            let end = (begun + patience).min(call.since + patience);
            if tokio::time::timeout_at(end.into(), call.over.cancelled()).await.is_err() {
                return Err(hangs(call.since));
            }
        };
        let end = (begun + patience).into();
        let room = tokio::time::timeout_at(end, self.0.room.clone().acquire_owned()).await;
        let Ok(Ok(room)) = room else { return Err(hangs(begun)) };
        let task = task::blocking("file system", move || {
            let _held = (taken, room);
            work()
        });
        match tokio::time::timeout_at(end, task).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
            // Cancelled: the program ends.
            Ok(Err(_)) | Err(_) => Err(hangs(begun)),
        }
    }

    /// The right to call on a place; `None` while somebody else does.
    pub fn try_enter(&self, place: &Path) -> Option<Place> {
        self.enter(place).ok()
    }

    fn enter(&self, place: &Path) -> Result<Place, Call> {
        let mut under_way = self.lock();
        if let Some(call) = under_way.get(place) {
            return Err(call.clone());
        }
        under_way.insert(place.to_owned(), Call { since: Instant::now(), over: CancellationToken::new() });
        Ok(Place { disk: self.clone(), path: place.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Call>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(call) = self.disk.lock().remove(&self.path) {
            call.over.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_place_that_hangs_costs_one_thread_and_comes_back() {
        let (disk, place) = (Disk::default(), Path::new("/mnt/nas"));
        let (open, gate) = mpsc::channel::<()>();
        let hanging = disk.run_within(SHORT, place, move || gate.recv().is_ok()).await;
        assert_eq!(hanging.unwrap_err().place, place);
        // Nobody calls on it meanwhile; other places answer.
        for _ in 0..3 {
            disk.run_within(SHORT, place, || unreachable!("it hangs")).await.unwrap_err();
        }
        assert!(disk.try_enter(place).is_none());
        assert_eq!(disk.run(Path::new("/mnt/other"), || 1).await, Ok(1));
        open.send(()).unwrap();
        assert_eq!(disk.run_within(LONG, place, || 2).await, Ok(2));
        assert!(disk.lock().is_empty());
    }

    #[tokio::test]
    async fn many_calls_on_one_place_follow_each_other() {
        let disk = Disk::default();
        let calls = (0..50).map(|n| disk.run_within(LONG, Path::new("/a"), move || n));
        assert_eq!(futures_util::future::try_join_all(calls).await.unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn no_more_than_so_many_places_hang_at_once() {
        let disk = Disk::default();
        let gates: Vec<_> = (0..MOST_AT_ONCE).map(|_| mpsc::channel::<()>()).collect();
        let (open, gates): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
        let calls = gates.into_iter().enumerate().map(|(n, gate)| {
            let disk = disk.clone();
            async move { disk.run_within(SHORT, Path::new(&n.to_string()), move || gate.recv().is_ok()).await }
        });
        assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_err));
        disk.run_within(SHORT, Path::new("one more"), || unreachable!("there is no room")).await.unwrap_err();
        drop(open);
        assert_eq!(disk.run_within(LONG, Path::new("one more"), || 1).await, Ok(1));
    }
}
