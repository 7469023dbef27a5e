//! The apps as they are now.

mod state;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use jiff::Timestamp;

use super::context::Host;
use super::freshness::Ask;
use super::known_projects::{Call, Trust};
use super::resolve::{Reading, check_directory, containers_of, of_directory};
use crate::adapters::apps_dir::{AppDir, AppDirError, FoundApp};
use crate::adapters::disk::Hangs;
use crate::domain::app::AppState;
use crate::domain::container::{Container, ContainerState};
use crate::domain::plan::by_service;
use crate::domain::project::Project;
use crate::error::Error;
use state::MadeFrom;
pub use state::{App, Look, Looks, SeenApp};

/// How long a look is served when nothing is known to have changed: what other processes set or do shows after that.
const BELIEVED: Duration = Duration::from_secs(1);
/// How often somebody who listens learns that an app's files were changed.
const LOOK_AROUND: Duration = Duration::from_secs(2);
/// How many apps are looked at at once; how many of them may cost a child has a bound of its own.
const AT_ONCE: usize = 32;

impl Host {
    /// All apps with the engine's containers as they are known. One that is broken stays among them with its error.
    pub async fn apps_among(&self, containers: &[Container]) -> Result<Vec<App>, Error> {
        let found = self.apps.look().await?;
        let apps = self.apps_trusting(found.apps().cloned().collect(), containers, Trust::Recent).await?;
        Ok(apps.into_iter().map(|(app, _)| app).collect())
    }

    pub(super) async fn apps_trusting(
        &self,
        found: Vec<FoundApp>,
        containers: &[Container],
        trust: Trust,
    ) -> Result<Vec<(App, Vec<Call>)>, Error> {
        let look = |found: FoundApp| async move {
            match found.hangs {
                Some(hangs) => Ok((hanging(found.dir, hangs, containers), Vec::new())),
                None => self.look_at(found.dir, containers, trust).await,
            }
        };
        let apps = futures_util::stream::iter(found).map(look);
        apps.buffered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect()
    }

    /// All apps with what is known of their freshness, from memory: no registry is asked, and Compose only for projects
    /// of which nothing is known. With [`Trust::Known`] what may be out of date is renewed behind the answer.
    ///
    /// One look serves all who ask at the same time; it begins after they asked.
    pub async fn seen_apps(self: &Arc<Self>, trust: Trust) -> Result<Arc<Look>, Error> {
        self.looks.flights.run(Duration::ZERO, || self.look(trust)).await
    }

    async fn look(self: &Arc<Self>, trust: Trust) -> Result<Arc<Look>, Error> {
        let found = self.apps.look().await?;
        let snapshot = self.known_snapshot().await?;
        // Read before anything is made of it: what changes meanwhile makes the look out of date at once.
        let made_from = MadeFrom {
            snapshot: snapshot.serial,
            apps: found.version,
            projects: self.resolver.version(),
            freshness: self.service.freshness.version(),
            settings: self.looks.settings.load(Ordering::Acquire),
        };
        let last = self.last_look();
        if let Some(last) = last.as_ref().filter(|last| last.made_from == made_from && last.at.elapsed() < BELIEVED) {
            return Ok(last.clone());
        }
        let (at, made_at) = (Instant::now(), Timestamp::now());
        let dirs = found.apps().cloned().collect();
        let (apps, around) = tokio::try_join!(self.apps_trusting(dirs, &snapshot.containers, trust), self.around())?;
        let mut seen = Vec::with_capacity(apps.len());
        for ((app, asked), found) in apps.into_iter().zip(found.apps()) {
            if trust == Trust::Known {
                asked.into_iter().for_each(|call| self.renew_project(&app.dir, &found.files, call));
            }
            let status = self.status_of(&app, &snapshot.origins, &around.running, Ask::Nobody).await;
            seen.push(self.seen(app, status, &around));
        }
        let serial = last.map_or(0, |last| last.serial + 1);
        let look = Arc::new(Look { apps: seen, serial, made_at, snapshot, made_from, at });
        *self.looks.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(look.clone());
        self.write_projects().await;
        Ok(look)
    }

