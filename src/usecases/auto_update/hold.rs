//! What is held back, and skipping an image.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::mark::{Marked, Marks};
use crate::adapters::store::{BadImage, Remembered, Skip, container_owner};
use crate::domain::app::{AppName, ServiceName};
use crate::domain::check::{AppStatus, ServiceStatus};
use crate::domain::container::LocalImage;
use crate::domain::freshness::Status;
use crate::domain::hold::{BadCause, Candidate, HeldBack, HoldReason};
use crate::domain::host::{AppId, Subject};
use crate::domain::image::{Digest, ImageReference};
use crate::domain::time::millis;
use crate::error::{Code, Error};
use crate::usecases::context::Host;
use crate::usecases::freshness::Ask;
use crate::usecases::list_apps::App;
use crate::usecases::policies::AppPolicy;

/// The images of an app that are skipped.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Skipping {
    pub skipped: Vec<SkippedImage>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SkippedImage {
    pub service: ServiceName,
    /// What the registry had; the skip ends when it has another.
    pub digest: Digest,
    #[serde(serialize_with = "millis")]
    pub since: Timestamp,
}

/// What is remembered against images of an app.
pub(super) struct Memory {
    bad: Vec<BadImage>,
    /// What the app is set up as now.
    config: Option<String>,
    skips: Vec<Skip>,
    min_age: Option<std::time::Duration>,
}

/// What has been read of apps and containers, each once.
pub(super) type Memories = HashMap<Subject, Memory>;

impl Host {
    /// What is remembered of the images that a marked container may get.
    pub(super) async fn memory_of<'a>(
        &self,
        marks: &Marks,
        marked: &Marked,
        known: &'a mut Memories,
    ) -> Result<&'a Memory, Error> {
        match known.entry(marked.subject()) {
            Entry::Occupied(memory) => Ok(memory.into_mut()),
            Entry::Vacant(place) => {
                let app = marked.service.as_ref().and_then(|(app, _)| marks.apps.get(app));
                let memory = match app {
                    Some(app) => self.memory(app).await?,
                    None => self.memory_of_container(&marked.container.name).await?,
                };
                Ok(place.insert(memory))
            }
        }
    }

    async fn memory_of_container(&self, name: &str) -> Result<Memory, Error> {
        let bad = self.service.store.bad_images(&container_owner(&self.name, name)).await?;
        Ok(Memory { bad, config: None, skips: Vec::new(), min_age: None })
    }

    /// What is remembered of an app's images.
    async fn memory(&self, app: &App) -> Result<Memory, Error> {
        let bad = self.service.store.bad_images(&app.dir.id().to_string()).await?;
        Ok(Memory::with(app, bad, self.service.store.skips(&app.dir.id()).await?))
    }

    /// Why a service's newer image is not applied by itself; `None` when nothing is against it.
    pub(super) async fn held_back(
        &self,
        memory: &Memory,
        service: &ServiceName,
        reference: &ImageReference,
        digest: &Digest,
    ) -> Result<Option<HeldBack>, Error> {
        let first_seen = self.service.store.first_seen(&reference.canonical(), digest).await?;
        let candidate = memory.candidate(service, digest, first_seen);
        Ok(self.service.limits.held_back(&candidate, self.service.clock.now()))
    }

    /// Why an image that somebody has brought to this machine is not applied by itself. Age and skips are about what the
    /// registry has, so they do not count here.
    pub(super) fn held_back_here(
        &self,
        memory: &Memory,
        service: &ServiceName,
        image: &LocalImage,
    ) -> Option<HeldBack> {
        let candidate = Candidate { bad: memory.bad(service, image.id.as_str()), ..Candidate::default() };
        self.service.limits.held_back(&candidate, self.service.clock.now())
    }

    /// What a closed window holds back: everything that has not begun. `None` while it is open.
    pub(super) fn window_closed(&self) -> Option<HeldBack> {
        self.service.limits.held_back(&Candidate::default(), self.service.clock.now())
    }

    /// Returns whether an image that was pulled is one that failed here, under another digest: that of an index
    /// changes with every rebuilt attestation and every other architecture.
    pub(super) fn failed_here(&self, memory: &Memory, service: &ServiceName, image: &LocalImage) -> Option<HeldBack> {
        memory.bad(service, image.id.as_str())?;
        self.held_back_here(memory, service, image)
    }

    /// Adds to each service that has a newer image what holds that back. A window holds only what a policy would apply.
    pub(in crate::usecases) fn tell_holds(
        &self,
        app: &App,
        policy: &AppPolicy,
        remembered: &Remembered,
        status: &mut AppStatus,
    ) {
        let outdated = |service: &&mut ServiceStatus| service.finding.status == Status::Outdated;
        let mut services = status.services.iter_mut().filter(outdated).peekable();
        if services.peek().is_none() {
            return;
        }
        let memory = Memory::of(app, remembered);
        let marks = |name: &ServiceName| policy.services.iter().any(|policy| policy.service == *name && policy.marks());
        for service in services {
            let Some(digest) = &service.finding.remote_digest else { continue };
            let Ok(reference) = service.image.parse::<ImageReference>() else { continue };
            let first_seen = remembered.first_seen(&reference.canonical(), digest);
            let candidate = memory.candidate(&service.service, digest, first_seen);
            let held = self.service.limits.held_back(&candidate, self.service.clock.now());
            service.held_back = held.filter(|held| held.reason != HoldReason::Window || marks(&service.service));
        }
    }

    /// The images of an app that are skipped.
    pub async fn skipping(&self, name: &str) -> Result<Skipping, Error> {
        let app = self.apps.find(name).await?;
        let skips = self.service.store.skips(&app.id()).await?.into_iter();
        let skipped = skips.map(|Skip { service, digest, since }| SkippedImage { service, digest, since }).collect();
        Ok(Skipping { skipped })
    }

    /// Skips what the registries have now for one service of an app, or for all that have a newer image.
    ///
    /// # Errors
    /// There is nothing newer to skip.
    pub async fn skip(self: &Arc<Self>, name: &str, service: Option<&str>) -> Result<Skipping, Error> {
        let status = self.check_app(name, Ask::IfStale).await?;
        if let Some(service) = service {
            known_service(&status.services, service, &status.app)?;
        }
        let wanted = status.services.iter().filter(|found| {
            found.finding.status == Status::Outdated && service.is_none_or(|name| found.service.as_str() == name)
        });
        let newer: Vec<_> =
            wanted.filter_map(|found| Some((found.service.clone(), found.finding.remote_digest.clone()?))).collect();
        if newer.is_empty() {
            return Err(Error::new(Code::NothingToSkip, "the registry has nothing newer to skip")
                .hint("ask it again: GET …/status?force=true")
                .app(&status.app));
        }
        let id = AppId { host: self.name.clone(), name: status.app.clone() };
        for (service, digest) in newer {
            self.service.store.skip(&id, &Skip { service, digest, since: Timestamp::now() }).await?;
        }
        self.changed();
        self.skipping(name).await
    }

    /// Ends the skips of one service of an app, or of all.
    pub async fn end_skip(&self, name: &str, service: Option<&str>) -> Result<Skipping, Error> {
        let app = self.apps.find(name).await?;
        let skips = self.service.store.skips(&app.id()).await?;
        for skip in skips.iter().filter(|skip| service.is_none_or(|name| skip.service.as_str() == name)) {
            self.service.store.forget_skip(&app.id(), &skip.service).await?;
        }
        self.changed();
        self.skipping(name).await
    }
}

