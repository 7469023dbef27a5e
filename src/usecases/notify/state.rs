//! The receivers, and the pace at which they are tried.

use std::time::Duration;

use tokio::sync::Notify;

use crate::adapters::notifier::Notifier;
use crate::domain::notice::Event;

/// How patiently receivers are tried again.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The wait after the first failure; each further one is twice as long.
    pub first: Duration,
    /// The longest wait, and how often the queue is looked at for what other processes put into it.
    pub longest: Duration,
    /// When a message is given up.
    pub give_up: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self { first: Duration::from_secs(15), longest: minutes(60), give_up: minutes(24 * 60) }
    }
}

impl Pace {
    /// The wait after so many failures.
    pub(super) fn wait(&self, tries: u32) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(tries)).min(self.longest)
    }
}

/// The receivers, and what the messages to them need.
pub struct Notifying {
    pub(super) notifier: Notifier,
    pub(super) pace: Pace,
    /// Something was put into the queue.
    pub(super) queued: Notify,
}

impl Notifying {
    /// Contacts nobody.
    pub fn new(notifier: Notifier, pace: Pace) -> Self {
        Self { notifier, pace, queued: Notify::new() }
    }

    pub(in crate::usecases) fn who_wants(&self, event: Event) -> Vec<String> {
        let receivers = self.notifier.receivers().iter();
        receivers.filter(|receiver| receiver.events.contains(&event)).map(|receiver| receiver.name.clone()).collect()
    }
}
