//! The apps as they are now.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;

use super::context::Restock;
use super::freshness::Ask;
use super::policies::{AppPolicy, Toggles, policy_of};
use super::resolve::{check_directory, containers_of, of_directory};
use crate::adapters::apps_dir::AppDir;
use crate::adapters::compose::Model;
use crate::domain::app::AppState;
use crate::domain::container::{Container, ContainerState};
use crate::domain::freshness::Status;
use crate::domain::job::Job;
use crate::domain::plan::by_service;
use crate::domain::project::Project;
use crate::domain::schedule::Schedule;
use crate::error::Error;

/// An app, its project and its containers.
pub struct App {
    pub dir: AppDir,
    pub state: AppState,
    /// The project, or why it is broken.
    pub model: Result<Model, Error>,
    /// The containers of the project, or of the directory where the project is broken.
    pub containers: Vec<Container>,
    /// Why nothing can be done with it, when its containers were made from another directory.
    pub foreign: Option<String>,
}

/// An app, with what is known besides its files and containers.
pub struct SeenApp {
    pub app: App,
    /// Last known freshness; `None` before the first check.
    pub status: Option<Status>,
    /// Which policy holds for it, and who said so.
    pub policy: AppPolicy,
}

impl App {
    /// Its own schedule, as its Compose file says it.
    pub fn schedule(&self) -> Option<&Schedule> {
        let settings = self.model.as_ref().ok()?.project.settings.as_ref().ok()?;
        settings.schedule.as_ref()
    }
}

impl Restock {
    /// All apps, by name. One that is broken stays among them with its error.
    pub async fn list_apps(&self) -> Result<Vec<App>, Error> {
        self.apps_among(&self.engine.containers().await?).await
    }

    /// The same with the engine's containers as they are known.
    pub async fn apps_among(&self, containers: &[Container]) -> Result<Vec<App>, Error> {
        let dirs = self.apps.list()?;
        let apps = futures_util::stream::iter(dirs).map(|dir| self.look_at(dir, containers));
        // Each that is not remembered costs a child; more at once than this would starve the machine.
        apps.buffered(self.limits.concurrency.max(1)).collect::<Vec<_>>().await.into_iter().collect()
    }

    /// All apps with what is known of their freshness; no registry is asked.
    pub async fn seen_apps(&self) -> Result<Vec<SeenApp>, Error> {
        // Read first: what changes meanwhile makes the look out of date at once.
        let generation = self.look_generation();
        let (apps, digests) = tokio::try_join!(self.list_apps(), async { Ok(self.engine.digests().await?) })?;
        let toggles = self.toggles().await?;
        let running = self.running_jobs().await?;
        let mut seen = Vec::with_capacity(apps.len());
        for app in apps {
            seen.push(self.see(app, &digests, &running, &toggles).await);
        }
        self.note_look(generation, &seen);
        Ok(seen)
    }

    /// One app with what is known of it.
    pub async fn seen_app(&self, name: &str) -> Result<SeenApp, Error> {
        let (app, digests) = tokio::try_join!(self.app(name), async { Ok(self.engine.digests().await?) })?;
        Ok(self.see(app, &digests, &self.running_jobs().await?, &self.toggles().await?).await)
    }

    async fn see(
        &self,
        app: App,
        digests: &BTreeMap<String, Vec<String>>,
        running: &[Job],
        toggles: &Toggles,
    ) -> SeenApp {
        let found = self.status_of(&app, digests, running, Ask::Nobody).await;
        let known = found.checked_at.is_some() || found.status == Status::Skipped;
        let status = (known && app.model.is_ok() && !app.containers.is_empty()).then_some(found.status);
        SeenApp { policy: policy_of(&app, toggles), app, status }
    }

    /// One app.
    pub async fn app(&self, name: &str) -> Result<App, Error> {
        let dir = self.apps.find(name)?;
        let containers = self.engine.containers().await?;
        self.look_at(dir, &containers).await
    }

    async fn look_at(&self, dir: AppDir, all: &[Container]) -> Result<App, Error> {
        let model = self.resolve_with(&dir, all).await?.as_ref().clone();
        let containers = match &model {
            Ok(model) => containers_of(&model.project, all),
            Err(_) => of_directory(&dir, all),
        };
        let state = match &model {
            Ok(model) => state(&model.project, &containers),
            Err(_) => AppState::Broken,
        };
        let foreign = check_directory(&dir, &containers).err().map(|error| error.to_string());
        Ok(App { dir, state, model, containers, foreign })
    }
}

fn state(project: &Project, containers: &[Container]) -> AppState {
    let services = by_service(containers);
    if services.is_empty() {
        return AppState::Absent;
    }
    let one_shots = project.one_shots();
    let is_up = |replicas: &&Vec<&Container>| replicas.iter().all(|replica| replica.state.is_up());
    if !containers.iter().any(|container| container.state.is_up()) {
        return AppState::Stopped;
    }
    let done = |name: &_, replicas: &[&Container]| {
        one_shots.contains(name) && replicas.iter().all(|replica| replica.state == ContainerState::Exited)
    };
    let all_up = services.iter().all(|(name, replicas)| is_up(&replicas) || done(*name, replicas));
    let missing: BTreeSet<_> = project.services.keys().filter(|name| !services.contains_key(name)).collect();
    if all_up && missing.is_empty() { AppState::Running } else { AppState::Partial }
}
