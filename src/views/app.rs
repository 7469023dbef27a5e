//! An app, as clients see it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::link::page_of;
use crate::adapters::apps_dir::Manifest;
use crate::domain::app::{AppState, ProjectName, ServiceName};
use crate::domain::check::{Available, NewerReason, ServiceStatus};
use crate::domain::container::{Container, ContainerState, Health};
use crate::domain::freshness::Status;
use crate::domain::host::HostName;
use crate::domain::image::ImageId;
use crate::domain::overview::{CurrentJob, Held, LastJob, WayBack};
use crate::domain::plan::by_service;
use crate::domain::policy::Policy;
use crate::domain::time::millis;
use crate::usecases::list_apps::{Look, SeenApp};

/// One app of `GET /api/apps`. Every key is always there, `null` where unknown or not applicable.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = App)]
pub struct AppView {
    /// Its directory's name, on another host with that host: `web@nas`.
    pub name: String,
    pub host: String,
    /// `null` while the app is broken: only a valid Compose file has a project.
    pub project: Option<ProjectName>,
    pub state: AppState,
    /// The worst of its containers that should run; `none` where none of them has a healthcheck.
    pub health: Health,
    /// Why the app is broken, or what is wrong with its settings or manifest.
    pub error: Option<String>,
    /// When its host last said what is shown here, to within a minute: it is asked when something happens, and now and
    /// then while somebody looks.
    #[serde(serialize_with = "millis")]
    pub seen_at: Timestamp,
    /// Last known freshness; `null` before the first check.
    pub status: Option<Status>,
    /// When the registries were last asked.
    #[serde(serialize_with = "millis")]
    pub checked_at: Option<Timestamp>,
    /// The next tag of the service that would make the greatest step; `null` while nobody looks for tags.
    #[schema(value_type = Option<Object>)]
    pub newer: (),
    /// The policy that holds for all its services; `null` when none does.
    pub auto_update: Option<Policy>,
    /// The next pass that can apply something to it.
    #[serde(serialize_with = "millis")]
    pub next: Option<Timestamp>,
    /// Why a pass would not apply what is newer; `null` where it would, or where there is nothing newer.
    pub held: Option<Held>,
    pub services: Vec<ServiceView>,
    /// What was done to it last.
    pub last: Option<LastJob>,
    /// What is being done to it.
    pub job: Option<CurrentJob>,
    /// What a rollback would bring back; `null` where there is nothing to go back to.
    pub can_roll_back: Option<WayBack>,
    pub manifest: Option<Manifest>,
    /// The path of its picture here; `null` where its manifest names none that can be shown.
    pub icon: Option<String>,
    /// Where the app's own page is, by its manifest's first port and the host that this request was for.
    pub url: Option<String>,
}

/// A service of an app.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Service)]
pub struct ServiceView {
    pub service: ServiceName,
    /// As the Compose file resolves it; of a broken app what its containers run.
    pub image: String,
    /// The version that its first container's image says it is; `null` where it says none.
    pub version: Option<String>,
    /// Where the image's source is, as the image says.
    pub source: Option<String>,
    /// Last known freshness; `null` before the first check.
    pub status: Option<Status>,
    /// What goes with that for a person.
    pub message: Option<String>,
    /// The next tag of a fixed one; `null` with `newer_reason`.
    #[schema(value_type = Option<Object>)]
    pub newer: (),
    pub newer_reason: Option<NewerReason>,
    /// What an update would bring; `null` unless the service is outdated.
    pub available: Option<Available>,
    pub containers: Vec<ContainerView>,
}

/// A container of a service.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Container)]
pub struct ContainerView {
    pub id: String,
    pub name: String,
    pub image_id: ImageId,
    pub state: ContainerState,
    pub health: Health,
}

impl AppView {
    /// All apps of a look, for a client that reaches this machine as `reached`.
    pub fn all(look: &Look, reached: Option<&str>) -> Vec<Self> {
        look.apps.iter().map(|seen| Self::of(seen, look, reached)).collect()
    }

    /// One app of a look.
    pub fn of(seen: &SeenApp, look: &Look, reached: Option<&str>) -> Self {
        let app = &seen.app;
        let project = app.model.as_ref().ok().map(|model| &model.project);
        let mistakes = project.and_then(|project| project.settings.as_ref().err().cloned());
        let broken = app.model.as_ref().err().map(ToString::to_string);
        let manifest = app.dir.manifest.as_ref().and_then(|manifest| manifest.as_ref().ok().cloned());
        let is_here = app.dir.host.as_str() == HostName::LOCAL;
        Self {
            name: app.dir.id().to_string(),
            host: app.dir.host.to_string(),
            project: project.map(|project| project.name.clone()),
            state: app.state,
            health: Health::worst(&app.containers),
            error: broken.or(mistakes).or_else(|| app.dir.manifest_volumes().err()).or_else(|| app.foreign.clone()),
            seen_at: look.seen_at(),
            status: seen.status,
            checked_at: seen.found.checked_at,
            newer: (),
            auto_update: seen.policy.auto_update,
            next: seen.next,
            held: seen.held.clone(),
            services: services(seen),
            last: seen.last.clone(),
            job: seen.job.clone(),
            can_roll_back: seen.can_roll_back.clone(),
            url: reached
                .filter(|_| is_here)
                .zip(manifest.as_ref())
                .and_then(|(reached, manifest)| page_of(&manifest.ports, reached)),
            manifest,
            icon: app.dir.icon.as_ref().map(|_| format!("/api/apps/{}/icon", app.dir.id())),
        }
    }
}

fn services(seen: &SeenApp) -> Vec<ServiceView> {
    let app = &seen.app;
    let running = by_service(&app.containers);
    let none = Vec::new();
    let replicas = |name: &ServiceName| running.get(name).unwrap_or(&none);
    match &app.model {
        Ok(model) => {
            let found = |name: &ServiceName| seen.found.services.iter().find(|found| found.service == *name);
            let services = model.project.services.iter();
            services.map(|(name, service)| ServiceView::of(name, &service.image, replicas(name), found(name))).collect()
        }
        Err(_) => {
            let image = |replicas: &[&Container]| replicas.first().map(|one| one.image.clone()).unwrap_or_default();
            running.iter().map(|(name, replicas)| ServiceView::of(name, &image(replicas), replicas, None)).collect()
        }
    }
}

impl ServiceView {
    fn of(service: &ServiceName, image: &str, replicas: &[&Container], found: Option<&ServiceStatus>) -> Self {
        let known = found.filter(|found| !replicas.is_empty() && found.finding.is_known());
        Self {
            service: service.clone(),
            image: image.to_owned(),
            version: replicas.iter().find_map(|replica| replica.version.clone()),
            source: replicas.iter().find_map(|replica| replica.source.clone()),
            status: known.map(|found| found.finding.status),
            message: known.and_then(|found| found.finding.message.clone()),
            newer: (),
            newer_reason: found.map(|found| found.newer_reason),
            available: found.and_then(|found| found.available.clone()),
            containers: replicas.iter().map(|container| ContainerView::from(*container)).collect(),
        }
    }
}

impl From<&Container> for ContainerView {
    fn from(container: &Container) -> Self {
        Self {
            id: container.id.clone(),
            name: container.name.clone(),
            image_id: container.image_id.clone(),
            state: container.state,
            health: container.health,
        }
    }
}
