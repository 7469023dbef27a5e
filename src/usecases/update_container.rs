//! The update of a standalone container: a new one beside the old, which goes only when the new one has proved itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::apply::KEEP;
use super::context::Restock;
use super::jobs::{Running, Ticket};
use super::prove::{Patience, prove_one};
use super::update_unit::UnitRestart;
use crate::adapters::compose::{Redactor, pull_problem};
use crate::adapters::engine::{Engine, EngineError, PullEvent};
use crate::adapters::store::{BadImage, container_owner};
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, ContainerState};
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::job::{Job, JobResult, Kind, OneOrMany, Outcome, ServiceChange, Step, Target};
use crate::domain::journal::ContainerJournal;
use crate::domain::plan::{SkipReason, Skipped, runs};
use crate::domain::proof::{Expectation, ExpectedImage};
use crate::domain::recreate::{ApiVersion, recipe};
use crate::error::{Attempt, Error, Kind as ErrorKind};

const IMAGE_LOCK_DEADLINE: Duration = Duration::from_secs(15 * 60);
/// What the engine gives a container that has no grace period of its own.
const DEFAULT_GRACE: u64 = 10;
/// How long the engine may take to remove a container that was started with `--rm`.
const REMOVAL: Duration = Duration::from_secs(30);

/// What the caller of a container's update can choose.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContainerOptions {
    /// Its image has just been pulled.
    pub pulled: bool,
    /// Leave a failed update as it is: the old container stays, stopped and under another name.
    pub no_rollback: bool,
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
        let target = Target::Container(container.name.clone());
        self.start_job(Kind::ContainerUpdate, target, move |running| async move {
            update(&running, &container, &inspected, &reference, options).await
        })
        .await
    }

    /// The app that a Compose container belongs to.
    pub fn app_of(&self, container: &Container) -> Result<String, Error> {
        let labels = container.compose.as_ref();
        let dir = labels.and_then(|labels| labels.working_dir.as_deref()).map(std::path::Path::new);
        let apps = self.apps.list()?;
        let found = apps.into_iter().find(|app| Some(app.path.as_path()) == dir);
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

fn refused(code: &'static str, message: String) -> Error {
    Error::new(ErrorKind::Conflict, code, message)
}

async fn update(
    running: &Running,
    container: &Container,
    inspected: &Value,
    reference: &str,
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
    let _lock = restock.locks.images(&[parsed.canonical()].into(), IMAGE_LOCK_DEADLINE).await?;
    if !options.pulled {
        running.step(Step::Pull).await?;
        pull(running, &parsed).await?;
    }
    running.step(Step::Plan).await?;
    let image = restock.engine.image(reference).await?;
    let image =
        image.ok_or_else(|| Error::new(ErrorKind::Upstream, "no_such_image", format!("{reference} is not here")))?;
    if runs(container, &image, None) {
        return Ok(report(running, Outcome::Unchanged, None, None, started));
    }
    if let Some(unit) = &container.unit {
        let restart = UnitRestart { unit, container, reference, rollback: !options.no_rollback };
        return restart.run(running, image, started).await;
    }
    let journal = plan(running, container, inspected, reference, &image.id, image.version).await?;
    running.handle.begin_touching()?;
    restock.store.write_journal(&running.handle.id, Step::Apply, &journal).await?;
    running.tell_step(Step::Apply);
    let change = change_of(&journal);
    match replace(running, &journal).await {
        Ok(()) => {
            if let Err(error) = restock.store.forget_bad(&container_owner(&journal.name), &change.service).await {
                tracing::error!(%error, "an image that works now is still remembered as bad");
            }
            let mut result = report(running, Outcome::Updated, Some(change), None, started);
            result.warnings = restock.left_behind(std::slice::from_ref(container)).await;
            Ok(result)
        }
        Err(reason) if options.no_rollback => Err(left_as_it_is(&journal, &reason, change)),
        Err(reason) => Err(give_up(running, &journal, &reason, change).await),
    }
}

/// Pulls an image, and tells its layers as they come.
pub(super) async fn pull(running: &Running, reference: &ImageReference) -> Result<(), Error> {
    let login = running.restock.freshness.registry().engine_login(reference).await;
    let mut last = (Instant::now(), String::new());
    let told = |event: PullEvent| {
        let key = format!("{:?} {}", event.layer, event.status);
        // Enough for a bar to move smoothly.
        if key == last.1 && last.0.elapsed() < Duration::from_millis(200) {
            return;
        }
        last = (Instant::now(), key);
        let mut data = json!({ "status": event.status, "image": reference.familiar() });
        if let Some(layer) = event.layer {
            data["layer"] = layer.into();
        }
        if let (Some(current), Some(total)) = (event.current, event.total) {
            (data["current"], data["total"]) = (current.into(), total.into());
            data["percent"] = (current.min(total) * 100 / total).into();
        }
        running.restock.events.tell(Some(&running.handle.id), "progress", data);
    };
    let pulled = tokio::select! {
        pulled = running.restock.engine.pull(reference, login, told) => pulled,
        () = running.handle.cancelled().cancelled() => {
            return Err(refused("cancelled", "the job was cancelled before anything was touched".into()));
        }
    };
    pulled.map_err(|error| match error {
        EngineError::Status { message, .. } => {
            let problem = pull_problem(&message);
            let error =
                Error::new(ErrorKind::Upstream, problem.code(), format!("the pull of {reference} failed: {message}"));
            error.hint(problem.hint())
        }
        other => other.into(),
    })
}

async fn plan(
    running: &Running,
    container: &Container,
    inspected: &Value,
    reference: &str,
    new_image: &ImageId,
    version_to: Option<String>,
) -> Result<ContainerJournal, Error> {
    let engine = &running.restock.engine;
    let old_image = engine.inspect_image(container.image_id.as_str()).await?.ok_or_else(|| {
        refused(
            "image_gone",
            format!("the image that {} was made from is gone, so what it gave cannot be told apart", container.name),
        )
        .hint("make the container again by hand")
    })?;
    let api = ApiVersion::parse(&engine.info().await?.api_version);
    let recipe = recipe(inspected, &old_image, reference, api);
    let suffix: String = running.handle.id.as_str().chars().rev().take(8).collect();
    Ok(ContainerJournal {
        old_id: container.id.clone(),
        name: container.name.clone(),
        fresh_name: format!("{}-new-{suffix}", container.name),
        parked_name: format!("{}-old-{suffix}", container.name),
        restart_policy: inspected["HostConfig"]["RestartPolicy"].clone(),
        running: container.state.is_up(),
        grace: inspected["Config"]["StopTimeout"].as_u64().unwrap_or(DEFAULT_GRACE),
        auto_remove: inspected["HostConfig"]["AutoRemove"] == true,
        reference: reference.to_owned(),
        old_image: container.image_id.clone(),
        new_image: new_image.clone(),
        version_from: old_image["Config"]["Labels"]["org.opencontainers.image.version"].as_str().map(str::to_owned),
        version_to,
        body: recipe.body,
        connect: recipe.connect,
    })
}

/// Create, check, swap, prove, remove: until the last step the old container is there.
async fn replace(running: &Running, journal: &ContainerJournal) -> Result<(), String> {
    let engine = &running.restock.engine;
    let text = |error: EngineError| error.to_string();
    let keep = format!("{KEEP}/container/{}", journal.name.to_ascii_lowercase());
    engine.tag(&journal.old_image, &keep, running.handle.id.as_str()).await.map_err(text)?;
    // The first thing that can fail for a reason of the new image's: the old one still runs.
    let fresh = engine.create(&journal.fresh_name, &journal.body).await.map_err(text)?;
    retire(engine, journal).await.map_err(text)?;
    engine.rename(&fresh, &journal.name).await.map_err(text)?;
    for (network, endpoint) in &journal.connect {
        engine.connect(network, &fresh, endpoint).await.map_err(text)?;
    }
    if journal.running {
        engine.start(&fresh).await.map_err(text)?;
    }
    prove(running, journal, &fresh, &journal.new_image).await?;
    engine.remove(&journal.old_id).await.map_err(text)
}

/// Stops the old container and puts it aside.
async fn retire(engine: &Engine, journal: &ContainerJournal) -> Result<(), EngineError> {
    if !journal.auto_remove {
        // Otherwise a restart of the engine would bring it back beside the new one.
        engine.set_restart_policy(&journal.old_id, &json!({ "Name": "no" })).await?;
    }
    engine.stop(&journal.old_id, Duration::from_secs(journal.grace)).await?;
    if !journal.auto_remove || !journal.running {
        return engine.rename(&journal.old_id, &journal.parked_name).await;
    }
    wait_until_gone(engine, &journal.old_id).await
}

/// Removes a container for good, also one that the engine is just removing by itself.
async fn dismiss(engine: &Engine, id: &str, journal: &ContainerJournal) -> Result<(), EngineError> {
    engine.stop(id, Duration::from_secs(journal.grace)).await?;
    match engine.remove(id).await {
        Err(EngineError::Status { status: 409, .. }) if journal.auto_remove => {}
        other => other?,
    }
    wait_until_gone(engine, id).await
}

async fn wait_until_gone(engine: &Engine, id: &str) -> Result<(), EngineError> {
    let until = Instant::now() + REMOVAL;
    while engine.vitals(id).await?.is_some() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn prove(running: &Running, journal: &ContainerJournal, id: &str, image: &ImageId) -> Result<(), String> {
    let limits = &running.restock.limits;
    let patience = Patience { health_timeout: limits.health_timeout, settle: limits.settle };
    let image = Some(ExpectedImage { id: image.clone(), manifest: None });
    let expected = Expectation { image, up: journal.running, completes: false };
    let name = ServiceName::new(journal.name.as_str());
    let proven = prove_one(&running.restock.engine, id, &name, &expected, patience).await;
    // A healthcheck may say more than it should.
    let redactor = Redactor::new(values_of_variables(&journal.body), &[&journal.name, &journal.reference]);
    proven.map_err(|unproven| format!("{} does not work: {}", journal.name, redactor.clean(&unproven.reason)))
}

/// What a person gave the container's variables.
fn values_of_variables(body: &Value) -> Vec<String> {
    let entries = body["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    entries.filter_map(|entry| Some(entry.split_once('=')?.1.to_owned())).collect()
}

fn left_as_it_is(journal: &ContainerJournal, reason: &str, change: ServiceChange) -> Error {
    let message = format!("the update of {} failed and was left as it is: {reason}", journal.name);
    let error = Error::new(ErrorKind::Internal, "update_failed", message).service(&journal.name);
    let error = error.hint(format!("the previous container is kept as {}", journal.parked_name));
    Error { attempt: Some(Attempt { outcome: Outcome::Failed, services: vec![change] }), ..error }
}

/// Remembers the new image as one that schedules leave alone.
pub(super) async fn remember_bad(running: &Running, change: &ServiceChange, image_id: &ImageId) -> Result<(), Error> {
    let restock = &running.restock;
    let image = restock.engine.image(image_id.as_str()).await?;
    let bad = BadImage {
        owner: container_owner(change.service.as_str()),
        service: change.service.clone(),
        reference: change.tag.clone(),
        image_id: image_id.clone(),
        digests: image.map(|image| image.repo_digests).unwrap_or_default(),
        job: running.handle.id.clone(),
        since: jiff::Timestamp::now(),
    };
    Ok(restock.store.remember_bad(&bad).await?)
}

async fn give_up(running: &Running, journal: &ContainerJournal, reason: &str, change: ServiceChange) -> Error {
    if let Err(error) = remember_bad(running, &change, &journal.new_image).await {
        tracing::error!(%error, "the bad image could not be remembered; a schedule may try it again");
    }
    running.warn(&format!("the update failed, the previous container is brought back: {reason}"));
    if let Err(error) = running.step(Step::RollBack).await {
        tracing::error!(%error, "the step could not be written down; the rollback goes on");
    }
    let name = &journal.name;
    let (outcome, code, message) = match take_back(running, journal).await {
        Ok(()) => {
            (Outcome::RolledBack, "rolled_back", format!("the update of {name} failed and was taken back: {reason}"))
        }
        Err(second) => {
            let message = format!("the update of {name} failed ({reason}), and so did taking it back: {second}");
            (Outcome::Failed, "rollback_failed", message)
        }
    };
    let error = Error::new(ErrorKind::Internal, code, message).service(name);
    Error { attempt: Some(Attempt { outcome, services: vec![change] }), ..error }
}

/// Brings the old container back, from wherever the replacement got to.
async fn take_back(running: &Running, journal: &ContainerJournal) -> Result<(), String> {
    let engine = &running.restock.engine;
    let text = |error: EngineError| error.to_string();
    for container in engine.containers().await.map_err(text)? {
        let ours = [&journal.fresh_name, &journal.name].contains(&&container.name);
        if ours && container.id != journal.old_id {
            dismiss(engine, &container.id, journal).await.map_err(text)?;
        }
    }
    let old = engine.inspect(&journal.old_id).await;
    let id = match old {
        Ok(old) => {
            if old["Name"].as_str().map(|name| name.trim_start_matches('/')) != Some(journal.name.as_str()) {
                engine.rename(&journal.old_id, &journal.name).await.map_err(text)?;
            }
            if !journal.auto_remove {
                engine.set_restart_policy(&journal.old_id, &journal.restart_policy).await.map_err(text)?;
            }
            journal.old_id.clone()
        }
        Err(error) if error.is_not_found() => {
            super::apply::retag(engine, &journal.old_image, &journal.reference).await?;
            let id = engine.create(&journal.name, &journal.body).await.map_err(text)?;
            for (network, endpoint) in &journal.connect {
                engine.connect(network, &id, endpoint).await.map_err(text)?;
            }
            id
        }
        Err(error) => return Err(error.to_string()),
    };
    if journal.running {
        engine.start(&id).await.map_err(text)?;
    }
    prove(running, journal, &id, &journal.old_image).await
}

/// Finishes or takes back the replacement that a process left in the middle.
pub(super) async fn settle_container(
    running: &Running,
    was: &Job,
    journal: &ContainerJournal,
) -> Result<JobResult, Error> {
    let started = Instant::now();
    let engine = &running.restock.engine;
    let containers = engine.containers().await?;
    let fresh = containers.iter().find(|container| container.name == journal.name && container.id != journal.old_id);
    if let Some(fresh) =
        fresh.filter(|fresh| was.step != Some(Step::RollBack) && fresh.state.is_up() == journal.running)
        && prove(running, journal, &fresh.id, &journal.new_image).await.is_ok()
    {
        engine.remove(&journal.old_id).await?;
        let mut result = report(running, Outcome::Interrupted, Some(change_of(journal)), None, started);
        result.warnings.push("the process ended in the middle of this job; what was begun has been finished".into());
        return Ok(result);
    }
    if let Err(reason) = take_back(running, journal).await {
        let message = format!("the interrupted update of {} could not be taken back: {reason}", journal.name);
        return Err(Error::new(ErrorKind::Internal, "rollback_failed", message));
    }
    let mut result = report(running, Outcome::Interrupted, None, None, started);
    result.warnings.push("the process ended in the middle of this job; what was begun has been taken back".into());
    Ok(result)
}

fn change_of(journal: &ContainerJournal) -> ServiceChange {
    ServiceChange {
        service: ServiceName::new(journal.name.as_str()),
        from: OneOrMany::One(journal.old_image.clone()),
        to: journal.new_image.to_string(),
        tag: journal.reference.clone(),
        version_from: journal.version_from.clone(),
        version_to: journal.version_to.clone(),
        source: None,
    }
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
