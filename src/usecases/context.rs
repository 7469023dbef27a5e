//! What every use case works with.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use super::auto_update::Planned;
use super::events::Events;
use super::freshness::Freshness;
use super::image_changes::Meanings;
use super::inventory::Inventory;
use super::jobs::Jobs;
use super::known_projects::Resolver;
use super::list_apps::Looks;
use super::metrics::Metrics;
use super::notify::Notifying;
use crate::adapters::apps_dir::{AppDir, AppsDir};
use crate::adapters::clock::Clock;
use crate::adapters::compose::{Compose, Locator};
use crate::adapters::engine::Engine;
use crate::adapters::lock::Locks;
use crate::adapters::store::{Remembered, Store};
use crate::adapters::systemd::Systemd;
use crate::domain::container::Container;
use crate::domain::hold::{Candidate, HeldBack};
use crate::domain::host::{HostName, Subject, Target, split};
use crate::domain::window::Window;
use crate::error::{Code, Error};

/// How many readers there may be at once: each has a Compose process for as long as it reads.
pub const MOST_READERS: usize = 16;

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
    /// Returns whether a newer image has to wait, now.
    pub fn held_back(&self, candidate: &Candidate, now: Timestamp) -> Option<HeldBack> {
        candidate.held_back(self.window.as_ref(), &self.zone, now)
    }
}

/// What the service is put together from.
pub struct Parts {
    pub limits: Limits,
    pub clock: Clock,
    pub store: Store,
    pub locks: Locks,
    pub freshness: Freshness,
    pub notifying: Notifying,
}

/// What a host is put together from.
pub struct HostParts {
    pub name: HostName,
    pub engine: Engine,
    pub apps: AppsDir,
    pub locator: Locator,
    pub systemd: Systemd,
    /// The container this process runs in, if it runs in one on this host.
    pub own_container: Option<String>,
}

/// What all hosts share: a fact of the registries, the database or this process.
pub struct Service {
    pub limits: Limits,
    pub clock: Clock,
    pub store: Store,
    pub locks: Locks,
    pub freshness: Freshness,
    pub events: Events,
    pub jobs: Jobs,
    /// Readers of logs, of which each has a Compose process.
    pub(super) log_readers: Arc<Semaphore>,
    pub metrics: Metrics,
    /// What this process runs by itself.
    pub(super) planned: Planned,
    /// What the database was last found to remember of apps.
    pub(super) last_remembered: Mutex<Option<Arc<Remembered>>>,
    pub notifying: Notifying,
    /// Names this process on what it works on; another process never has the same.
    pub(in crate::usecases) worker: String,
    /// Fires when the service shuts down.
    pub stopping: CancellationToken,
}

/// One engine and everything that is a fact of it. The use cases work on one host.
pub struct Host {
    pub name: HostName,
    pub service: Arc<Service>,
    pub engine: Engine,
    pub apps: AppsDir,
    pub locator: Locator,
    pub systemd: Systemd,
    pub resolver: Resolver,
    pub inventory: Inventory,
    /// What images under change by Docker's routes have meant.
    pub(super) meanings: Meanings,
    /// The last look at the apps.
    pub looks: Looks,
    own_container: Option<String>,
    /// What the engine runs, `os/architecture`, once it has been asked.
    platform: OnceCell<String>,
}

/// The whole program: the service and its hosts.
pub struct Restock {
    pub service: Arc<Service>,
    /// The local host first.
    hosts: Vec<Arc<Host>>,
}

impl Service {
    /// Puts the parts together; contacts nothing.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { limits, clock, store, locks, freshness, notifying } = parts;
        Arc::new(Self {
            limits,
            clock,
            store,
            locks,
            freshness,
            notifying,
            events: Events::new(),
            jobs: Jobs::default(),
            log_readers: Arc::new(Semaphore::new(MOST_READERS)),
            metrics: Metrics::default(),
            planned: Planned::default(),
            last_remembered: Mutex::default(),
            worker: ulid::Ulid::new().to_string(),
            stopping: CancellationToken::new(),
        })
    }
}

