//! The update of a standalone container: a new one beside the old, which goes only when the new one has proved itself.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::attempt::{Work, run};
use super::context::Host;
use super::jobs::{Running, Ticket};
use super::platform::foreign_platform;
use super::pull::pull;
use super::recipe::{grace_of, recipe_of};
use super::resolve::of_directory;
use crate::domain::app::ServiceName;
use crate::domain::attempt::slot::Slot;
use crate::domain::attempt::{Attempt, Fact, Intent, Reference, Stage, Unit};
use crate::domain::container::{Container, ContainerState, LocalImage};
use crate::domain::group::find_container;
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::job::{JobResult, Kind, Outcome, Step};
use crate::domain::label;
use crate::domain::plan::{Change, SkipReason, Skipped, runs};
use crate::domain::project::AppSettings;
use crate::domain::recreate::join_replacement;
use crate::error::{Code, Error};

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

impl Host {
    /// Starts the update of a container: of a Compose container through its app, of a standalone one by itself.
    pub async fn start_container_update(
        self: &Arc<Self>,
        text: &str,
        options: ContainerOptions,
    ) -> Result<Ticket, Error> {
        let (container, snapshot) = self.container(text).await?;
        if container.compose.is_some() {
            return self.start_update(&self.app_of(&container).await?, Default::default()).await;
        }
        let inspected = self.engine.inspect(&container.id).await?;
        self.check_standalone(&container, &inspected)?;
        let reference = snapshot.references[&container.id].clone();
        let platform = foreign_platform(&self.engine, &inspected).await?;
        let target = self.container_target(&container);
        self.start_job(Kind::ContainerUpdate, target, move |running| async move {
            update(&running, container, &reference, platform, options).await
        })
        .await
    }

    /// The app that a Compose container belongs to.
    pub async fn app_of(&self, container: &Container) -> Result<String, Error> {
        for app in self.apps.list().await? {
            if !of_directory(&app, std::slice::from_ref(container)).await.is_empty() {
                return Ok(app.name.to_string());
            }
        }
        let project = container.compose.as_ref().map(|labels| labels.project.to_string()).unwrap_or_default();
        let message = format!("{} belongs to the Compose project `{project}`, which is no app here", container.name);
        Err(refused(Code::ForeignProject, message)
            .hint("move the project's directory into the apps directory, or update it with `docker compose`"))
    }

    fn check_standalone(&self, container: &Container, inspected: &Value) -> Result<(), Error> {
        let labels = &inspected["Config"]["Labels"];
        let name = &container.name;
        if self.is_self(container) {
            return Err(refused(
                Code::ContainsRestock,
                format!("{name} is Restock itself, which cannot replace itself"),
            ));
        }
        if !labels["com.docker.swarm.service.id"].is_null() {
            return Err(refused(Code::Swarm, format!("{name} is a task of a Swarm service"))
                .hint("use `docker service update`"));
        }
        if let Some(unit) = container.unit.as_ref().filter(|_| !container.state.is_up()) {
            return Err(refused(
                Code::NotRunning,
                format!("{name} is run by the systemd unit {unit}, and does not run"),
            )
            .hint(format!("systemctl start {unit}")));
        }
        if container.state == ContainerState::Paused {
            return Err(
                refused(Code::Paused, format!("container {name} is paused")).hint(format!("docker unpause {name}"))
            );
        }
        Ok(())
    }
}

pub(super) fn refused(code: Code, message: String) -> Error {
    Error::new(code, message)
}

async fn update(
    running: &Running,
    container: Container,
    reference: &str,
    platform: Option<String>,
    options: ContainerOptions,
) -> Result<JobResult, Error> {
    let guarded = running.guard([&container]).await?;
    let ended = fetch_and_apply(running, container, reference, platform, options).await?;
    running.release(guarded).await;
    Ok(ended)
}

async fn fetch_and_apply(
    running: &Running,
    container: Container,
    reference: &str,
    platform: Option<String>,
    options: ContainerOptions,
) -> Result<JobResult, Error> {
    let started = Instant::now();
    let host = &running.host;
    let skip = |reason| unchanged(running, Some((&container.name, reason)), started);
    let parsed = match reference.parse::<ImageReference>() {
        Ok(parsed) if parsed.digest().is_some() => return Ok(skip(SkipReason::Pinned)),
        Ok(parsed) => parsed,
        Err(_) => return Ok(skip(SkipReason::ImageId)),
    };
    let lock = running.image_locks(&[parsed.canonical()].into()).await?;
    let own = host.snapshot().await?.origins.followed(reference).is_err();
    let is_here = match &options.pull {
        // What was made here is in no registry.
        Pull::Always => own,
        // Whoever pulled it has pulled the image for the engine's own platform.
        Pull::UnlessItIs(_) if platform.is_some() => false,
        Pull::UnlessItIs(id) => host.engine.image(reference).await?.is_some_and(|image| image.id == *id),
        Pull::Never => true,
    };
    if !is_here {
        running.step(Step::Pull).await?;
        pull(running, &parsed, platform.as_deref(), container.authfile.as_deref()).await?;
    }
    running.step(Step::Plan).await?;
    let container = as_it_is_now(running, &container, reference).await?;
    let image = host.engine.image(reference).await?;
    host.service.freshness.learn_pulled(&[(reference.to_owned(), image.clone())].into());
    let image = image.ok_or_else(|| Error::new(Code::NoSuchImage, format!("{reference} is not here")))?;
    let brought_back = options.pull == Pull::Never && host.is_moved_back(&parsed, &image).await?;
    match (&options.follows, runs(&container, &image, platform.as_deref())) {
        (None, false) if brought_back => return Ok(skip(SkipReason::MovedBack)),
        (None, true) if own => return Ok(skip(SkipReason::Local)),
        (None, true) => return Ok(unchanged(running, None, started)),
        (Some(_), false) => {
            let message = format!("{} would get another image as well, because {reference} has moved", container.name);
            return Err(refused(Code::ImageMoved, message).hint("update it by itself"));
        }
        (None, false) | (Some(_), true) => {}
    }
    let plan = plan(running, &container, reference, platform, image, &options).await?;
    let attempt = Attempt {
        job: running.handle.id.clone(),
        intent: if options.follows.is_some() { Intent::Follow } else { Intent::Update },
        facts: plan.facts,
        take_back: !options.no_rollback,
        stage: Stage::Forward,
        exposed: false,
        deaths: 0,
    };
    let mut work = Work::new(running, attempt, None, host.service.limits.patience(&AppSettings::default()));
    (work.recipe, work.locks, work.warnings) = (plan.body, Some(lock), plan.warnings);
    work.begin().await?;
    run(work).await
}

