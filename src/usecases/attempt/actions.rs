//! One match that acts. Each action may be done twice, and each goes on from wherever a lost answer left it.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::leftovers::clean_leftovers;
use super::work::Work;
use crate::adapters::engine::{Engine, EngineError};
use crate::domain::attempt::slot::{Slot, SlotSeen};
use crate::domain::attempt::{Action, Intent, Seen, Side, Stage};
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::plan::selections;
use crate::usecases::relay::Relay;

/// How long a container is waited for that may take as long as it likes to stop.
const LONGEST_STOP: Duration = Duration::from_secs(3600);
/// How long the engine may take to remove a container that was started with `--rm`.
const REMOVAL: Duration = Duration::from_secs(30);
const REMOVAL_POLL: Duration = Duration::from_millis(50);

/// Does `action`; gives the container that it has made, and the side that one is on.
pub(super) async fn perform(
    work: &mut Work<'_>,
    action: &Action,
    seen: &[Seen],
) -> Result<Option<(Side, String)>, Failure> {
    let host = work.running.host.clone();
    let engine = &host.engine;
    match action {
        Action::Retag { reference, image } => retag(work, image, reference).await?,
        Action::CleanLeftovers => {
            if let Some(project) = work.attempt.project() {
                clean_leftovers(engine, &engine.project_containers(&project.name).await?).await?;
            }
        }
        Action::Compose(side) => compose(work, *side).await?,
        Action::RestartUnit(_) => {
            if let Some(unit) = work.unit() {
                tracing::info!(unit = unit.unit, "restarting the unit");
                host.systemd.restart(&unit.unit).await.map_err(Failure::Systemd)?;
            }
        }
        Action::HooksAfter => work.run_hooks_after().await,
        Action::FollowDependents => follow_dependents(work).await,
        action => return on_slot(work, action, seen).await,
    }
    Ok(None)
}

async fn on_slot(work: &Work<'_>, action: &Action, seen: &[Seen]) -> Result<Option<(Side, String)>, Failure> {
    let engine = &work.running.host.engine;
    let seen = seen.iter().find_map(|seen| match seen {
        Seen::Slot(seen) => Some(seen),
        _ => None,
    });
    let (Some(slot), Some(seen)) = (work.attempt.slot(), seen) else {
        return Err(Failure::Missing("the attempt has no container".into()));
    };
    match action {
        Action::Create(side) => {
            let id = engine.create(&slot.aside(*side), &work.body(slot).await?, slot.platform.as_deref()).await?;
            return Ok(Some((*side, id)));
        }
        Action::Disarm(side) => {
            engine.set_restart_policy(id(seen, *side)?, &serde_json::json!({ "Name": "no" })).await?;
        }
        Action::Stop(side) => stop(engine, slot, id(seen, *side)?).await?,
        Action::Park(side) => engine.rename(id(seen, *side)?, &slot.aside(*side)).await?,
        Action::Name(side) => engine.rename(id(seen, *side)?, &slot.name).await?,
        Action::Connect(side, network) => {
            if let Some((_, endpoint)) = slot.connect.iter().find(|(name, _)| name == network) {
                engine.connect(network, id(seen, *side)?, endpoint).await?;
            }
        }
        Action::Arm(side) => engine.set_restart_policy(id(seen, *side)?, &slot.restart_policy).await?,
        Action::Start(side) => engine.start(id(seen, *side)?).await?,
        Action::Remove(side) => remove(engine, slot, id(seen, *side)?).await?,
        other => return Err(Failure::Missing(format!("`{}` is not an action on a container", other.word()))),
    }
    Ok(None)
}

fn id(seen: &SlotSeen, side: Side) -> Result<&str, Failure> {
    let occupant = seen.side(side).map(|occupant| occupant.id.as_str());
    occupant.ok_or_else(|| Failure::Missing("its container is gone".into()))
}

/// Makes `reference` mean `image`. Whoever asks has made sure that it is not pinned by a digest.
///
/// That it is moved to a former image is recorded for others that follow it as well and may be further on.
async fn retag(work: &Work<'_>, image: &ImageId, reference: &str) -> Result<(), Failure> {
    let parsed: ImageReference =
        reference.parse().map_err(|error| Failure::Missing(format!("`{reference}`: {error}")))?;
    let host = &work.running.host;
    let to_former = work.attempt.intent == Intent::Rollback || work.attempt.stage != Stage::Forward;
    // Before it is done: until then the record means nothing.
    if to_former && let Err(error) = host.service.store.record_moved_back(&host.name, &parsed.canonical(), image).await
    {
        tracing::error!(%error, "that {reference} is moved back is not recorded");
    }
    let tag = parsed.effective_tag().unwrap_or_default();
    Ok(host.engine.tag(image, &parsed.repository(), tag).await?)
}

async fn stop(engine: &Engine, slot: &Slot, id: &str) -> Result<(), EngineError> {
    engine.stop(id, slot.grace.map_or(LONGEST_STOP, Duration::from_secs)).await?;
    if slot.auto_remove { wait_until_gone(engine, id).await } else { Ok(()) }
}

/// Removes a container for good, also one that the engine is just removing by itself.
async fn remove(engine: &Engine, slot: &Slot, id: &str) -> Result<(), EngineError> {
    match engine.remove(id).await {
        Err(EngineError::Status { status: 409, .. }) if slot.auto_remove => wait_until_gone(engine, id).await,
        other => other,
    }
}

async fn wait_until_gone(engine: &Engine, id: &str) -> Result<(), EngineError> {
    let until = Instant::now() + REMOVAL;
    while engine.vitals(id).await?.is_some() && Instant::now() < until {
        tokio::time::sleep(REMOVAL_POLL).await;
    }
    Ok(())
}

/// Runs `up -d` for what was up and `create` for what was not.
async fn compose(work: &mut Work<'_>, side: Side) -> Result<(), Failure> {
    let (running, attempt) = (work.running, &work.attempt);
    let (Some(scene), Some(project)) = (&work.scene, attempt.project()) else {
        return Err(Failure::Missing("the attempt has no project".into()));
    };
    let changed = attempt.references().map(|reference| reference.change.service.clone()).collect();
    let before = project.before.keys().cloned().collect();
    let chosen = selections(&scene.model.project, project.selected.as_ref(), &project.running(), &before, &changed);
    let mut relay = Relay::new(running, scene.redactor.clone());
    tracing::debug!(?side, "compose follows the references");
    if let Some(selection) = chosen.up {
        let up = scene.compose.up(&scene.call, &selection, running.lock_for_child(), |line| relay.line(line));
        up.await.map_err(Failure::Command)?;
    }
    if let Some(selection) = chosen.create {
        let create = scene.compose.create(&scene.call, &selection, running.lock_for_child(), |line| relay.line(line));
        create.await.map_err(Failure::Command)?;
    }
    Ok(())
}

/// Makes again, or restarts, containers that share namespaces with one that was replaced or restarted.
pub(super) async fn follow_dependents(work: &mut Work<'_>) {
    // Those who follow are updated as well, and may need the same images.
    work.locks = None;
    let host = work.running.host.clone();
    let warnings = host.take_along(work.attempt.replicas()).await;
    work.warnings.extend(warnings);
    if let Some(slot) = work.attempt.slot() {
        host.reattach(&slot.old_id).await;
    }
}
