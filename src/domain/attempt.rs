//! An attempt: a change of what runs, as a list of facts with two sides and one route to either of them.
//!
//! Going back is the route to [`Side::Old`], and so is resuming after a crash the route to whichever side the recorded
//! [`Stage`] names. There is no undo in reverse: Compose's `up` has none, and in reverse order an old version would start
//! on what the new one has left. [`next`] chooses the next action from what was seen; it reads no clock and does nothing.

mod action;
pub mod legacy;
pub mod slot;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::app::{ProjectName, ServiceName};
use super::image::ImageId;
use super::job::{JobId, OneOrMany, ServiceChange};
use super::plan::Change;
pub use action::{Action, Hold, Side, ThisRun};
use slot::{Slot, SlotSeen};

/// Why a change is attempted, which decides what is remembered of its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    Update,
    /// Back to the images that ran before an earlier update: the version that is left is held from the beginning.
    Rollback,
    /// A container is made again because another one, whose namespaces it shares, was replaced.
    Follow,
}

/// Everything that an attempt is about. Persisted before anything is touched, and kept for a later rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub job: JobId,
    pub intent: Intent,
    /// In the order in which they are moved, whichever side is the goal.
    pub facts: Vec<Fact>,
    /// A failure is taken back.
    pub take_back: bool,
    pub stage: Stage,
    /// New has been started, so a second death may be its fault.
    pub exposed: bool,
    /// Processes that died while they worked on it.
    pub deaths: u32,
}

/// Where an attempt stands. It is written before what it allows is done, and so it is what a crash leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The goal is New. Recording this is the point of no return: a job without an attempt has touched nothing.
    Forward,
    /// The goal is Old, and never New again.
    Back {
        why: Setback,
    },
    /// One side has proved itself and the verdict is final; what is left is to tidy up.
    Proven {
        side: Side,
        why: Option<Setback>,
    },
    Closed,
}

/// Why an attempt turned back or ended without success. `reason` is redacted where it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    pub reason: String,
    pub service: Option<ServiceName>,
    /// The command that failed and its last lines, redacted, if a command did.
    pub command: Option<(String, Option<String>)>,
    pub cause: Cause,
}

/// What kind of setback it is: this alone decides what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It may pass without anybody changing anything: the attempt waits, or stays open.
    Obstacle(Obstacle),
    /// These services were started on New and did not prove themselves while the engine answered.
    Image(BTreeSet<ServiceName>),
    /// Something else of the set-up failed: another service, Compose's own refusal, a start that never ran a process.
    Setup,
    /// The service manager refused before anything began.
    NotBegun(Refusal),
    /// The database could not be written.
    NotRecorded,
    /// Two processes died while they worked on it.
    DiedTwice,
    /// What is needed to go on no longer exists, or something unknown is in its place.
    Lost,
}

/// How a service manager refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Unreachable,
    Denied,
    Refused,
}

/// What may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The engine does not answer.
    Engine,
    /// Compose has used up its time and goes on: it is never ended half-way.
    ComposeRuns,
    /// The service manager cannot be reached.
    ServiceManager,
    /// Compose or the app's files cannot be used now.
    ComposeFile,
    /// The attempt cannot be read or written.
    Database,
    /// Another process works on it.
    Taken,
}

/// One thing that has an old and a new side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    Reference(Reference),
    Project(ProjectFact),
    Slot(Box<Slot>),
    Unit(Unit),
}

/// What an image reference means on the engine, for one service or container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// From which images to which; `from` has the image that ran most first, and that one is Old.
    pub change: Change,
    /// `repository@digest` of Old: how to fetch it again when it has gone.
    pub from_digests: Vec<String>,
    pub version_from: Option<String>,
}

impl Reference {
    /// The image of a side.
    pub fn image(&self, side: Side) -> Option<&ImageId> {
        match side {
            Side::Old => self.change.from.first(),
            Side::New => Some(&self.change.to),
        }
    }

    /// The change as answers and history show it.
    pub fn service_change(&self) -> ServiceChange {
        let change = &self.change;
        ServiceChange {
            service: change.service.clone(),
            from: OneOrMany::of(change.from.clone()),
            to: change.to.to_string(),
            tag: change.reference.clone(),
            version_from: self.version_from.clone(),
            version_to: change.version_to.clone(),
            source: change.source.clone(),
        }
    }
}

/// The containers of a Compose project, which follow the references by `docker compose up`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectFact {
    pub name: ProjectName,
    /// Profiles that were switched on because services of theirs had containers.
    pub profiles: BTreeSet<String>,
    /// Only these services are worked on; `None` means all.
    pub selected: Option<BTreeSet<ServiceName>>,
    /// Every service that had containers.
    pub before: BTreeMap<ServiceName, WasThere>,
    /// Every container there was; empty where a former version did not record them.
    pub replicas: Vec<Replica>,
}

/// A service before the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasThere {
    /// At least one of its containers was up.
    pub running: bool,
    /// Its healthcheck had failed already: afterwards it must only run.
    pub unhealthy: bool,
    /// How many containers it had.
    pub replicas: usize,
}