impl Restock {
    /// A program that works on `hosts`, the local one first.
    pub fn new(service: Arc<Service>, hosts: Vec<HostParts>) -> Arc<Self> {
        let hosts = hosts.into_iter().map(|parts| Arc::new(Host::new(service.clone(), parts))).collect();
        Arc::new(Self { service, hosts })
    }

    /// All hosts, the local one first.
    pub fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    /// A host by its name.
    ///
    /// # Errors
    /// `no_such_host`.
    pub fn host(&self, name: &str) -> Result<&Arc<Host>, Error> {
        let known = self.hosts.iter().find(|host| host.name.as_str() == name);
        known.ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            let known: Vec<_> = self.hosts.iter().map(|host| host.name.as_str()).collect();
            Error::new(Code::NoSuchHost, format!("no such host: {shown}"))
                .hint(format!("the hosts are: {}", known.join(", ")))
        })
    }

    /// Learns from every engine which registries it asks without TLS.
    pub async fn learn_settings(&self) {
        for host in &self.hosts {
            self.service.freshness.learn_settings(&host.engine).await;
        }
    }

    /// The host of the engine that names without a host belong to.
    ///
    /// # Errors
    /// `no_such_host`.
    pub fn local(&self) -> Result<&Arc<Host>, Error> {
        self.host(HostName::LOCAL)
    }

    /// The host that a name's text form (`web`, `web@nas`) is on, and the name there.
    ///
    /// # Errors
    /// `no_such_host`.
    pub fn named<'n>(&self, text: &'n str) -> Result<(&Arc<Host>, &'n str), Error> {
        let (name, host) = split(text);
        Ok((self.host(host.unwrap_or(HostName::LOCAL))?, name))
    }
}

impl Restock {
    /// The names on their host of what is named by text forms.
    ///
    /// # Errors
    /// `no_such_host`.
    pub fn bare_names(&self, texts: &[String]) -> Result<Vec<String>, Error> {
        texts.iter().map(|text| Ok(self.named(text)?.1.to_owned())).collect()
    }

    /// An app by its name's text form.
    ///
    /// # Errors
    /// No such host or app, or the directory cannot be read.
    pub async fn find_app(&self, text: &str) -> Result<AppDir, Error> {
        let (host, name) = self.named(text)?;
        Ok(host.apps.find(name).await?)
    }
}

impl Host {
    fn new(service: Arc<Service>, parts: HostParts) -> Self {
        let HostParts { name, engine, apps, locator, systemd, own_container } = parts;
        Self {
            resolver: Resolver::new(service.limits.concurrency),
            name,
            service,
            engine,
            apps,
            locator,
            systemd,
            inventory: Inventory::default(),
            meanings: Meanings::default(),
            looks: Looks::default(),
            own_container,
            platform: OnceCell::new(),
        }
    }

    /// The engine's platform, `os/architecture`, if it has been asked.
    pub(super) fn known_platform(&self) -> Option<&str> {
        self.platform.get().map(String::as_str)
    }

    /// The engine's platform, asked once; `None` when the engine does not say it, or not now.
    pub(super) async fn platform(&self) -> Option<&str> {
        let ask = || async {
            let info = self.engine.info().await.inspect_err(|error| tracing::debug!(%error, "no platform is known"));
            info.ok().and_then(|info| info.platform).ok_or(())
        };
        self.platform.get_or_try_init(ask).await.ok().map(String::as_str)
    }

    /// A target on this host.
    pub fn target(&self, subject: Subject) -> Target {
        Target::new(&self.name, subject)
    }

    /// A standalone container on this host as what a job works on.
    pub fn container_target(&self, container: &Container) -> Target {
        self.target(Subject::Container(container.name.clone()))
    }

    /// Compose, or what is missing.
    pub async fn compose(&self) -> Result<Compose, Error> {
        Ok(Compose::find(&self.locator).await?)
    }

    /// Returns whether `container` is the one this process runs in.
    pub fn is_self(&self, container: &Container) -> bool {
        self.own_container.as_deref() == Some(container.id.as_str())
    }
}
