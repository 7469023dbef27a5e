//! The wall clock, and the one that nobody sets.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// Reads the wall clock that windows, minimum ages and schedules go by. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// A clock that shows what `read` returns.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

/// How long the machine has been up, also asleep; `None` where the kernel does not report it. `Instant` stands still
/// while the machine sleeps.
pub fn uptime() -> Option<SignedDuration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    SignedDuration::try_from_secs_f64(text.split_whitespace().next()?.parse().ok()?).ok()
}
