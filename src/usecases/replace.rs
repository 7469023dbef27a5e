//! The replacement of a standalone container by one from another image: create, check, swap, prove, remove.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::apply::keep_name_of_container;
use super::jobs::Running;
use super::prove::prove_standalone;
use super::update_container::{Follow, refused};
use crate::adapters::engine::{Engine, EngineError};
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, LocalImage};
use crate::domain::job::{OneOrMany, ServiceChange, Step};
use crate::domain::journal::ContainerJournal;
use crate::domain::recreate::{ApiVersion, MANY_NETWORKS, Mac, Surroundings, recipe};
use crate::error::Error;

/// What the engine gives a container that has no grace period of its own, in seconds.
const DEFAULT_GRACE: i64 = 10;
/// How long a container is waited for that may take as long as it likes to stop (`StopTimeout` -1).
const LONGEST_STOP: Duration = Duration::from_secs(3600);
/// How long the engine may take to remove a container that was started with `--rm`.
const REMOVAL: Duration = Duration::from_secs(30);

/// What is about to be done with a container.
pub(super) struct Planned {
    pub journal: ContainerJournal,
    /// What makes the new one.
    pub body: Value,
    /// What will not be as before.
    pub warnings: Vec<String>,
}

/// Decides what is to be done, and touches nothing.
pub(super) async fn plan(
    running: &Running,
    container: &Container,
    reference: &str,
    platform: Option<&str>,
    new_image: &LocalImage,
    follows: Option<&Follow>,
) -> Result<Planned, Error> {
    let engine = &running.restock.engine;
    let mut inspected = engine.inspect(&container.id).await?;
    if let Some(follow) = follows {
        follow.rewrite(&mut inspected);
    }
    let own_platform = &inspected["ImageManifestDescriptor"]["platform"];
    let old_image = engine.inspect_image_for(container.image_id.as_str(), own_platform).await?.ok_or_else(|| {
        refused(
            "image_gone",
            format!("the image that {} was made from is gone, so what it gave cannot be told apart", container.name),
        )
        .hint("make the container again by hand")
    })?;
    let api = ApiVersion::parse(&engine.info().await?.api_version);
    let surroundings = Surroundings {
        reference,
        api,
        mac: mac_of(engine, &inspected, api).await?,
        volumes_of_others: volumes_of_others(engine, &inspected).await?,
    };
    let recipe = recipe(&inspected, &old_image, &surroundings);
    let suffix: String = running.handle.id.as_str().chars().rev().take(8).collect();
    let auto_remove = inspected["HostConfig"]["AutoRemove"] == true;
    let journal = ContainerJournal {
        old_id: container.id.clone(),
        name: container.name.clone(),
        fresh_name: format!("{}-new-{suffix}", container.name),
        fresh_id: None,
        proven: false,
        made_again: None,
        parked_name: format!("{}-old-{suffix}", container.name),
        restart_policy: inspected["HostConfig"]["RestartPolicy"].clone(),
        running: container.state.is_up(),
        grace: u64::try_from(inspected["Config"]["StopTimeout"].as_i64().unwrap_or(DEFAULT_GRACE)).ok(),
        platform: platform.map(str::to_owned),
        auto_remove,
        reference: reference.to_owned(),
        old_image: container.image_id.clone(),
        new_image: new_image.id.clone(),
        version_from: old_image["Config"]["Labels"]["org.opencontainers.image.version"].as_str().map(str::to_owned),
        version_to: new_image.version.clone(),
        body: auto_remove.then(|| recipe.body.clone()),
        connect: recipe.connect,
    };
    Ok(Planned { journal, body: recipe.body, warnings: recipe.warnings })
}

async fn mac_of(engine: &Engine, inspected: &Value, api: ApiVersion) -> Result<Mac, EngineError> {
    let set = |mac: &Value| mac.as_str().filter(|mac| !mac.is_empty()).map(str::to_owned);
    let shown = set(&inspected["Config"]["MacAddress"]);
    if shown.is_some() || api < MANY_NETWORKS {
        return Ok(Mac::Known(shown));
    }
    let id = inspected["Id"].as_str().unwrap_or_default();
    Ok(engine.mac_set_by_hand(id).await?.map_or(Mac::Unknown, |mac| Mac::Known(set(&mac))))
}

