//! The connections under way: never so many that the service runs out of files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The open connections of one listener.
pub struct Connections {
    most: usize,
    inner: Mutex<Inner>,
    /// A connection has ended or become idle.
    room: Notify,
}

#[derive(Default)]
struct Inner {
    next: u64,
    open: HashMap<u64, Arc<Slot>>,
}

/// One connection.
pub struct Slot {
    state: Mutex<State>,
    /// Fires when the connection has to make room for another one.
    pub close: CancellationToken,
}

struct State {
    answers: usize,
    idle_since: Instant,
}

/// An open connection; its place is free when this is dropped.
pub struct Place {
    connections: Arc<Connections>,
    number: u64,
    pub slot: Arc<Slot>,
}

/// An answer under way, from the request's head to the last byte of its body.
pub struct Answering {
    connections: Arc<Connections>,
    slot: Arc<Slot>,
}

impl Connections {
    /// At most `most` at once.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, inner: Mutex::default(), room: Notify::new() })
    }

    /// A place for a new connection. When all are taken, the connection that has been idle for the longest ends; while
    /// all of them are being answered, the new one waits.
    pub async fn place(self: &Arc<Self>) -> Place {
        loop {
            let room = self.room.notified();
            if let Some(place) = self.try_place() {
                return place;
            }
            room.await;
        }
    }

    fn try_place(self: &Arc<Self>) -> Option<Place> {
        let mut inner = self.lock();
        if inner.open.len() >= self.most {
            let idle = inner.open.iter().filter_map(|(number, slot)| Some((slot.idle_since()?, *number)));
            let (_, oldest) = idle.min()?;
            inner.open.remove(&oldest)?.close.cancel();
        }
        let number = inner.next;
        inner.next += 1;
        let state = Mutex::new(State { answers: 0, idle_since: Instant::now() });
        let slot = Arc::new(Slot { state, close: CancellationToken::new() });
        inner.open.insert(number, slot.clone());
        Some(Place { connections: self.clone(), number, slot })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes that a request is being answered.
    pub fn answering(&self) -> Answering {
        self.slot.lock().answers += 1;
        Answering { connections: self.connections.clone(), slot: self.slot.clone() }
    }
}

impl Slot {
    /// Since when nothing is being answered.
    pub fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.answers == 0).then_some(state.idle_since)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().open.remove(&self.number);
        self.connections.room.notify_one();
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.slot.lock();
        state.answers -= 1;
        state.idle_since = Instant::now();
        drop(state);
        self.connections.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_is_idle_for_the_longest_makes_room() {
        let connections = Connections::new(2);
        let (first, second) = (connections.place().await, connections.place().await);
        // It was idle first, and has answered since.
        drop(first.answering());
        let third = connections.place().await;
        assert!(second.slot.close.is_cancelled() && !first.slot.close.is_cancelled());
        // One that has made room frees no place of another.
        drop(second);
        let _answers = (first.answering(), third.answering());
        assert!(futures_util::poll!(std::pin::pin!(connections.place())).is_pending());
    }

    #[tokio::test]
    async fn while_all_are_answered_a_new_one_waits_for_the_first_end() {
        let connections = Connections::new(1);
        let only = connections.place().await;
        let answer = only.answering();
        let mut waiting = std::pin::pin!(connections.place());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(answer);
        let next = waiting.await;
        assert!(only.slot.close.is_cancelled());
        drop(only);
        assert!(next.slot.idle_since().is_some());
    }
}
