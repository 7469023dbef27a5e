//! What containers there are, known without asking each time: the engine's events tell when to ask again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::context::Restock;
use crate::domain::container::Container;
use crate::domain::image::ImageReference;
use crate::error::Error;

/// How long to wait before listening again to an engine that has gone away.
const AGAIN: Duration = Duration::from_secs(2);

/// The containers at one moment.
pub struct Snapshot {
    pub containers: Vec<Container>,
    /// `repository@digest` of each image, by its ID.
    pub digests: BTreeMap<String, Vec<String>>,
    /// What each container was made from, by its ID.
    pub references: HashMap<String, String>,
    /// Which change of the engine this is the state after.
    pub generation: u64,
}

/// The last snapshot, and whether it still holds.
#[derive(Default)]
pub struct Inventory {
    generation: AtomicU64,
    /// Somebody listens to the engine, so that a change would have been noticed.
    watched: AtomicBool,
    snapshot: Mutex<Option<Arc<Snapshot>>>,
    asking: tokio::sync::Mutex<()>,
}

impl Restock {
    /// The containers as they are now. While the engine's events are heard and nothing has happened, nobody is asked.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        if let Some(snapshot) = self.inventory.current() {
            return Ok(snapshot);
        }
        let _asking = self.inventory.asking.lock().await;
        if let Some(snapshot) = self.inventory.current() {
            return Ok(snapshot);
        }
        // Read before the lists: what happens meanwhile makes the snapshot stale at once, never wrongly fresh.
        let generation = self.inventory.generation();
        let (containers, digests) = tokio::try_join!(self.engine.containers(), self.engine.digests())?;
        let references = self.references(&containers).await?;
        let snapshot = Arc::new(Snapshot { containers, digests, references, generation });
        *self.inventory.lock() = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// What each container was made from. A list shows a bare ID where the reference has moved on; what was asked for
    /// never changes, so each such container is asked once.
    pub(super) async fn references(&self, containers: &[Container]) -> Result<HashMap<String, String>, Error> {
        let known = self.inventory.lock().clone();
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

    /// Listens to the engine for as long as the service runs.
    pub async fn watch_engine(&self) {
        let watch = async {
            loop {
                // An engine that comes back may have other settings.
                self.freshness.learn_insecure(&self.engine).await;
                if let Err(error) = self.engine.watch(|| self.heard()).await {
                    tracing::debug!(%error, "the engine's events are not heard");
                }
                self.inventory.watched.store(false, Ordering::Release);
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::select! {
            () = watch => {}
            () = self.stopping.cancelled() => {}
        }
    }

    /// Something that lists show has changed without the engine: a setting.
    pub(super) fn changed(&self) {
        self.inventory.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn heard(&self) {
        self.inventory.generation.fetch_add(1, Ordering::AcqRel);
        self.inventory.watched.store(true, Ordering::Release);
    }
}

impl Inventory {
    /// Whether somebody listens to the engine.
    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    /// Grows whenever containers or images have changed.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn current(&self) -> Option<Arc<Snapshot>> {
        if !self.is_watched() {
            return None;
        }
        let generation = self.generation();
        self.lock().as_ref().filter(|snapshot| snapshot.generation == generation).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Snapshot>>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `docker run 4f2a…`: looks like a name, and is the beginning of the image's ID.
fn is_short_id(container: &Container) -> bool {
    let id = container.image_id.as_str();
    id.strip_prefix("sha256:").is_some_and(|id| id.starts_with(&container.image))
}
