//! Tells people what happens by itself. What is to be told waits in the database until it has arrived; a receiver that
//! fails changes nothing else.

mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::context::Service;
use crate::adapters::notifier::Receiver;
use crate::adapters::store::{StoreError, Waiting};
use crate::domain::host::Target;
use crate::domain::job::{Job, JobId, ServiceChange};
use crate::domain::notice::{Event, Notice};
use crate::error::Error;
pub use state::{Notifying, Pace};

/// For how long a message is taken while it is tried: longer than any try lasts.
const TAKEN: Duration = Duration::from_secs(120);

/// A receiver, as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiverView {
    pub receiver: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub events: Vec<Event>,
    /// How many messages wait for it.
    pub waiting: u32,
}

/// How a test message fared.
#[derive(Debug, Clone, Serialize)]
pub struct Tested {
    pub receiver: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub delivered: bool,
    pub error: Option<String>,
}

impl Service {
    /// Tells how a job ended, where that is of interest. A failure to do so is logged.
    pub async fn announce(&self, job: &Job) {
        if let Some(notice) = Notice::of_job(job) {
            self.tell(&notice).await;
        }
    }

    /// Tells that `job` could not even begin the update of a target. A failure to do so is logged.
    pub(super) async fn announce_failed(&self, target: Target, job: &JobId, error: &Error) {
        self.tell(&Notice::failed(target, job.clone(), error.message.clone(), Timestamp::now())).await;
    }

    async fn tell(&self, notice: &Notice) {
        let receivers = self.notifying.who_wants(notice.event);
        if !receivers.is_empty() {
            self.queued(self.store.queue_notice(notice, receivers).await.map(|()| true));
        }
    }

    /// Tells that newer images wait to be applied; of each image once, also across restarts. `to` of a change is the
    /// registry's digest. A failure to do so is logged.
    pub async fn announce_found(&self, target: Target, services: Vec<ServiceChange>) {
        let receivers = self.notifying.who_wants(Event::Found);
        if receivers.is_empty() || services.is_empty() {
            return;
        }
        let notice = Notice::found(target, services, Timestamp::now());
        self.queued(self.store.queue_found(notice, receivers).await);
    }

    fn queued(&self, queued: Result<bool, StoreError>) {
        match queued {
            Ok(true) => self.notifying.queued.notify_one(),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "what happened could not be put into the queue of what is told"),
        }
    }

    /// Delivers what is queued for as long as the service runs.
    pub async fn keep_notifying(self: Arc<Self>) {
        if self.notifying.notifier.receivers().is_empty() {
            return;
        }
        loop {
            self.deliver_due().await;
            tokio::select! {
                () = self.notifying.queued.notified() => {}
                // Not longer than the first wait: another process may have queued something.
                () = tokio::time::sleep(self.notifying.pace.first) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// Delivers what is due now, once, to all receivers side by side. What fails waits for another try.
    pub async fn deliver_due(&self) {
        let Notifying { notifier, pace, .. } = &self.notifying;
        let receivers = notifier.receivers();
        if receivers.is_empty() {
            return;
        }
        let now = Timestamp::now();
        match self.store.drop_old_notices(now - pace.give_up).await {
            Ok(0) => {}
            Ok(given_up) => tracing::error!(given_up, "messages that could not be delivered were given up"),
            Err(error) => tracing::error!(%error, "old messages could not be given up"),
        }
        let names = receivers.iter().map(|receiver| receiver.name.clone()).collect();
        let due = match self.store.take_due_notices(names, now, now + TAKEN).await {
            Ok(due) => due,
            Err(error) => return tracing::error!(%error, "the queue of what is told could not be read"),
        };
        let mut by_receiver: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
        for waiting in due {
            by_receiver.entry(waiting.receiver.clone()).or_default().push(waiting);
        }
        let deliveries = receivers.iter().filter_map(|receiver| {
            let waiting = by_receiver.remove(&receiver.name)?;
            Some(self.deliver_in_order(receiver, waiting))
        });
        join_all(deliveries).await;
    }

    /// Delivers until one fails. The others are then not tried, as each would wait for the same time-out; when it was the
    /// message that the receiver did not like, they come before it the next time.
    async fn deliver_in_order(&self, receiver: &Receiver, due: Vec<Waiting>) {
        let tries = due.iter().map(|waiting| waiting.tries).max().unwrap_or_default();
        let mut down = false;
        for waiting in due {
            let tried = !down;
            down = down || !self.deliver(receiver, &waiting).await;
            let noted = if down {
                let next = Timestamp::now() + self.notifying.pace.wait(tries);
                self.store.postpone_notice(&waiting.id, next, tried).await
            } else {
                self.store.forget_notice(&waiting.id).await
            };
            if let Err(error) = noted {
                tracing::error!(%error, "the end of a delivery could not be written down; it is tried again");
            }
        }
    }

    async fn deliver(&self, receiver: &Receiver, waiting: &Waiting) -> bool {
        let (name, event) = (&receiver.name, waiting.notice.event);
        match self.notifying.notifier.deliver(receiver, &waiting.id, &waiting.notice).await {
            Ok(()) => tracing::info!(receiver = name, %event, "told"),
            Err(error) => {
                tracing::warn!(receiver = name, %event, tries = waiting.tries + 1, %error, "a message did not arrive");
                return false;
            }
        }
        true
    }

    /// Gives what a command has queued a chance before it ends; what does not make it waits for the service.
    pub async fn deliver_before_exit(&self, deadline: Duration) {
        if tokio::time::timeout(deadline, self.deliver_due()).await.is_err() {
            tracing::debug!("some messages wait for the service");
        }
    }

    /// Who is told what.
    pub async fn receivers(&self) -> Result<Vec<ReceiverView>, Error> {
        let waiting: BTreeMap<_, _> = self.store.waiting_notices().await?.into_iter().collect();
        let view = |receiver: &Receiver| ReceiverView {
            receiver: receiver.name.clone(),
            kind: receiver.channel.kind(),
            events: receiver.events.iter().copied().collect(),
            waiting: waiting.get(&receiver.name).copied().unwrap_or_default(),
        };
        Ok(self.notifying.notifier.receivers().iter().map(view).collect())
    }

    /// Sends each receiver a message at once, whatever it wants to be told; nothing is queued.
    pub async fn test_receivers(&self) -> Vec<Tested> {
        let notice = Notice::sample(Event::Test, Timestamp::now());
        let tests = self.notifying.notifier.receivers().iter().map(|receiver| {
            let notice = &notice;
            async move {
                let id = ulid::Ulid::new().to_string();
                let error = self.notifying.notifier.deliver(receiver, &id, notice).await.err();
                Tested {
                    receiver: receiver.name.clone(),
                    kind: receiver.channel.kind(),
                    delivered: error.is_none(),
                    error: error.map(|error| error.to_string()),
                }
            }
        });
        join_all(tests).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_stay_there() {
        let pace = Pace::default();
        let seconds: Vec<_> = [0, 1, 2, 8, 100].map(|tries| pace.wait(tries).as_secs()).into();
        assert_eq!(seconds, [15, 30, 60, 3600, 3600]);
    }
}
