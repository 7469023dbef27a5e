//! What the world says of each fact. Nothing is remembered between two looks.

use std::collections::BTreeSet;

use serde_json::Value;

use super::failure::Failure;
use super::leftovers::is_leftover;
use super::work::Work;
use crate::adapters::engine::{Engine, EngineError};
use crate::domain::attempt::slot::{Occupant, Slot, SlotSeen};
use crate::domain::attempt::{Fact, Hold, Reference, Seen, Side, Stage, Unit};
use crate::domain::container::Container;
use crate::domain::image::{ImageId, ImageReference};

/// Looks at every fact, all at the same time.
pub(super) async fn observe(work: &Work<'_>) -> Result<Vec<Seen>, Failure> {
    let goal = match work.attempt.stage {
        Stage::Forward => Side::New,
        Stage::Back { .. } => Side::Old,
        Stage::Proven { side, .. } => side,
        Stage::Closed => return Ok(Vec::new()),
    };
    let looks = work.attempt.facts.iter().map(|fact| look(work, fact, goal));
    Ok(futures_util::future::try_join_all(looks).await?)
}

async fn look(work: &Work<'_>, fact: &Fact, goal: Side) -> Result<Seen, EngineError> {
    let engine = &work.running.host.engine;
    match fact {
        Fact::Reference(reference) => reference_seen(engine, reference, goal).await,
        Fact::Project(project) => {
            let containers = engine.project_containers(&project.name).await?;
            Ok(Seen::Project { leftovers: containers.iter().any(is_leftover) })
        }
        Fact::Slot(slot) => slot_seen(engine, slot, work.recipe.is_some()).await.map(Seen::Slot),
        Fact::Unit(unit) => {
            let containers = engine.containers().await?;
            let found = container_of(unit, unit.image(goal), &containers).filter(|container| container.state.is_up());
            Ok(Seen::Unit { runs: found.map(|container| container.image_id.clone()) })
        }
    }
}

/// Only the goal's image can be missed: the other one is not asked for.
async fn reference_seen(engine: &Engine, reference: &Reference, goal: Side) -> Result<Seen, EngineError> {
    let name = &reference.change.reference;
    let now = engine.image(name).await?.map(|image| image.id);
    let mut hold = Hold::Here;
    let wanted = reference.image(goal);
    if now.as_ref() != wanted {
        let pinned = name.parse::<ImageReference>().map_or(true, |reference| reference.digest().is_some());
        hold = match wanted {
            None => Hold::Lost(format!("nothing is known of what `{name}` meant before")),
            Some(_) if pinned => {
                Hold::Lost(format!("`{name}` is pinned by its digest: edit the Compose file to go back"))
            }
            Some(image) if engine.image(image.as_str()).await?.is_none() => {
                Hold::Lost(format!("the image {image} is gone"))
            }
            Some(_) => Hold::Here,
        };
    }
    Ok(match goal {
        Side::Old => Seen::Reference { now, old: hold, new: Hold::Here },
        Side::New => Seen::Reference { now, old: Hold::Here, new: hold },
    })
}

async fn slot_seen(engine: &Engine, slot: &Slot, recipe: bool) -> Result<SlotSeen, EngineError> {
    let containers = engine.containers().await?;
    let sides = slot.sides(&containers);
    let foreign = sides.foreign.map(|holder| {
        format!("the container {} has the name {}, and this job has not made it", holder.short_id(), slot.name)
    });
    let (old, new) = tokio::try_join!(occupant(engine, sides.old), occupant(engine, sides.new))?;
    Ok(SlotSeen { old, new, recipe, foreign })
}

/// A container of a slot, or `None` when it has gone since the list was made.
async fn occupant(engine: &Engine, container: Option<&Container>) -> Result<Option<Occupant>, EngineError> {
    let Some(container) = container else { return Ok(None) };
    let inspected = match engine.inspect(&container.id).await {
        Ok(inspected) => inspected,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let networks = inspected["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
    let networks = networks.map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    Ok(Some(Occupant {
        id: container.id.clone(),
        name: container.name.clone(),
        up: container.state.is_up(),
        restart_policy: policy_of(&inspected),
        networks,
    }))
}

fn policy_of(inspected: &Value) -> Value {
    inspected["HostConfig"]["RestartPolicy"].clone()
}

/// A unit's container: it may have another ID and even another name after a restart.
pub(super) fn container_of<'a>(unit: &Unit, image: &ImageId, containers: &'a [Container]) -> Option<&'a Container> {
    let of_unit = |container: &&Container| container.unit.as_ref() == Some(&unit.unit);
    let named = containers.iter().filter(of_unit).find(|container| container.name == unit.name);
    named.or_else(|| containers.iter().filter(of_unit).find(|container| container.image_id == *image))
}