/// A container before the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    pub id: String,
    pub name: String,
    /// When it was started last, by the engine's clock; `None` where it is not known.
    pub started_at: Option<Timestamp>,
}

/// A systemd unit that makes its container anew whenever it is restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub unit: String,
    /// The container's name.
    pub name: String,
    pub old: ImageId,
    pub new: ImageId,
    /// The container before the attempt.
    pub replica: String,
}

/// What the world says of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Reference {
        /// The image behind the reference.
        now: Option<ImageId>,
        old: Hold,
        new: Hold,
    },
    /// Whether Compose's replacements that never took their places are there. Convergence itself cannot be seen.
    Project {
        leftovers: bool,
    },
    Slot(SlotSeen),
    Unit {
        /// The image its container runs; `None` where it has no running container.
        runs: Option<ImageId>,
    },
}

impl Action {
    /// Returns whether what it does cannot be seen afterwards, so that once in a run is enough.
    pub fn converges(&self) -> bool {
        matches!(self, Self::Compose(_) | Self::RestartUnit(_) | Self::Start(_))
    }

    /// Returns whether New may run from this action on.
    pub fn exposes(&self) -> bool {
        matches!(self, Self::Compose(Side::New) | Self::RestartUnit(Side::New) | Self::Start(Side::New))
    }

    /// The word for the log of steps.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Retag { .. } => "retag",
            Self::CleanLeftovers => "clean_leftovers",
            Self::Compose(_) => "compose",
            Self::RestartUnit(_) => "restart_unit",
            Self::Create(_) => "create",
            Self::Disarm(_) => "disarm",
            Self::Stop(_) => "stop",
            Self::Park(_) => "park",
            Self::Name(_) => "name",
            Self::Connect(..) => "connect",
            Self::Arm(_) => "arm",
            Self::Start(_) => "start",
            Self::Remove(_) => "remove",
            Self::HooksAfter => "hooks_after",
            Self::FollowDependents => "follow_dependents",
        }
    }
}

/// What is to happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Do(Action),
    /// Everything that can be had is in its place: prove this side. `lost` is what cannot be had.
    Prove {
        side: Side,
        lost: Option<Setback>,
    },
    /// Nothing can be done, for this reason, and nothing may be touched.
    Stuck(Setback),
    /// What was to be tidied up is.
    Close,
}

/// The next action towards the goal of the attempt's stage. `seen` has one element for each fact.
pub fn next(attempt: &Attempt, seen: &[Seen], run: &ThisRun) -> Next {
    match &attempt.stage {
        Stage::Forward => towards(attempt, seen, run, Side::New),
        Stage::Back { .. } => towards(attempt, seen, run, Side::Old),
        Stage::Proven { side, .. } => tidy(attempt, seen, run, *side),
        Stage::Closed => Next::Close,
    }
}

fn towards(attempt: &Attempt, seen: &[Seen], run: &ThisRun, goal: Side) -> Next {
    let mut lost: Option<Setback> = None;
    let mut references = 0;
    let mut lost_references = 0;
    for (fact, seen) in attempt.facts.iter().zip(seen) {
        let action = match (fact, seen) {
            (Fact::Reference(reference), Seen::Reference { now, old, new }) => {
                references += 1;
                let hold = if goal == Side::Old { old } else { new };
                if let Hold::Lost(reason) = hold {
                    // It stays as it is; the others are moved all the same.
                    lost_references += 1;
                    let service = Some(reference.change.service.clone());
                    lost.get_or_insert(Setback { service, ..Setback::lost(reason.clone()) });
                    continue;
                }
                retag(reference, now.as_ref(), goal)
            }
            (Fact::Project(_), Seen::Project { leftovers }) => match lost.take() {
                Some(lost) if lost_references == references => return Next::Stuck(lost),
                still => {
                    lost = still;
                    Some(if *leftovers { Action::CleanLeftovers } else { Action::Compose(goal) })
                }
            },
            (Fact::Unit(_), Seen::Unit { .. }) if lost.is_some() => return stuck(lost),
            (Fact::Unit(unit), Seen::Unit { runs }) => {
                (runs.as_ref() != Some(unit.image(goal))).then_some(Action::RestartUnit(goal))
            }
            (Fact::Slot(slot), Seen::Slot(seen)) => {
                if let Some(foreign) = &seen.foreign {
                    return Next::Stuck(Setback::lost(foreign.clone()));
                }
                match seen.hold(goal) {
                    Hold::Lost(reason) => return Next::Stuck(Setback::lost(reason.clone())),
                    // It is made from what the reference means.
                    Hold::CanBeMade if lost.is_some() => return stuck(lost),
                    _ => slot::step(slot, seen, run, goal),
                }
            }
            _ => return Next::Stuck(Setback::lost("what was seen does not fit what was recorded".into())),
        };
        if let Some(action) = action.filter(|action| !(action.converges() && run.did(action))) {
            return Next::Do(action);
        }
    }
    // A container that exists needs no reference: it runs what it was made from.
    Next::Prove { side: goal, lost: lost.filter(|_| attempt.project().is_some()) }
}

