//! The replacement of a standalone container by one from another image: create, check, swap, prove, remove.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::apply::{keep_name_of_container, retag};
use super::ending::{Ended, Later, unsettled};
use super::evidence::evidence_of;
use super::jobs::Running;
use super::prove::prove_standalone;
use super::update_container::{Follow, refused};
use crate::adapters::engine::{Engine, EngineError};
use crate::adapters::store::container_owner;
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, ContainerState, LocalImage};
use crate::domain::image::ImageReference;
use crate::domain::job::{Job, JobResult, OneOrMany, ServiceChange, Step};
use crate::domain::journal::ContainerJournal;
use crate::domain::recreate::{ApiVersion, recipe};
use crate::error::{Error, Kind};

/// What the engine gives a container that has no grace period of its own, in seconds.
const DEFAULT_GRACE: u64 = 10;
/// How long the engine may take to remove a container that was started with `--rm`.
const REMOVAL: Duration = Duration::from_secs(30);

/// What is about to be done with a container, and the body that makes the new one.
pub(super) async fn plan(
    running: &Running,
    container: &Container,
    reference: &str,
    new_image: &LocalImage,
    follows: Option<&Follow>,
) -> Result<(ContainerJournal, Value), Error> {
    let engine = &running.restock.engine;
    let mut inspected = engine.inspect(&container.id).await?;
    if let Some(follow) = follows {
        follow.rewrite(&mut inspected);
    }
    let old_image = engine.inspect_image(container.image_id.as_str()).await?.ok_or_else(|| {
        refused(
            "image_gone",
            format!("the image that {} was made from is gone, so what it gave cannot be told apart", container.name),
        )
        .hint("make the container again by hand")
    })?;
    let api = ApiVersion::parse(&engine.info().await?.api_version);
    let recipe = recipe(&inspected, &old_image, reference, api);
    let suffix: String = running.handle.id.as_str().chars().rev().take(8).collect();
    let auto_remove = inspected["HostConfig"]["AutoRemove"] == true;
    let journal = ContainerJournal {
        old_id: container.id.clone(),
        name: container.name.clone(),
        fresh_name: format!("{}-new-{suffix}", container.name),
        fresh_id: None,
        parked_name: format!("{}-old-{suffix}", container.name),
        restart_policy: inspected["HostConfig"]["RestartPolicy"].clone(),
        running: container.state.is_up(),
        grace: inspected["Config"]["StopTimeout"].as_u64().unwrap_or(DEFAULT_GRACE),
        auto_remove,
        reference: reference.to_owned(),
        old_image: container.image_id.clone(),
        new_image: new_image.id.clone(),
        version_from: old_image["Config"]["Labels"]["org.opencontainers.image.version"].as_str().map(str::to_owned),
        version_to: new_image.version.clone(),
        body: auto_remove.then(|| recipe.body.clone()),
        connect: recipe.connect,
    };
    Ok((journal, recipe.body))
}

/// Until the last step the old container is there. A sentence when it could not be removed at the end.
pub(super) async fn replace(
    running: &Running,
    journal: &mut ContainerJournal,
    body: &Value,
) -> Result<Option<String>, String> {
    let engine = &running.restock.engine;
    let text = |error: EngineError| error.to_string();
    let keep = keep_name_of_container(&journal.name);
    engine.tag(&journal.old_image, &keep, running.handle.id.as_str()).await.map_err(text)?;
    // The first thing that can fail for a reason of the new image's: the old one still runs.
    let fresh = engine.create(&journal.fresh_name, body).await.map_err(text)?;
    know(running, journal, Step::Apply, &fresh).await?;
    retire(engine, journal).await.map_err(text)?;
    engine.rename(&fresh, &journal.name).await.map_err(text)?;
    for (network, endpoint) in &journal.connect {
        engine.connect(network, &fresh, endpoint).await.map_err(text)?;
    }
    if journal.running {
        engine.start(&fresh).await.map_err(text)?;
    }
    prove_standalone(running, &fresh, &journal.name, &journal.new_image, journal.running).await?;
    Ok(remove_old(running, journal).await)
}

/// Removes the old container. The new one has proved itself, and goes on whatever becomes of this.
async fn remove_old(running: &Running, journal: &ContainerJournal) -> Option<String> {
    let error = running.restock.engine.remove(&journal.old_id).await.err()?;
    let warning = format!("the former container could not be removed, remove {} by hand: {error}", journal.parked_name);
    running.warn(&warning);
    Some(warning)
}

/// Writes down which container this job has made: only those are ever removed by it.
async fn know(running: &Running, journal: &mut ContainerJournal, step: Step, id: &str) -> Result<(), String> {
    journal.fresh_id = Some(id.to_owned());
    let written = running.restock.store.write_journal(&running.handle.id, step, &*journal).await;
    written.map_err(|error| error.to_string())
}

/// Whether this job has made the container.
fn is_ours(container: &Container, journal: &ContainerJournal) -> bool {
    let named = [&journal.fresh_name, &journal.parked_name].contains(&&container.name);
    container.id != journal.old_id && (named || journal.fresh_id.as_ref() == Some(&container.id))
}

