//! What every use case works with.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::auto_update::Planned;
use super::events::Events;
use super::freshness::Freshness;
use super::image_changes::Meanings;
use super::inventory::Inventory;
use super::jobs::Jobs;
use super::known_projects::Resolver;
use super::list_apps::Looks;
use super::logs::MOST_READERS;
use super::metrics::Metrics;
use super::notify::Notifying;
use crate::adapters::apps_dir::AppsDir;
use crate::adapters::clock::Clock;
use crate::adapters::compose::{Compose, Locator};
use crate::adapters::engine::Engine;
use crate::adapters::lock::Locks;
use crate::adapters::store::Store;
use crate::adapters::systemd::Systemd;
use crate::domain::container::Container;
use crate::domain::hold::{Candidate, HeldBack};
use crate::domain::window::Window;
use crate::error::Error;

/// Defaults that an app's `x-restock` can override, and bounds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long new containers may take to become healthy.
    pub health_timeout: Duration,
    /// How long a container without a healthcheck must stay up.
    pub settle: Duration,
    /// How long the images of before an update are kept.
    pub keep: Duration,
    /// Remove the images of before an update when they are no longer kept.
    pub cleanup: bool,
    /// How long one pull may take.
    pub pull_timeout: Duration,
    /// How many apps are worked on at once.
    pub concurrency: usize,
    /// When passes may apply what they find; `None` means always.
    pub window: Option<Window>,
    /// The zone of schedules and window.
    pub zone: TimeZone,
    pub waits: Waits,
}

/// How long a change waits for what may pass by itself.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For an engine that went away: it may be restarting itself.
    pub engine: Duration,
    /// For a database that cannot be written, before a change that is not proven yet turns back.
    pub writes: Duration,
    /// Between two tries.
    pub retry: Duration,
    /// Between two looks at containers that are being proved.
    pub look: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            engine: Duration::from_secs(60),
            // A container may be stopped meanwhile.
            writes: Duration::from_secs(15),
            retry: Duration::from_millis(500),
            look: Duration::from_millis(250),
        }
    }
}

impl Limits {
    /// Whether a newer image has to wait, now.
    pub fn held_back(&self, candidate: &Candidate, now: Timestamp) -> Option<HeldBack> {
        candidate.held_back(self.window.as_ref(), &self.zone, now)
    }
}

/// What the program is put together from.
pub struct Parts {
    pub limits: Limits,
    pub clock: Clock,
    pub apps: AppsDir,
    pub engine: Engine,
    pub locator: Locator,
    pub store: Store,
    pub locks: Locks,
    pub freshness: Freshness,
    pub notifying: Notifying,
    pub systemd: Systemd,
    /// The container this process runs in, if it runs in one.
    pub own_container: Option<String>,
}

/// The service's parts. Cheap to share.
pub struct Restock {
    pub limits: Limits,
    pub clock: Clock,
    pub apps: AppsDir,
    pub engine: Engine,
    pub locator: Locator,
    pub store: Store,
    pub locks: Locks,
    pub freshness: Freshness,
    pub events: Events,
    pub jobs: Jobs,
    pub resolver: Resolver,
    pub inventory: Inventory,
    /// What images under change by Docker's routes have meant.
    pub(super) meanings: Meanings,
    /// Readers of logs, of which each has a Compose process.
    pub(super) log_readers: Arc<Semaphore>,
    /// The last look at the apps.
    pub looks: Looks,
    pub metrics: Metrics,
    /// What this process runs by itself.
    pub(super) planned: Planned,
    pub notifying: Notifying,
    pub systemd: Systemd,
    /// Names this process on what it works on; another process never has the same.
    pub(in crate::usecases) worker: String,
    /// The container this process runs in, if it runs in one.
    own_container: Option<String>,
    /// Fires when the service shuts down.
    pub stopping: CancellationToken,
}

impl Restock {
    /// Puts the parts together; contacts nothing.
    pub fn new(parts: Parts) -> Arc<Self> {
        let events = Events::new();
        let Parts { limits, clock, apps, engine, locator, store, locks, freshness, notifying, systemd, own_container } =
            parts;
        Arc::new(Self {
            freshness,
            notifying,
            systemd,
            resolver: Resolver::new(limits.concurrency),
            looks: Looks::default(),
            inventory: Inventory::default(),
            meanings: Meanings::default(),
            log_readers: Arc::new(Semaphore::new(MOST_READERS)),
            metrics: Metrics::default(),
            planned: Planned::default(),
            jobs: Jobs::default(),
            worker: ulid::Ulid::new().to_string(),
            own_container,
            stopping: CancellationToken::new(),
            limits,
            clock,
            apps,
            engine,
            locator,
            store,
            locks,
            events,
        })
    }

    /// Compose, or what is missing.
    pub async fn compose(&self) -> Result<Compose, Error> {
        Ok(Compose::find(&self.locator).await?)
    }

    /// Whether `container` is the one this process runs in.
    pub fn is_self(&self, container: &Container) -> bool {
        self.own_container.as_deref() == Some(container.id.as_str())
    }
}