fn stuck(lost: Option<Setback>) -> Next {
    Next::Stuck(lost.unwrap_or_else(|| Setback::lost("it is gone".into())))
}

fn retag(reference: &Reference, now: Option<&ImageId>, goal: Side) -> Option<Action> {
    let image = reference.image(goal)?;
    let moved = now != Some(image);
    moved.then(|| Action::Retag { reference: reference.change.reference.clone(), image: image.clone() })
}

/// What is left once `side` has proved itself: nothing here can change the verdict.
fn tidy(attempt: &Attempt, seen: &[Seen], run: &ThisRun, side: Side) -> Next {
    let other = side.other();
    let still_there = seen.iter().any(|seen| matches!(seen, Seen::Slot(seen) if seen.side(other).is_some()));
    let succeeded = side == Side::New && attempt.intent == Intent::Update;
    let actions = [
        (Action::Remove(other), still_there),
        (Action::HooksAfter, succeeded && attempt.project().is_some()),
        (Action::FollowDependents, true),
    ];
    let mut wanted = actions.into_iter().filter(|(action, wanted)| *wanted && !run.did(action));
    wanted.next().map_or(Next::Close, |(action, _)| Next::Do(action))
}

/// Where a setback leads from the attempt's stage.
///
/// # Errors
/// An obstacle leads nowhere: the attempt stays where it is until the obstacle has passed.
pub fn after(attempt: &Attempt, setback: Setback) -> Result<Option<Stage>, Obstacle> {
    match (&attempt.stage, &setback.cause) {
        (_, Cause::Obstacle(obstacle)) => Err(*obstacle),
        // What did not begin, or may not go on unrecorded, is put back whatever the caller asked for.
        (Stage::Forward, Cause::NotBegun(_) | Cause::NotRecorded) => Ok(Some(Stage::Back { why: setback })),
        (Stage::Forward, _) if attempt.take_back => Ok(Some(Stage::Back { why: setback })),
        _ => Ok(None),
    }
}

impl Attempt {
    /// The project that follows the references, if it is an attempt on an app.
    pub fn project(&self) -> Option<&ProjectFact> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::Project(project) => Some(project),
            _ => None,
        })
    }

    /// Limits an attempt on an app to some services; `None` means all.
    pub fn select(&mut self, services: Option<BTreeSet<ServiceName>>) {
        for fact in &mut self.facts {
            if let Fact::Project(project) = fact {
                project.selected.clone_from(&services);
            }
        }
    }

    /// The container's slot, if it is an attempt on a standalone container.
    pub fn slot(&self) -> Option<&Slot> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::Slot(slot) => Some(slot.as_ref()),
            _ => None,
        })
    }

    /// The systemd unit, if it is an attempt on one.
    pub fn unit(&self) -> Option<&Unit> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::Unit(unit) => Some(unit),
            _ => None,
        })
    }

    /// The references that the attempt moves.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.facts.iter().filter_map(|fact| match fact {
            Fact::Reference(reference) => Some(reference),
            _ => None,
        })
    }

    /// The services whose images are to change, with what they go from and to.
    pub fn changes(&self) -> Vec<ServiceChange> {
        self.references().map(Reference::service_change).collect()
    }

    /// The containers that may be replaced, and what they are called, by their IDs.
    pub fn replicas(&self) -> BTreeMap<String, String> {
        let mut replicas = BTreeMap::new();
        for fact in &self.facts {
            match fact {
                Fact::Reference(_) => {}
                Fact::Project(project) => {
                    let all = project.replicas.iter();
                    replicas.extend(all.map(|replica| (replica.id.clone(), replica.name.clone())));
                }
                Fact::Slot(slot) => {
                    replicas.insert(slot.old_id.clone(), slot.name.clone());
                }
                Fact::Unit(unit) => {
                    replicas.insert(unit.replica.clone(), unit.name.clone());
                }
            }
        }
        replicas
    }
}

impl Unit {
    /// The image of a side.
    pub fn image(&self, side: Side) -> &ImageId {
        if side == Side::Old { &self.old } else { &self.new }
    }
}

impl Setback {
    /// A setback of `cause`, for `reason`.
    pub fn new(cause: Cause, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), service: None, command: None, cause }
    }

    /// What is needed is gone, or something unknown is in its place.
    pub fn lost(reason: String) -> Self {
        Self::new(Cause::Lost, reason)
    }
}

impl ProjectFact {
    /// Returns whether a container was started or made since; not where that is unknown.
    pub fn is_touched(&self, id: &str, started_at: Option<Timestamp>) -> bool {
        let Some(was) = self.replicas.iter().find(|replica| replica.id == id) else { return !self.replicas.is_empty() };
        was.started_at.is_some() && started_at.is_some() && was.started_at != started_at
    }

    /// The services that were up and stay up; all others are left as they were found.
    pub fn running(&self) -> BTreeSet<&ServiceName> {
        self.before.iter().filter(|(_, was)| was.running).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests;
