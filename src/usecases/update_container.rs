//! The update of a standalone container: a new one beside the old, which goes only when the new one has proved itself.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::context::Restock;
use super::jobs::{Running, Ticket};
use super::left_behind::names_by_id;
use super::platform::foreign_platform;
use super::pull::pull;
use super::put_back::give_up;
use super::replace::{Planned, change_of, plan, replace};
use super::resolve::is_of_directory;
use super::update_unit::UnitRestart;
use crate::adapters::store::container_owner;
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, ContainerState};
use crate::domain::group::find_container;
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::job::{JobResult, Kind, Outcome, ServiceChange, Step, Target};
use crate::domain::plan::{SkipReason, Skipped, runs};
use crate::error::{Error, Kind as ErrorKind};

/// What the caller of a container's update can choose.
#[derive(Debug, Clone, Default)]
pub struct ContainerOptions {
    pub pull: Pull,
    /// Leave a failed update as it is: the old container stays, stopped and under another name.
    pub no_rollback: bool,
    /// Make it again also when its image is the same, because another container was.
    pub follows: Option<Follow>,
}

/// Whether an image is pulled before a container is compared with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pull {
    #[default]
    Always,
    /// It has just been pulled, and was this one; it is pulled again if the reference has been moved since, as by the
    /// rollback of another container.
    UnlessItIs(ImageId),
    /// What is here counts.
    Never,
}

/// A container whose namespaces others live in, and the one that has taken its place.
#[derive(Debug, Clone)]
pub struct Follow {
    pub old_id: String,
    pub new_id: String,
}

impl Follow {
    /// Lets an inspected container live in the new one.
    pub(super) fn rewrite(&self, inspected: &mut Value) {
        for key in ["NetworkMode", "PidMode", "IpcMode"] {
            let mode = &mut inspected["HostConfig"][key];
            if mode.as_str().and_then(|mode| mode.strip_prefix("container:")) == Some(self.old_id.as_str()) {
                *mode = format!("container:{}", self.new_id).into();
            }
        }
    }
}

impl Restock {
    /// Starts the update of a container: of a Compose container through its app, of a standalone one by itself.
    pub async fn start_container_update(
        self: &Arc<Self>,
        text: &str,
        options: ContainerOptions,
    ) -> Result<Ticket, Error> {
        let (container, snapshot) = self.container(text).await?;
        if container.compose.is_some() {
            return self.start_update(&self.app_of(&container)?, Default::default()).await;
        }
        let inspected = self.engine.inspect(&container.id).await?;
        self.check_standalone(&container, &inspected)?;
        let reference = snapshot.references[&container.id].clone();
        let platform = foreign_platform(&self.engine, &inspected).await?;
        let target = Target::Container(container.name.clone());
        self.start_job(Kind::ContainerUpdate, target, move |running| async move {
            update(&running, container, &reference, platform.as_deref(), options).await
        })
        .await
    }

    /// The app that a Compose container belongs to.
    pub fn app_of(&self, container: &Container) -> Result<String, Error> {
        let labels = container.compose.as_ref();
        let found = self.apps.list()?.into_iter().find(|app| is_of_directory(app, container));
        found.map(|app| app.name.to_string()).ok_or_else(|| {
            let project = labels.map(|labels| labels.project.to_string()).unwrap_or_default();
            refused(
                "foreign_project",
                format!("{} belongs to the Compose project `{project}`, which is no app here", container.name),
            )
            .hint("move the project's directory into the apps directory, or update it with `docker compose`")
        })
    }

    fn check_standalone(&self, container: &Container, inspected: &Value) -> Result<(), Error> {
        let labels = &inspected["Config"]["Labels"];
        let name = &container.name;
        if self.is_self(container) {
            return Err(refused("contains_restock", format!("{name} is Restock itself, which cannot replace itself")));
        }
        if !labels["com.docker.swarm.service.id"].is_null() {
            return Err(
                refused("swarm", format!("{name} is a task of a Swarm service")).hint("use `docker service update`")
            );
        }
        if let Some(unit) = container.unit.as_ref().filter(|_| !container.state.is_up()) {
            return Err(refused("not_running", format!("{name} is run by the systemd unit {unit}, and does not run"))
                .hint(format!("systemctl start {unit}")));
        }
        if container.state == ContainerState::Paused {
            return Err(refused("paused", format!("container {name} is paused")).hint(format!("docker unpause {name}")));
        }
        Ok(())
    }
}

pub(super) fn refused(code: &'static str, message: String) -> Error {
    Error::new(ErrorKind::Conflict, code, message)
}

