//! The place of a standalone container: a name, and two containers of which one is to have it and to run.

use std::collections::BTreeSet;

use serde_json::Value;

use super::action::{Action, Hold, Side, ThisRun};
use crate::domain::container::Container;
use crate::domain::image::ImageId;

/// A standalone container's place, and how the containers of both sides are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// What the container is called.
    pub name: String,
    /// The end of the names that the containers have while they are aside: `<name>-new-<suffix>`, `<name>-old-<suffix>`.
    pub suffix: String,
    pub old_id: String,
    /// The container that was made in place of one that had removed itself.
    pub made_old: Option<String>,
    /// The container that was made to be New.
    pub made_new: Option<String>,
    pub old_image: ImageId,
    pub new_image: ImageId,
    /// The container ran, so the side that is proven has to.
    pub running: bool,
    /// The engine removes it as soon as it stops: to go back it has to be made again.
    pub auto_remove: bool,
    /// As `HostConfig.RestartPolicy` has it.
    pub restart_policy: Value,
    /// How long its own stop may take, in seconds; `None` for as long as it needs.
    pub grace: Option<u64>,
    /// The platform it was made for, where that is not the engine's own.
    pub platform: Option<String>,
    /// Networks that it is connected to after its creation, with the endpoint's settings.
    pub connect: Vec<(String, Value)>,
    /// A container whose namespaces it shares, and the one that has replaced that.
    pub follows: Option<(String, String)>,
}

/// The containers that have to do with a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotSeen {
    pub old: Option<Occupant>,
    pub new: Option<Occupant>,
    /// What is needed to make the old container again is recorded.
    pub recipe: bool,
    /// Why the slot must not be touched: a container that is on neither side has its name.
    pub foreign: Option<String>,
}

/// The containers of a slot, as a list has them.
#[derive(Debug)]
pub struct Sides<'a> {
    pub old: Option<&'a Container>,
    pub new: Option<&'a Container>,
    /// The container that has the slot's name and is on neither side.
    pub foreign: Option<&'a Container>,
}

/// One container of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    pub id: String,
    pub name: String,
    pub up: bool,
    pub restart_policy: Value,
    pub networks: BTreeSet<String>,
}

impl Slot {
    /// What the container of `side` is called while the other one has the name.
    pub fn aside(&self, side: Side) -> String {
        let word = if side == Side::Old { "old" } else { "new" };
        format!("{}-{word}-{}", self.name, self.suffix)
    }

    /// Records a container that was made for a side.
    pub fn made(&mut self, side: Side, id: String) {
        let made = if side == Side::Old { &mut self.made_old } else { &mut self.made_new };
        *made = Some(id);
    }

    /// Tells which of `containers` are on which side. One that nobody recorded, because the record was lost, is known by
    /// the name it has while it is aside, or by the slot's name and the image of a side that has no other container.
    pub fn sides<'a>(&self, containers: &'a [Container]) -> Sides<'a> {
        let by_id = |id: Option<&String>| containers.iter().find(|container| Some(&container.id) == id);
        let by_name = |name: &str| containers.iter().find(|container| container.name == name);
        let recorded = |id: Option<&String>, side| by_id(id).or_else(|| by_name(&self.aside(side)));
        let mut old = by_id(Some(&self.old_id)).or_else(|| recorded(self.made_old.as_ref(), Side::Old));
        let mut new = recorded(self.made_new.as_ref(), Side::New);
        let is = |side: Option<&Container>, holder: &Container| side.is_some_and(|side| side.id == holder.id);
        let mut foreign = None;
        if let Some(holder) = by_name(&self.name).filter(|holder| !is(old, holder) && !is(new, holder)) {
            if new.is_none() && holder.image_id == self.new_image {
                new = Some(holder);
            } else if old.is_none() && holder.image_id == self.old_image {
                old = Some(holder);
            } else {
                foreign = Some(holder);
            }
        }
        Sides { old, new, foreign }
    }
}

impl SlotSeen {
    /// The container of a side.
    pub fn side(&self, side: Side) -> Option<&Occupant> {
        if side == Side::Old { self.old.as_ref() } else { self.new.as_ref() }
    }

    /// What there is of a side: a container is made from the recorded recipe, New also from what Old shows.
    pub fn hold(&self, side: Side) -> Hold {
        if self.side(side).is_some() {
            Hold::Here
        } else if self.recipe || side == Side::New && self.old.is_some() {
            Hold::CanBeMade
        } else {
            Hold::Lost("the container is gone, and how it was made is not recorded".into())
        }
    }
}

/// The next action that brings `goal` into the slot, or `None` once it is there and was started.
///
/// The goal's container is made first: a body that the engine refuses disturbs nothing, and a former container that has
/// removed itself exists again before the other one is stopped.
pub(super) fn step(slot: &Slot, seen: &SlotSeen, run: &ThisRun, goal: Side) -> Option<Action> {
    let Some(own) = seen.side(goal) else { return Some(Action::Create(goal)) };
    if let Some(other) = seen.side(goal.other()) {
        let aside = aside(slot, other, goal.other(), run);
        if aside.is_some() {
            return aside;
        }
    }
    let missing = slot.connect.iter().map(|(network, _)| network).find(|network| !own.networks.contains(*network));
    let unarmed = !slot.auto_remove && own.restart_policy != slot.restart_policy && !run.did(&Action::Arm(goal));
    if own.name != slot.name {
        Some(Action::Name(goal))
    } else if let Some(network) = missing {
        Some(Action::Connect(goal, network.clone()))
    } else if unarmed {
        Some(Action::Arm(goal))
    } else {
        (slot.running && !own.up).then_some(Action::Start(goal))
    }
}

fn aside(slot: &Slot, other: &Occupant, side: Side, run: &ThisRun) -> Option<Action> {
    let policy = other.restart_policy["Name"].as_str().unwrap_or_default();
    // The engine would bring it back beside the goal's when it is restarted itself.
    let armed = !slot.auto_remove && !matches!(policy, "" | "no") && !run.did(&Action::Disarm(side));
    if armed {
        Some(Action::Disarm(side))
    } else if other.up {
        Some(Action::Stop(side))
    } else {
        (other.name == slot.name).then_some(Action::Park(side))
    }
}
