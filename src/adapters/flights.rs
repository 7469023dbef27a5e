//! One run of the same work for all who ask for it at the same time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shares the outcome of work that many may ask for at once: however many do, two runs are enough.
#[derive(Debug)]
pub struct Flights<T> {
    running: tokio::sync::Mutex<()>,
    last: Mutex<Option<(Instant, T)>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { running: tokio::sync::Mutex::default(), last: Mutex::default() }
    }
}

impl<T: Clone> Flights<T> {
    /// Returns the outcome of a run of `work` that began after this call, so that it has seen everything that happened
    /// before. With `believed`, one that began at most that long before will do.
    pub async fn run<F: Future<Output = T>>(&self, believed: Duration, work: impl FnOnce() -> F) -> T {
        let since = Instant::now().checked_sub(believed);
        let _running = self.running.lock().await;
        if let Some(outcome) = self.last_since(since) {
            return outcome;
        }
        let began = Instant::now();
        let outcome = work().await;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((began, outcome.clone()));
        outcome
    }

    fn last_since(&self, since: Option<Instant>) -> Option<T> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, outcome) = last.as_ref()?;
        since.is_none_or(|since| *began >= since).then(|| outcome.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::task;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn many_share_a_run_that_began_after_they_asked() {
        let (flights, runs) = (Arc::new(Flights::default()), Arc::new(AtomicU32::new(0)));
        let (open, gate) = tokio::sync::watch::channel(false);
        let ask = || {
            let (flights, runs, mut gate) = (flights.clone(), runs.clone(), gate.clone());
            async move {
                let work = move || async move {
                    gate.wait_for(|open| *open).await.unwrap();
                    runs.fetch_add(1, Ordering::SeqCst)
                };
                flights.run(Duration::ZERO, work).await
            }
        };
        let first = task::spawn("first", ask());
        while flights.running.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        // They come while the first run is under way, which may have missed what they want to see.
        let late: Vec<_> = (0..100).map(|_| ask()).collect();
        let late = task::spawn("late", futures_util::future::join_all(late));
        tokio::task::yield_now().await;
        open.send_replace(true);
        assert_eq!(first.await.unwrap(), 0);
        assert!(late.await.unwrap().into_iter().all(|run| run == 1));
        assert_eq!(flights.run(Duration::from_secs(3600), || async { 9 }).await, 1);
        assert_eq!(flights.run(Duration::ZERO, || async { 9 }).await, 9);
    }
}