async fn update(
    running: &Running,
    container: Container,
    reference: &str,
    platform: Option<&str>,
    options: ContainerOptions,
) -> Result<JobResult, Error> {
    let started = Instant::now();
    let restock = &running.restock;
    let skip = |reason| report(running, Outcome::Unchanged, None, Some((&container.name, reason)), started);
    let parsed = match reference.parse::<ImageReference>() {
        Ok(parsed) if parsed.digest().is_some() => return Ok(skip(SkipReason::Pinned)),
        Ok(parsed) => parsed,
        Err(_) => return Ok(skip(SkipReason::ImageId)),
    };
    let lock = running.image_locks(&[parsed.canonical()].into()).await?;
    let is_here = match &options.pull {
        Pull::Always => false,
        // Whoever pulled it has pulled the image for the engine's own platform.
        Pull::UnlessItIs(_) if platform.is_some() => false,
        Pull::UnlessItIs(id) => restock.engine.image(reference).await?.is_some_and(|image| image.id == *id),
        Pull::Never => true,
    };
    if !is_here {
        running.step(Step::Pull).await?;
        pull(running, &parsed, platform, container.authfile.as_deref()).await?;
    }
    running.step(Step::Plan).await?;
    let container = as_it_is_now(running, &container, reference).await?;
    let image = restock.engine.image(reference).await?;
    restock.freshness.learn_pulled(&[(reference.to_owned(), image.clone())].into());
    let image =
        image.ok_or_else(|| Error::new(ErrorKind::Upstream, "no_such_image", format!("{reference} is not here")))?;
    let brought_back = options.pull == Pull::Never && restock.is_moved_back(&parsed, &image).await?;
    match (&options.follows, runs(&container, &image, platform)) {
        (None, false) if brought_back => return Ok(skip(SkipReason::MovedBack)),
        (None, true) => return Ok(report(running, Outcome::Unchanged, None, None, started)),
        (Some(_), false) => {
            let message = format!("{} would get another image as well, because {reference} has moved", container.name);
            return Err(refused("image_moved", message).hint("update it by itself"));
        }
        (None, false) | (Some(_), true) => {}
    }
    if let Some(unit) = &container.unit {
        let restart = UnitRestart { unit, container: &container, reference, rollback: !options.no_rollback };
        return restart.run(running, image, started).await;
    }
    let planned = plan(running, &container, reference, platform, &image, options.follows.as_ref()).await?;
    let Planned { mut journal, body, mut warnings } = planned;
    warnings.extend(restock.bound_to(&container).await);
    running.handle.begin_touching()?;
    restock.store.write_journal(&running.handle.id, Step::Apply, &journal).await?;
    running.tell_step(Step::Apply);
    let change = change_of(&journal);
    match replace(running, &mut journal, &body).await {
        Ok(warning) => {
            restock.forget_bad(&container_owner(&journal.name), &change.service).await;
            // Those who shared its network may need the same image.
            drop(lock);
            let mut result = report(running, Outcome::Updated, Some(change), None, started);
            warnings.iter().for_each(|warning| running.warn(warning));
            result.warnings.extend(warnings);
            result.warnings.extend(warning);
            result.warnings.extend(restock.take_along(names_by_id([&container])).await);
            Ok(result)
        }
        Err(reason) => Err(give_up(running, &mut journal, &reason, !options.no_rollback).await),
    }
}

/// The container after all the waiting: somebody may have stopped it, or made it anew under its name.
async fn as_it_is_now(running: &Running, container: &Container, reference: &str) -> Result<Container, Error> {
    let restock = &running.restock;
    let containers = restock.engine.containers().await?;
    let found = containers.iter().find(|found| found.id == container.id);
    let found = found
        .or_else(|| find_container(&containers, &container.name))
        .ok_or_else(|| refused("changed_meanwhile", format!("{} has been removed meanwhile", container.name)))?;
    let inspected = restock.engine.inspect(&found.id).await?;
    restock.check_standalone(found, &inspected)?;
    let same = found.id == container.id || inspected["Config"]["Image"] == reference;
    if found.compose.is_some() || !same {
        let message = format!("{} has been made anew meanwhile, from something else", container.name);
        return Err(refused("changed_meanwhile", message).hint("ask again"));
    }
    Ok(found.clone())
}

pub(super) fn report(
    running: &Running,
    outcome: Outcome,
    change: Option<ServiceChange>,
    skipped: Option<(&String, SkipReason)>,
    started: Instant,
) -> JobResult {
    let skip = |(name, reason): (&String, SkipReason)| Skipped { service: ServiceName::new(name.as_str()), reason };
    JobResult {
        updated: change.is_some(),
        services: change.into_iter().collect(),
        skipped: skipped.map(skip).into_iter().collect(),
        ..JobResult::of(running.handle.id.clone(), outcome, started.elapsed())
    }
}