fn known_service(services: &[ServiceStatus], service: &str, app: &AppName) -> Result<(), Error> {
    if services.iter().any(|known| known.service.as_str() == service) {
        return Ok(());
    }
    let known: Vec<_> = services.iter().map(|known| known.service.as_str()).collect();
    Err(Error::new(Code::NoSuchService, format!("`service`: the app has no service `{service}`"))
        .hint(format!("its services are {}", known.join(", ")))
        .app(app))
}

impl Memory {
    /// The same from what has been read of all apps.
    fn of(app: &App, remembered: &Remembered) -> Self {
        let name = app.dir.id().to_string();
        let bad = remembered.bad.get(&name).cloned().unwrap_or_default();
        Self::with(app, bad, remembered.skips.get(&name).cloned().unwrap_or_default())
    }

    fn with(app: &App, bad: Vec<BadImage>, skips: Vec<Skip>) -> Self {
        let settings = app.model.as_ref().ok().and_then(|model| model.project.settings.as_ref().ok());
        Self {
            bad,
            config: app.model.as_ref().ok().map(|model| model.fingerprint.clone()),
            skips,
            min_age: settings.and_then(|settings| settings.min_age),
        }
    }

    /// What is known of an image that the registry has.
    fn candidate(&self, service: &ServiceName, digest: &Digest, first_seen: Option<Timestamp>) -> Candidate {
        Candidate {
            bad: self.bad(service, digest.as_str()),
            skipped: self.skipped(service, digest),
            first_seen,
            min_age: self.min_age,
        }
    }

    /// Why and since when an image is known to be bad; `digest` is one of its digests or its ID.
    fn bad(&self, service: &ServiceName, digest: &str) -> Option<(BadCause, Timestamp)> {
        let same = |bad: &&BadImage| {
            let known = bad.digests.iter().filter_map(|name| name.rsplit('@').next());
            bad.service == *service && known.chain([bad.image_id.as_str()]).any(|known| known == digest)
        };
        let still = |bad: &&BadImage| bad.cause != BadCause::Setup || bad.config == self.config;
        self.bad.iter().filter(still).find(same).map(|bad| (bad.cause, bad.since))
    }

    fn skipped(&self, service: &ServiceName, digest: &Digest) -> Option<Timestamp> {
        let skip = self.skips.iter().find(|skip| skip.service == *service && skip.digest == *digest);
        skip.map(|skip| skip.since)
    }
}