    /// The last look, however old.
    pub(super) fn last_look(&self) -> Option<Arc<Look>> {
        self.looks.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether nothing is known to have changed since a look, and it is younger than `age`; nobody is asked.
    pub(super) fn still_holds(&self, look: &Look, age: Duration) -> bool {
        let snapshot = self.inventory.undisturbed().is_some_and(|known| known.serial == look.made_from.snapshot);
        snapshot && self.service.freshness.version() == look.made_from.freshness && look.at.elapsed() < age
    }

    /// Something that lists show has changed here: a setting, or a job that has begun or ended.
    pub(super) fn changed(&self) {
        self.looks.settings.fetch_add(1, Ordering::AcqRel);
    }

    /// Looks at the apps now and then for as long as somebody listens to the events, and publishes when their files
    /// have changed.
    pub async fn watch_apps(self: Arc<Self>) {
        let watch = async {
            let mut before = None;
            loop {
                if self.service.events.is_heard() {
                    match self.seen_apps(Trust::Known).await {
                        Ok(look) if before.replace(look.outside()).is_some_and(|before| before != look.outside()) => {
                            self.tell_apps_changed();
                        }
                        Ok(_) => {}
                        Err(error) => tracing::debug!(%error, "the apps could not be looked at"),
                    }
                }
                tokio::time::sleep(LOOK_AROUND).await;
            }
        };
        tokio::select! {
            () = watch => {}
            () = self.service.stopping.cancelled() => {}
        }
    }

    /// One app with what is known of it, from the same look.
    pub async fn seen_app(self: &Arc<Self>, name: &str) -> Result<Arc<Look>, Error> {
        // One that was there last needs no look of its own: after it, those who ask at once would no longer share one.
        if !self.apps.was_seen(name) {
            self.apps.find(name).await?;
        }
        let look = self.seen_apps(Trust::Known).await?;
        match look.app(name) {
            Some(_) => Ok(look),
            None => Err(AppDirError::NoSuchApp(name.to_owned()).into()),
        }
    }

    /// One app as it is now.
    pub async fn app(&self, name: &str) -> Result<App, Error> {
        let dir = self.apps.find(name).await?;
        let containers = self.engine.containers().await?;
        Ok(self.look_at(dir, &containers, Trust::Recent).await?.0)
    }

    /// One app, and what was asked for to resolve it.
    async fn look_at(&self, dir: AppDir, all: &[Container], trust: Trust) -> Result<(App, Vec<Call>), Error> {
        let Reading { resolved, asked, .. } = self.resolve_call(&dir, all, trust).await?;
        let model = resolved.as_ref().clone();
        let containers = match &model {
            Ok(model) => containers_of(&model.project, all),
            Err(_) => of_directory(&dir, all).await,
        };
        let state = match &model {
            Ok(model) => state(&model.project, &containers),
            Err(_) => AppState::Broken,
        };
        let foreign = check_directory(&dir, &containers).await.err().map(|error| error.to_string());
        Ok((App { dir, state, model, containers, foreign }, asked))
    }
}

/// An app of which only the containers can be seen: those that were made at its very path.
fn hanging(dir: AppDir, hangs: Hangs, all: &[Container]) -> App {
    let is_own = |container: &&Container| {
        let labels = container.compose.as_ref();
        labels.and_then(|labels| labels.working_dir.as_deref()).is_some_and(|made_in| dir.path == Path::new(made_in))
    };
    let containers = all.iter().filter(is_own).cloned().collect();
    let error = Error::from(AppDirError::Hangs(hangs)).app(&dir.name);
    App { dir, state: AppState::Broken, model: Err(error), containers, foreign: None }
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
