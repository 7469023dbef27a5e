//! What containers there are, known without asking each time: the engine's events tell when to ask again.

mod state;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::context::Host;
use super::events::APPS_CHANGED;
use crate::domain::container::Container;
use crate::domain::image::ImageReference;
use crate::error::Error;
use state::BELIEVED;
pub use state::{Inventory, Snapshot};

/// How long to wait before listening again to an engine that has gone away.
const AGAIN: Duration = Duration::from_secs(2);
/// How long events are gathered before the engine is asked: what one command does comes as several.
const GATHERED: Duration = Duration::from_millis(100);
/// How long to wait before events are heeded again: a container that restarts in a loop must not keep the engine busy.
const HEEDED_AGAIN: Duration = Duration::from_secs(1);

impl Host {
    /// The containers as they are now. While the engine's events are heard and nothing has happened, nobody is asked.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        if let Some(snapshot) = self.inventory.current() {
            return Ok(snapshot);
        }
        let ask = || async {
            match self.inventory.current() {
                Some(snapshot) => Ok(snapshot),
                None => self.ask_engine().await,
            }
        };
        self.inventory.flights.run(Duration::ZERO, ask).await
    }

    /// The containers as they were last seen: the engine is waited for only until it has been asked once, after a change
    /// through Restock itself, and while its events are not heard.
    pub async fn known_snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        let Some(known) = self.inventory.last().filter(|known| self.inventory.may_show(known)) else {
            return self.snapshot().await;
        };
        if known.at.elapsed() > BELIEVED {
            self.inventory.news.notify_one();
        }
        Ok(known)
    }

    async fn ask_engine(&self) -> Result<Arc<Snapshot>, Error> {
        // Read before the lists: what happens meanwhile makes the snapshot stale at once, never wrongly fresh.
        let (generation, images) = (self.inventory.generation(), self.inventory.images.load(Ordering::Acquire));
        let at = Instant::now();
        let before = self.inventory.last();
        let known = before
            .as_ref()
            .filter(|known| self.inventory.is_watched() && known.images == images && known.at.elapsed() < BELIEVED);
        let (containers, origins) = match known {
            Some(known) => {
                let containers = self.engine.containers().await?;
                let has_new_image = !images_of(&containers).is_subset(&images_of(&known.containers));
                let origins =
                    if has_new_image { Arc::new(self.engine.origins().await?) } else { known.origins.clone() };
                (containers, origins)
            }
            None => {
                let (containers, origins) = tokio::try_join!(self.engine.containers(), self.engine.origins())?;
                (containers, Arc::new(origins))
            }
        };
        let references = self.references(&containers).await?;
        let mut last = self.inventory.lock();
        let serial = last.as_ref().map_or(0, |last| last.serial + 1);
        let now = Timestamp::now();
        let mut snapshot = Snapshot { containers, origins, references, generation, images, serial, seen_at: now, at };
        let is_recent = |known: &&Arc<Snapshot>| {
            let age = now.duration_since(known.seen_at);
            !age.is_negative() && age < SignedDuration::try_from(BELIEVED).unwrap_or_default()
        };
        if let Some(same) = last.as_ref().filter(is_recent).filter(|known| !known.shows_otherwise(&snapshot)) {
            snapshot.seen_at = same.seen_at;
        }
        let snapshot = Arc::new(snapshot);
        *last = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// What each container was made from. A list shows a bare ID where the reference has moved on; what was asked for
    /// never changes, so each such container is asked once.
    pub(super) async fn references(&self, containers: &[Container]) -> Result<HashMap<String, String>, Error> {
        let known = self.inventory.last();
        let mut references = HashMap::with_capacity(containers.len());
        for container in containers {
            let reference = match known.as_ref().and_then(|known| known.references.get(&container.id)) {
                Some(reference) => reference.clone(),
                None if container.image.parse::<ImageReference>().is_ok() && !is_short_id(container) => {
                    container.image.clone()
                }
                None => self.engine.made_from(&container.id).await?.unwrap_or_else(|| container.image.clone()),
            };
            references.insert(container.id.clone(), reference);
        }
        Ok(references)
    }

    /// Listens to the engine for as long as the service runs, and asks it again when something has happened.
    pub async fn watch_engine(&self) {
        let watch = async {
            loop {
                // An engine that comes back may have other settings.
                self.service.freshness.learn_settings(&self.engine).await;
                if let Err(error) = self.engine.watch(|news| self.inventory.heard(news)).await {
                    tracing::debug!(%error, "the engine's events are not heard");
                }
                self.inventory.watched.store(false, Ordering::Release);
                self.tell_apps_changed();
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::select! {
            () = watch => {}
            () = self.heed_news() => {}
            () = self.service.stopping.cancelled() => {}
        }
    }

    /// Renews the snapshot behind the events, so that those that ask need not wait for it.
    async fn heed_news(&self) {
        loop {
            self.inventory.news.notified().await;
            tokio::time::sleep(GATHERED).await;
            let before = self.inventory.last();
            match self.snapshot().await {
                Ok(now) if before.is_none_or(|before| before.shows_otherwise(&now)) => self.tell_apps_changed(),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "the engine could not be asked after an event");
                    self.inventory.news.notify_one();
                }
            }
            tokio::time::sleep(HEEDED_AGAIN).await;
        }
    }

    /// Restock itself has changed containers or images: whoever asks from now on sees it.
    pub(super) fn wrote(&self) {
        self.inventory.must_show(self.inventory.changed(true));
        self.inventory.news.notify_one();
        self.changed();
    }

    /// Publishes that lists of apps may look different now.
    pub(super) fn tell_apps_changed(&self) {
        self.service.events.tell(None, APPS_CHANGED, serde_json::json!({}));
    }
}

fn images_of(containers: &[Container]) -> BTreeSet<&str> {
    containers.iter().map(|container| container.image_id.as_str()).collect()
}

/// `docker run 4f2a…`: looks like a name, and is the beginning of the image's ID.
fn is_short_id(container: &Container) -> bool {
    let id = container.image_id.as_str();
    id.strip_prefix("sha256:").is_some_and(|id| id.starts_with(&container.image))
}