/// Stops the old container and puts it aside.
async fn retire(engine: &Engine, journal: &ContainerJournal) -> Result<(), EngineError> {
    if !journal.auto_remove {
        // Otherwise a restart of the engine would bring it back beside the new one.
        engine.set_restart_policy(&journal.old_id, &serde_json::json!({ "Name": "no" })).await?;
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

/// Takes a failed replacement back where that is wanted, and says how it ended.
pub(super) async fn give_up(running: &Running, journal: &mut ContainerJournal, reason: &str, rollback: bool) -> Error {
    if running.restock.engine.info().await.is_err() {
        return unsettled(&journal.name, Later::EngineGone).service(&journal.name);
    }
    let containers = match &journal.fresh_id {
        Some(fresh) => evidence_of(&running.restock.engine, fresh, &journal.name).await,
        None => Vec::new(),
    };
    remember_bad(running, journal).await;
    let changes = vec![change_of(journal)];
    let error = if rollback {
        running.warn(&format!("the update failed, the previous container is brought back: {reason}"));
        running.begin_rollback().await;
        let ended = take_back(running, journal).await.map_or_else(Ended::Lost, |()| Ended::TakenBack);
        ended.error(&journal.name, reason, changes)
    } else {
        let error = Ended::LeftAsItIs.error(&journal.name, reason, changes);
        error.hint(format!("the previous container is kept as {}", journal.parked_name))
    };
    error.service(&journal.name).containers(containers)
}

async fn remember_bad(running: &Running, journal: &ContainerJournal) {
    let image = running.restock.engine.image(journal.new_image.as_str()).await.ok().flatten();
    let digests = image.map(|image| image.repo_digests).unwrap_or_default();
    let (owner, service) = (container_owner(&journal.name), ServiceName::new(journal.name.as_str()));
    running.remember_bad(&owner, &service, &journal.reference, &journal.new_image, digests).await;
}

/// Brings the old container back, from wherever the replacement got to.
async fn take_back(running: &Running, journal: &mut ContainerJournal) -> Result<(), String> {
    let engine = &running.restock.engine;
    let text = |error: EngineError| error.to_string();
    for container in engine.containers().await.map_err(text)? {
        if is_ours(&container, journal) {
            dismiss(engine, &container.id, journal).await.map_err(text)?;
        }
    }
    let moved_back = retag(&running.restock, &journal.old_image, &journal.reference).await;
    let id = match engine.inspect(&journal.old_id).await {
        Ok(old) => {
            if let Err(reason) = moved_back {
                tracing::error!(image = journal.reference, reason, "it still means the image that does not work");
            }
            if old["Name"].as_str().map(|name| name.trim_start_matches('/')) != Some(journal.name.as_str()) {
                engine.rename(&journal.old_id, &journal.name).await.map_err(text)?;
            }
            if !journal.auto_remove {
                engine.set_restart_policy(&journal.old_id, &journal.restart_policy).await.map_err(text)?;
            }
            journal.old_id.clone()
        }
        Err(error) if error.is_not_found() => {
            moved_back?;
            make_old_again(running, journal).await?
        }
        Err(error) => return Err(error.to_string()),
    };
    if journal.running {
        engine.start(&id).await.map_err(text)?;
    }
    prove_standalone(running, &id, &journal.name, &journal.old_image, journal.running).await?;
    running.restock.reattach(&id).await;
    Ok(())
}

/// The engine has removed the old container, which had been started with `--rm`: another is made from the old image.
async fn make_old_again(running: &Running, journal: &mut ContainerJournal) -> Result<String, String> {
    let engine = &running.restock.engine;
    let text = |error: EngineError| error.to_string();
    let body = journal.body.as_ref().ok_or("how it was made has not been written down")?;
    let id = engine.create(&journal.parked_name, body).await.map_err(text)?;
    know(running, journal, Step::RollBack, &id).await?;
    engine.rename(&id, &journal.name).await.map_err(text)?;
    for (network, endpoint) in &journal.connect {
        engine.connect(network, &id, endpoint).await.map_err(text)?;
    }
    Ok(id)
}

/// Finishes or takes back the replacement that a process left in the middle.
pub(super) async fn settle_container(
    running: &Running,
    was: &Job,
    journal: &mut ContainerJournal,
) -> Result<JobResult, Error> {
    let started = Instant::now();
    let restock = &running.restock;
    let reference = journal.reference.parse::<ImageReference>();
    let reference = reference.map_or_else(|_| journal.reference.clone(), |reference| reference.canonical());
    let lock = running.image_locks(&[reference].into()).await?;
    let containers = restock.engine.containers().await?;
    let fresh = containers.iter().find(|container| container.name == journal.name && is_ours(container, journal));
    if let Some(fresh) =
        fresh.filter(|fresh| was.step != Some(Step::RollBack) && fresh.state.is_up() == journal.running)
        && prove_standalone(running, &fresh.id, &journal.name, &journal.new_image, journal.running).await.is_ok()
    {
        let mut result = running.interrupted(vec![change_of(journal)], "what was begun has been finished", started);
        result.warnings.extend(remove_old(running, journal).await);
        drop(lock);
        let old = [(journal.old_id.clone(), journal.name.clone())];
        result.warnings.extend(restock.take_along(old.into()).await);
        return Ok(result);
    }
    // One that never ran has not been tried.
    if fresh.is_some_and(|fresh| fresh.state != ContainerState::Created) {
        remember_bad(running, journal).await;
    }
    running.begin_rollback().await;
    match take_back(running, journal).await {
        Ok(()) => Ok(running.interrupted(Vec::new(), "what was begun has been taken back", started)),
        Err(reason) => {
            let message = format!("the interrupted update of `{}` could not be taken back: {reason}", journal.name);
            Err(Error::new(Kind::Internal, "rollback_failed", message).service(&journal.name))
        }
    }
}

/// What the journal changes, as the API tells it.
pub(super) fn change_of(journal: &ContainerJournal) -> ServiceChange {
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