/// The volumes that a container has from others, with `--volumes-from`.
async fn volumes_of_others(engine: &Engine, inspected: &Value) -> Result<BTreeSet<String>, EngineError> {
    let mut volumes = BTreeSet::new();
    for other in inspected["HostConfig"]["VolumesFrom"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let other = other.split(':').next().unwrap_or_default();
        // Without it the new container cannot be made either, which its creation says.
        let other = match engine.inspect(other).await {
            Ok(other) => other,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        let mounts = other["Mounts"].as_array().into_iter().flatten();
        volumes.extend(mounts.filter_map(|mount| mount["Name"].as_str().map(str::to_owned)));
    }
    Ok(volumes)
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
    let fresh = engine.create(&journal.fresh_name, body, journal.platform.as_deref()).await.map_err(text)?;
    journal.fresh_id = Some(fresh.clone());
    write_down(running, journal, Step::Apply).await?;
    retire(engine, journal).await.map_err(text)?;
    engine.rename(&fresh, &journal.name).await.map_err(text)?;
    connect_all(engine, &fresh, journal).await.map_err(text)?;
    if journal.running {
        engine.start(&fresh).await.map_err(text)?;
    }
    prove_standalone(running, &fresh, &journal.name, &journal.new_image, journal.running).await?;
    note_proven(running, journal).await;
    Ok(remove_old(running, journal).await)
}

/// Connects a new container to the networks that its creation could not name.
pub(super) async fn connect_all(engine: &Engine, id: &str, journal: &ContainerJournal) -> Result<(), EngineError> {
    for (network, endpoint) in &journal.connect {
        engine.connect(network, id, endpoint).await?;
    }
    Ok(())
}

/// Writes down that the new container works, before the old one goes: from here on nobody takes the update back.
pub(super) async fn note_proven(running: &Running, journal: &mut ContainerJournal) {
    journal.proven = true;
    if let Err(error) = write_down(running, journal, Step::Apply).await {
        tracing::error!(error, "it could not be written down that the new container works; the update goes on");
    }
}

/// Removes the old container. The new one has proved itself, and goes on whatever becomes of this.
pub(super) async fn remove_old(running: &Running, journal: &ContainerJournal) -> Option<String> {
    let error = running.restock.engine.remove(&journal.old_id).await.err()?;
    let warning = format!("the former container could not be removed, remove {} by hand: {error}", journal.parked_name);
    running.warn(&warning);
    Some(warning)
}

/// Writes down how far the job has come and which containers it has made: only those are ever removed by it.
pub(super) async fn write_down(running: &Running, journal: &ContainerJournal, step: Step) -> Result<(), String> {
    let written = running.restock.store.write_journal(&running.handle.id, step, journal).await;
    written.map_err(|error| error.to_string())
}

/// Whether this job has made the container.
pub(super) fn is_ours(container: &Container, journal: &ContainerJournal) -> bool {
    let named = [&journal.fresh_name, &journal.parked_name].contains(&&container.name);
    let made = [&journal.fresh_id, &journal.made_again];
    container.id != journal.old_id && (named || made.iter().any(|id| id.as_ref() == Some(&container.id)))
}

/// Stops the old container and puts it aside.
async fn retire(engine: &Engine, journal: &ContainerJournal) -> Result<(), EngineError> {
    if !journal.auto_remove {
        // Otherwise a restart of the engine would bring it back beside the new one.
        engine.set_restart_policy(&journal.old_id, &serde_json::json!({ "Name": "no" })).await?;
    }
    engine.stop(&journal.old_id, grace_of(journal)).await?;
    if !journal.auto_remove || !journal.running {
        return engine.rename(&journal.old_id, &journal.parked_name).await;
    }
    wait_until_gone(engine, &journal.old_id).await
}

/// Removes a container for good, also one that the engine is just removing by itself.
pub(super) async fn dismiss(engine: &Engine, id: &str, journal: &ContainerJournal) -> Result<(), EngineError> {
    engine.stop(id, grace_of(journal)).await?;
    match engine.remove(id).await {
        Err(EngineError::Status { status: 409, .. }) if journal.auto_remove => {}
        other => other?,
    }
    wait_until_gone(engine, id).await
}

fn grace_of(journal: &ContainerJournal) -> Duration {
    journal.grace.map_or(LONGEST_STOP, Duration::from_secs)
}

pub(super) async fn wait_until_gone(engine: &Engine, id: &str) -> Result<(), EngineError> {
    let until = Instant::now() + REMOVAL;
    while engine.vitals(id).await?.is_some() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
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
