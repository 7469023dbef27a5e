//! What happens, told to whoever listens; the last few thousand events can be heard again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::domain::job::JobId;
use crate::domain::time::millis;

/// How many events can be heard again. An update of a large app has a few hundred.
const REMEMBERED: usize = 8192;
/// How far a slow listener may fall behind before it has to ask again.
const BACKLOG: usize = 2048;

/// Lists of apps may look different.
pub const APPS_CHANGED: &str = "apps_changed";

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Grows with every event, also across restarts.
    pub id: u64,
    #[serde(serialize_with = "millis")]
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// `job` (a job as it is now), `step`, `progress`, `container`, `warning`, `result` (the last one of a job), or
    /// `apps_changed` (lists of apps may look different).
    pub event: &'static str,
    pub data: Value,
}

/// What a listener that comes back gets first.
pub struct Replay {
    pub events: Vec<Arc<Event>>,
    /// Some events after the one it saw last are no longer known: it has to ask for the state anew.
    pub gap: bool,
}

/// The place where events are told and heard. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    shared: Arc<Mutex<Ring>>,
    sender: broadcast::Sender<Arc<Event>>,
}

struct Ring {
    next: u64,
    events: VecDeque<Arc<Event>>,
}

impl Events {
    /// Starts to count at the time of the start, so that IDs grow across restarts.
    pub fn new() -> Self {
        let start = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default() * 1000;
        let ring = Ring { next: start, events: VecDeque::new() };
        Self { shared: Arc::new(Mutex::new(ring)), sender: broadcast::channel(BACKLOG).0 }
    }

    /// Tells what happened.
    pub fn tell(&self, job: Option<&JobId>, event: &'static str, data: Value) {
        let mut ring = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event { id: ring.next, at: Timestamp::now(), job: job.cloned(), event, data });
        ring.next += 1;
        // Heard once is as good as heard twice, and the events of jobs are not to be pushed out.
        ring.events.pop_back_if(|last| last.event == APPS_CHANGED && event.event == APPS_CHANGED);
        if ring.events.len() == REMEMBERED {
            ring.events.pop_front();
        }
        ring.events.push_back(event.clone());
        // Sent under the lock, so that nobody hears an event twice or never; an error means that nobody listens.
        let _ = self.sender.send(event);
    }

    /// Returns whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Listens from now on, after hearing again what came after event `after` (`None`: nothing; `Some(0)`: all there is).
    pub fn listen(&self, after: Option<u64>) -> (Replay, broadcast::Receiver<Arc<Event>>) {
        let ring = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        let Some(after) = after else {
            return (Replay { events: Vec::new(), gap: false }, receiver);
        };
        let events: Vec<_> = ring.events.iter().filter(|event| event.id > after).cloned().collect();
        let oldest = ring.events.front().map_or(ring.next, |event| event.id);
        let gap = after != 0 && (after.saturating_add(1) < oldest || after >= ring.next);
        (Replay { events, gap }, receiver)
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_comes_back_misses_nothing_or_is_told() {
        let events = Events::new();
        (0..3).for_each(|n| events.tell(None, "step", n.into()));
        let (all, _) = events.listen(Some(0));
        let first = all.events[0].id;
        let (rest, _) = events.listen(Some(first));
        assert_eq!(rest.events.len(), 2);
        assert!(!rest.gap);
        (0..REMEMBERED).for_each(|n| events.tell(None, "step", n.into()));
        assert!(events.listen(Some(first)).0.gap);
        assert!(events.listen(Some(u64::MAX)).0.gap);
    }

    #[test]
    fn changes_of_lists_push_nothing_else_out() {
        let events = Events::new();
        events.tell(None, "step", 0.into());
        (0..2 * REMEMBERED).for_each(|_| events.tell(None, APPS_CHANGED, Value::Null));
        events.tell(None, "step", 1.into());
        let heard = events.listen(Some(0)).0.events;
        assert_eq!(heard.iter().map(|event| event.event).collect::<Vec<_>>(), ["step", APPS_CHANGED, "step"]);
        let (replay, _) = events.listen(Some(heard[0].id + 5));
        assert_eq!((replay.events.len(), replay.gap), (2, false));
    }
}