/// What is about to be done with a container.
struct Plan {
    facts: Vec<Fact>,
    /// What makes the new container; a unit makes its own.
    body: Option<Value>,
    /// What will not be as before.
    warnings: Vec<String>,
}

async fn plan(
    running: &Running,
    container: &Container,
    reference: &str,
    platform: Option<String>,
    new: LocalImage,
    options: &ContainerOptions,
) -> Result<Plan, Error> {
    let engine = &running.host.engine;
    let mut inspected = engine.inspect(&container.id).await?;
    let own_platform = &inspected["ImageManifestDescriptor"]["platform"];
    let old_image = engine.inspect_image_for(container.image_id.as_str(), own_platform).await?;
    let version = |image: &Value| image["Config"]["Labels"][label::VERSION].as_str().and_then(label::version);
    let mut facts = vec![Fact::Reference(Reference {
        version_from: old_image.as_ref().and_then(version),
        from_digests: Vec::new(),
        change: Change {
            service: ServiceName::new(container.name.as_str()),
            from: vec![container.image_id.clone()],
            to: new.id.clone(),
            to_manifest: None,
            reference: reference.to_owned(),
            version_to: new.version,
            source: new.source,
            to_digests: new.repo_digests,
        },
    })];
    if let Some(unit) = &container.unit {
        facts.push(Fact::Unit(Unit {
            unit: unit.clone(),
            name: container.name.clone(),
            old: container.image_id.clone(),
            new: new.id,
            replica: container.id.clone(),
        }));
        return Ok(Plan { facts, body: None, warnings: Vec::new() });
    }
    let old_image = old_image.ok_or_else(|| {
        let name = &container.name;
        let message = format!("the image that {name} was made from is gone, so what it gave cannot be told apart");
        refused(Code::ImageGone, message).hint("make the container again by hand")
    })?;
    let follows = options.follows.as_ref().map(|follow| (follow.old_id.clone(), follow.new_id.clone()));
    if let Some((old, new)) = &follows {
        join_replacement(&mut inspected, old, new);
    }
    let mut warnings = running.host.bound_to(container).await;
    let recipe = recipe_of(engine, &inspected, &old_image, reference).await?;
    warnings.extend(recipe.warnings);
    facts.push(Fact::Slot(Box::new(Slot {
        name: container.name.clone(),
        suffix: running.handle.id.as_str().chars().rev().take(8).collect(),
        old_id: container.id.clone(),
        made_old: None,
        made_new: None,
        old_image: container.image_id.clone(),
        new_image: new.id,
        running: container.state.is_up(),
        auto_remove: inspected["HostConfig"]["AutoRemove"] == true,
        restart_policy: inspected["HostConfig"]["RestartPolicy"].clone(),
        grace: grace_of(&inspected),
        platform,
        connect: recipe.connect,
        follows,
    })));
    Ok(Plan { facts, body: Some(recipe.body), warnings })
}

/// The container after all the waiting: somebody may have stopped it, or made it anew under its name.
async fn as_it_is_now(running: &Running, container: &Container, reference: &str) -> Result<Container, Error> {
    let host = &running.host;
    let containers = host.engine.containers().await?;
    let found = containers.iter().find(|found| found.id == container.id);
    let found = found
        .or_else(|| find_container(&containers, &container.name))
        .ok_or_else(|| refused(Code::ChangedMeanwhile, format!("{} has been removed meanwhile", container.name)))?;
    let inspected = host.engine.inspect(&found.id).await?;
    host.check_standalone(found, &inspected)?;
    let same = found.id == container.id || inspected["Config"]["Image"] == reference;
    if found.compose.is_some() || !same {
        let message = format!("{} has been made anew meanwhile, from something else", container.name);
        return Err(refused(Code::ChangedMeanwhile, message).hint("ask again"));
    }
    Ok(found.clone())
}

/// The answer about a container that is left as it is.
fn unchanged(running: &Running, skipped: Option<(&String, SkipReason)>, started: Instant) -> JobResult {
    let skip = |(name, reason): (&String, SkipReason)| Skipped { service: ServiceName::new(name.as_str()), reason };
    JobResult {
        skipped: skipped.map(skip).into_iter().collect(),
        ..JobResult::of(running.handle.id.clone(), Outcome::Unchanged, started.elapsed())
    }
}
