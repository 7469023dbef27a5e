//! Attempts as the database has them: shapes of their own, so that a change in the domain never changes what is read.
//!
//! [`FORMAT`] names the shape of a row. Each format that was released keeps its reader and a recorded sample.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adapters::store::rows::Reason;
use crate::domain::app::{ProjectName, ServiceName};
use crate::domain::attempt::slot::Slot;
use crate::domain::attempt::{
    Attempt, Cause, Fact, Intent, Obstacle, ProjectFact, Reference, Refusal, Replica, Setback, Side, Stage, Unit,
    WasThere,
};
use crate::domain::image::ImageId;
use crate::domain::job::JobId;
use crate::domain::plan::Change;

/// The shape that this program writes.
pub const FORMAT: i64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    intent: Word,
    take_back: bool,
    facts: Vec<Shape>,
}

/// The words of [`Intent`], [`Side`] and the stages.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Update,
    Rollback,
    Follow,
    Forward,
    Back,
    ProvenOld,
    ProvenNew,
    Closed,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case", deny_unknown_fields)]
enum Shape {
    Reference {
        service: ServiceName,
        reference: String,
        from: Vec<ImageId>,
        from_digests: Vec<String>,
        version_from: Option<String>,
        to: ImageId,
        to_manifest: Option<String>,
        to_digests: Vec<String>,
        version_to: Option<String>,
        source: Option<String>,
    },
    Project {
        name: ProjectName,
        profiles: BTreeSet<String>,
        selected: Option<BTreeSet<ServiceName>>,
        before: BTreeMap<ServiceName, Was>,
        replicas: Vec<Container>,
    },
    Slot {
        name: String,
        suffix: String,
        old_id: String,
        old_image: ImageId,
        new_image: ImageId,
        running: bool,
        auto_remove: bool,
        restart_policy: Value,
        grace: Option<u64>,
        platform: Option<String>,
        connect: Vec<(String, Value)>,
        follows: Option<(String, String)>,
    },
    Unit {
        unit: String,
        name: String,
        old: ImageId,
        new: ImageId,
        replica: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Was {
    running: bool,
    unhealthy: bool,
    replicas: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Container {
    id: String,
    name: String,
    started_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: String,
    service: Option<ServiceName>,
    command: Option<(String, Option<String>)>,
    cause: CauseWord,
    services: BTreeSet<ServiceName>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CauseWord {
    Engine,
    ComposeRuns,
    ServiceManager,
    ComposeFile,
    Database,
    Taken,
    Image,
    Setup,
    Unreachable,
    Denied,
    Refused,
    NotRecorded,
    DiedTwice,
    Lost,
}

/// What is written once and never changed.
pub(super) fn facts(attempt: &Attempt) -> Result<String, serde_json::Error> {
    let intent = match attempt.intent {
        Intent::Update => Word::Update,
        Intent::Rollback => Word::Rollback,
        Intent::Follow => Word::Follow,
    };
    let facts = attempt.facts.iter().map(shape).collect();
    serde_json::to_string(&Facts { intent, take_back: attempt.take_back, facts })
}

/// The stage's word, and why it was entered.
pub(super) fn stage(stage: &Stage) -> Result<(String, Option<String>), serde_json::Error> {
    let (word, why) = match stage {
        Stage::Forward => (Word::Forward, None),
        Stage::Back { why } => (Word::Back, Some(why)),
        Stage::Proven { side: Side::Old, why } => (Word::ProvenOld, why.as_ref()),
        Stage::Proven { side: Side::New, why } => (Word::ProvenNew, why.as_ref()),
        Stage::Closed => (Word::Closed, None),
    };
    let word = serde_json::to_value(word)?.as_str().unwrap_or_default().to_owned();
    Ok((word, why.map(|why| serde_json::to_string(&why_shape(why))).transpose()?))
}

/// A row of the table, before it is understood.
pub(super) struct RawAttempt {
    pub job: JobId,
    pub format: i64,
    pub facts: String,
    pub stage: String,
    pub why: Option<String>,
    pub exposed: bool,
    pub deaths: u32,
    /// The containers that were made, as far as that could be recorded.
    pub made_old: Option<String>,
    pub made_new: Option<String>,
}

/// Reads a row.
///
/// # Errors
/// A format or a word that this program does not know: the row stays as it is.
pub(super) fn read(row: RawAttempt) -> Result<Attempt, Reason> {
    if row.format != FORMAT {
        return Err(format!("its format is {}, and this program knows {FORMAT}", row.format).into());
    }
    let read: Facts = serde_json::from_str(&row.facts)?;
    let why = row.why.map(|why| serde_json::from_str::<Why>(&why)).transpose()?.map(setback);
    let stage = match serde_json::from_value::<Word>(Value::String(row.stage))? {
        Word::Forward => Stage::Forward,
        Word::Back => Stage::Back { why: why.ok_or("it went back without a reason")? },
        Word::ProvenOld => Stage::Proven { side: Side::Old, why },
        Word::ProvenNew => Stage::Proven { side: Side::New, why },
        Word::Closed => Stage::Closed,
        Word::Update | Word::Rollback | Word::Follow => return Err("its stage is not one".into()),
    };
    let intent = match read.intent {
        Word::Update => Intent::Update,
        Word::Rollback => Intent::Rollback,
        Word::Follow => Intent::Follow,
        _ => return Err("its intent is not one".into()),
    };
    let made = (row.made_old, row.made_new);
    let facts = read.facts.into_iter().map(|shape| fact(shape, &made)).collect::<Result<_, _>>()?;
    let (job, exposed, deaths) = (row.job, row.exposed, row.deaths);
    Ok(Attempt { job, intent, facts, take_back: read.take_back, stage, exposed, deaths })
}

fn shape(fact: &Fact) -> Shape {
    match fact.clone() {
        Fact::Reference(Reference { change, from_digests, version_from }) => Shape::Reference {
            service: change.service,
            reference: change.reference,
            from: change.from,
            from_digests,
            version_from,
            to: change.to,
            to_manifest: change.to_manifest.map(|digest| digest.to_string()),
            to_digests: change.to_digests,
            version_to: change.version_to,
            source: change.source,
        },
        Fact::Project(ProjectFact { name, profiles, selected, before, replicas }) => Shape::Project {
            name,
            profiles,
            selected,
            before: before
                .into_iter()
                .map(|(name, WasThere { running, unhealthy, replicas })| (name, Was { running, unhealthy, replicas }))
                .collect(),
            replicas: replicas
                .into_iter()
                .map(|Replica { id, name, started_at }| Container { id, name, started_at })
                .collect(),
        },
        Fact::Slot(slot) => Shape::Slot {
            name: slot.name,
            suffix: slot.suffix,
            old_id: slot.old_id,
            old_image: slot.old_image,
            new_image: slot.new_image,
            running: slot.running,
            auto_remove: slot.auto_remove,
            restart_policy: slot.restart_policy,
            grace: slot.grace,
            platform: slot.platform,
            connect: slot.connect,
            follows: slot.follows,
        },
        Fact::Unit(Unit { unit, name, old, new, replica }) => Shape::Unit { unit, name, old, new, replica },
    }
}

fn fact(shape: Shape, made: &(Option<String>, Option<String>)) -> Result<Fact, Reason> {
    Ok(match shape {
        Shape::Reference {
            service,
            reference,
            from,
            from_digests,
            version_from,
            to,
            to_manifest,
            to_digests,
            version_to,
            source,
        } => {
            let to_manifest = to_manifest.map(|digest| digest.parse()).transpose()?;
            let change = Change { service, from, to, to_manifest, reference, version_to, source, to_digests };
            Fact::Reference(Reference { change, from_digests, version_from })
        }
        Shape::Project { name, profiles, selected, before, replicas } => Fact::Project(ProjectFact {
            name,
            profiles,
            selected,
            before: before
                .into_iter()
                .map(|(name, Was { running, unhealthy, replicas })| (name, WasThere { running, unhealthy, replicas }))
                .collect(),
            replicas: replicas
                .into_iter()
                .map(|Container { id, name, started_at }| Replica { id, name, started_at })
                .collect(),
        }),
        Shape::Slot {
            name,
            suffix,
            old_id,
            old_image,
            new_image,
            running,
            auto_remove,
            restart_policy,
            grace,
            platform,
            connect,
            follows,
        } => Fact::Slot(Box::new(Slot {
            name,
            suffix,
            old_id,
            made_old: made.0.clone(),
            made_new: made.1.clone(),
            old_image,
            new_image,
            running,
            auto_remove,
            restart_policy,
            grace,
            platform,
            connect,
            follows,
        })),
        Shape::Unit { unit, name, old, new, replica } => Fact::Unit(Unit { unit, name, old, new, replica }),
    })
}

fn why_shape(why: &Setback) -> Why {
    let none = BTreeSet::new;
    let (cause, services) = match &why.cause {
        Cause::Obstacle(Obstacle::Engine) => (CauseWord::Engine, none()),
        Cause::Obstacle(Obstacle::ComposeRuns) => (CauseWord::ComposeRuns, none()),
        Cause::Obstacle(Obstacle::ServiceManager) => (CauseWord::ServiceManager, none()),
        Cause::Obstacle(Obstacle::ComposeFile) => (CauseWord::ComposeFile, none()),
        Cause::Obstacle(Obstacle::Database) => (CauseWord::Database, none()),
        Cause::Obstacle(Obstacle::Taken) => (CauseWord::Taken, none()),
        Cause::Image(services) => (CauseWord::Image, services.clone()),
        Cause::Setup => (CauseWord::Setup, none()),
        Cause::NotBegun(Refusal::Unreachable) => (CauseWord::Unreachable, none()),
        Cause::NotBegun(Refusal::Denied) => (CauseWord::Denied, none()),
        Cause::NotBegun(Refusal::Refused) => (CauseWord::Refused, none()),
        Cause::NotRecorded => (CauseWord::NotRecorded, none()),
        Cause::DiedTwice => (CauseWord::DiedTwice, none()),
        Cause::Lost => (CauseWord::Lost, none()),
    };
    let Setback { reason, service, command, .. } = why.clone();
    Why { reason, service, command, cause, services }
}

fn setback(why: Why) -> Setback {
    let cause = match why.cause {
        CauseWord::Engine => Cause::Obstacle(Obstacle::Engine),
        CauseWord::ComposeRuns => Cause::Obstacle(Obstacle::ComposeRuns),
        CauseWord::ServiceManager => Cause::Obstacle(Obstacle::ServiceManager),
        CauseWord::ComposeFile => Cause::Obstacle(Obstacle::ComposeFile),
        CauseWord::Database => Cause::Obstacle(Obstacle::Database),
        CauseWord::Taken => Cause::Obstacle(Obstacle::Taken),
        CauseWord::Image => Cause::Image(why.services),
        CauseWord::Setup => Cause::Setup,
        CauseWord::Unreachable => Cause::NotBegun(Refusal::Unreachable),
        CauseWord::Denied => Cause::NotBegun(Refusal::Denied),
        CauseWord::Refused => Cause::NotBegun(Refusal::Refused),
        CauseWord::NotRecorded => Cause::NotRecorded,
        CauseWord::DiedTwice => Cause::DiedTwice,
        CauseWord::Lost => Cause::Lost,
    };
    Setback { reason: why.reason, service: why.service, command: why.command, cause }
}
