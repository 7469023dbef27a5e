//! The engine's containers and images as they were last seen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::adapters::engine::News;
use crate::adapters::flights::Flights;
use crate::domain::container::Container;
use crate::domain::freshness::Origins;
use crate::error::Error;

/// How long a snapshot is served without an event: something between here and the engine may lose one.
pub(super) const BELIEVED: Duration = Duration::from_secs(60);

/// The containers at one moment.
pub struct Snapshot {
    pub containers: Vec<Container>,
    /// `repository@digest` of each image, by its ID.
    pub origins: Arc<Origins>,
    /// What each container was made from, by its ID.
    pub references: HashMap<String, String>,
    /// Which change of the engine this is the state after.
    pub(super) generation: u64,
    /// The same for the images.
    pub(super) images: u64,
    /// Another for each snapshot.
    pub serial: u64,
    /// When the engine was asked, to within [`BELIEVED`] while what it says stays the same: lists show it, and should
    /// not change for its sake alone.
    pub seen_at: Timestamp,
    pub(super) at: Instant,
}

/// The last snapshot of one engine, and whether it still holds.
#[derive(Default)]
pub struct Inventory {
    pub(super) generation: AtomicU64,
    /// The generation of the last change of images.
    pub(super) images: AtomicU64,
    /// The generation of the last change that nobody may be shown the state before.
    pub(super) own: AtomicU64,
    /// Somebody listens to the engine, so that a change would have been noticed.
    pub(super) watched: AtomicBool,
    pub(super) snapshot: Mutex<Option<Arc<Snapshot>>>,
    pub(super) flights: Flights<Result<Arc<Snapshot>, Error>>,
    pub(super) news: Notify,
}

impl Inventory {
    /// Returns whether somebody listens to the engine.
    pub(in crate::usecases) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    /// Grows whenever containers or images have changed.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The last snapshot, if nothing is known to have happened since.
    pub(in crate::usecases) fn undisturbed(&self) -> Option<Arc<Snapshot>> {
        self.last().filter(|known| known.generation == self.generation())
    }

    pub(super) fn heard(&self, news: News) {
        let generation = self.changed(news != News::Containers);
        if news == News::Listening {
            // Whatever happened before was not heard.
            self.must_show(generation);
            self.watched.store(true, Ordering::Release);
        }
        self.news.notify_one();
    }

    /// Notes a change; gives the generation that has seen it.
    pub(super) fn changed(&self, images: bool) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        if images {
            self.images.fetch_max(generation, Ordering::AcqRel);
        }
        generation
    }

    pub(super) fn must_show(&self, generation: u64) {
        self.own.fetch_max(generation, Ordering::AcqRel);
    }

    pub(super) fn current(&self) -> Option<Arc<Snapshot>> {
        let generation = self.generation();
        self.last().filter(|known| self.is_watched() && known.generation == generation && known.at.elapsed() < BELIEVED)
    }

    pub(super) fn may_show(&self, known: &Snapshot) -> bool {
        self.is_watched() && known.generation >= self.own.load(Ordering::Acquire)
    }

    pub(super) fn last(&self) -> Option<Arc<Snapshot>> {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Snapshot>>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// Returns whether a list made from the other one looks different.
    pub(super) fn shows_otherwise(&self, other: &Self) -> bool {
        self.containers != other.containers || self.origins != other.origins
    }
}
