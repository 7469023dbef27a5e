//! An app, as clients see it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::adapters::apps_dir::Manifest;
use crate::domain::app::{AppName, AppState, ProjectName, ServiceName};
use crate::domain::container::{Container, ContainerState, Health};
use crate::domain::freshness::Status;
use crate::domain::image::ImageId;
use crate::domain::plan::by_service;
use crate::domain::policy::Policy;
use crate::usecases::list_apps::{App, SeenApp};

/// One app of `GET /api/apps`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = App)]
pub struct AppView {
    pub name: AppName,
    /// `null` while the app is broken: only a valid Compose file has a project.
    pub project: Option<ProjectName>,
    pub state: AppState,
    /// The worst of its containers that should run; `none` where none of them has a healthcheck.
    pub health: Health,
    /// Why the app is broken, or what is wrong with its settings or manifest.
    pub error: Option<String>,
    pub services: Vec<ServiceView>,
    /// Last known freshness; `null` before the first check.
    pub status: Option<Status>,
    /// The policy that holds for all its services; `null` when none does.
    pub auto_update: Option<Policy>,
    pub manifest: Option<Manifest>,
    /// The path of its picture here; `null` where its manifest names none that can be shown.
    pub icon: Option<String>,
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

impl From<&SeenApp> for AppView {
    fn from(seen: &SeenApp) -> Self {
        let app = &seen.app;
        let project = app.model.as_ref().ok().map(|model| &model.project);
        let mistakes = project.and_then(|project| project.settings.as_ref().err().cloned());
        let broken = app.model.as_ref().err().map(ToString::to_string);
        Self {
            name: app.dir.name.clone(),
            project: project.map(|project| project.name.clone()),
            state: app.state,
            health: Health::worst(&app.containers),
            error: broken.or(mistakes).or_else(|| app.dir.manifest_volumes().err()).or_else(|| app.foreign.clone()),
            services: services(app),
            status: seen.status,
            auto_update: seen.policy.auto_update,
            manifest: app.dir.manifest.as_ref().and_then(|manifest| manifest.as_ref().ok().cloned()),
            icon: app.dir.icon.as_ref().map(|_| format!("/api/apps/{}/icon", app.dir.name)),
        }
    }
}

fn services(app: &App) -> Vec<ServiceView> {
    let running = by_service(&app.containers);
    let containers = |name: &ServiceName| {
        running.get(name).into_iter().flatten().map(|container| ContainerView::from(*container)).collect::<Vec<_>>()
    };
    let label =
        |name: &ServiceName, of: fn(&Container) -> Option<String>| running.get(name)?.iter().find_map(|it| of(it));
    match &app.model {
        Ok(model) => {
            let view = |(name, service): (&ServiceName, &crate::domain::project::Service)| ServiceView {
                service: name.clone(),
                image: service.image.clone(),
                version: label(name, |container| container.version.clone()),
                source: label(name, |container| container.source.clone()),
                containers: containers(name),
            };
            model.project.services.iter().map(view).collect()
        }
        Err(_) => {
            let view = |(name, replicas): (&&ServiceName, &Vec<&Container>)| ServiceView {
                service: (*name).clone(),
                image: replicas.first().map(|replica| replica.image.clone()).unwrap_or_default(),
                version: label(name, |container| container.version.clone()),
                source: label(name, |container| container.source.clone()),
                containers: containers(name),
            };
            running.iter().map(view).collect()
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
