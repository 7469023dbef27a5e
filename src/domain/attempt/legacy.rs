//! Attempts out of the journals that former versions wrote: for jobs that were left open, and for later rollbacks.
//!
//! Nothing is converted in the database. Resuming such a job records an attempt for it first.

use serde_json::Value;

use super::slot::Slot;
use super::{Attempt, Cause, Fact, Intent, ProjectFact, Reference, Replica, Setback, Side, Stage, Unit, WasThere};
use crate::domain::app::ServiceName;
use crate::domain::job::{JobId, Kind, OneOrMany, Step};
use crate::domain::journal::{ContainerJournal, Journal, StandaloneJournal, UnitJournal};
use crate::domain::plan::Change;

/// The attempt that an app's journal describes. `step` is where the job was, from [`Step::Apply`] on.
pub fn of_app(job: &JobId, kind: Kind, step: Step, journal: Journal) -> Attempt {
    let before = journal.before;
    let reference = |change: Change| {
        let was = before.get(&change.service);
        Fact::Reference(Reference {
            from_digests: was.map(|was| was.digests.clone()).unwrap_or_default(),
            version_from: was.and_then(|was| was.version.clone()),
            change,
        })
    };
    let mut facts: Vec<_> = journal.changes.into_iter().map(reference).collect();
    let replicas = journal.containers.into_iter().map(|(id, name)| Replica { id, name, started_at: None });
    facts.push(Fact::Project(ProjectFact {
        name: journal.project,
        profiles: journal.profiles,
        selected: journal.selected,
        before: before
            .iter()
            .map(|(name, was)| (name.clone(), WasThere { running: was.running, unhealthy: was.unhealthy, replicas: 0 }))
            .collect(),
        replicas: replicas.collect(),
    }));
    let intent = if kind == Kind::Rollback { Intent::Rollback } else { Intent::Update };
    Attempt { intent, take_back: journal.rollback, ..attempt(job, step, facts) }
}

/// The attempt that a container's or unit's journal describes, and the body that makes its old container again.
pub fn of_container(job: &JobId, step: Step, journal: StandaloneJournal) -> (Attempt, Option<Value>) {
    match journal {
        StandaloneJournal::Container(journal) => of_slot(job, step, *journal),
        StandaloneJournal::Unit(journal) => (of_unit(job, step, *journal), None),
    }
}

fn of_slot(job: &JobId, step: Step, journal: ContainerJournal) -> (Attempt, Option<Value>) {
    let change = Change {
        service: ServiceName::new(journal.name.as_str()),
        from: vec![journal.old_image.clone()],
        to: journal.new_image.clone(),
        to_manifest: None,
        reference: journal.reference,
        version_to: journal.version_to,
        source: None,
        to_digests: Vec::new(),
    };
    let suffix = journal.fresh_name.rsplit('-').next().unwrap_or_default().to_owned();
    let slot = Slot {
        name: journal.name,
        suffix,
        old_id: journal.old_id,
        made_old: journal.made_again,
        made_new: journal.fresh_id,
        old_image: journal.old_image,
        new_image: journal.new_image,
        running: journal.running,
        auto_remove: journal.auto_remove,
        restart_policy: journal.restart_policy,
        grace: journal.grace,
        platform: journal.platform,
        connect: journal.connect,
        follows: None,
    };
    let reference = Reference { change, from_digests: Vec::new(), version_from: journal.version_from };
    let attempt = attempt(job, step, vec![Fact::Reference(reference), Fact::Slot(Box::new(slot))]);
    (if journal.proven { proven(attempt) } else { attempt }, journal.body)
}

fn of_unit(job: &JobId, step: Step, journal: UnitJournal) -> Attempt {
    let change = Change {
        service: journal.change.service,
        from: match journal.change.from {
            OneOrMany::One(image) => vec![image],
            OneOrMany::Many(images) => images,
        },
        to: journal.new_image.clone(),
        to_manifest: None,
        reference: journal.change.tag,
        version_to: journal.change.version_to,
        source: journal.change.source,
        to_digests: Vec::new(),
    };
    let unit = Unit {
        unit: journal.unit,
        name: journal.name,
        old: journal.old_image,
        new: journal.new_image,
        replica: String::new(),
    };
    let reference = Reference { change, from_digests: Vec::new(), version_from: journal.change.version_from };
    let attempt = attempt(job, step, vec![Fact::Reference(reference), Fact::Unit(unit)]);
    let attempt = Attempt { take_back: journal.rollback, ..attempt };
    if journal.proven { proven(attempt) } else { attempt }
}

fn proven(attempt: Attempt) -> Attempt {
    Attempt { stage: Stage::Proven { side: Side::New, why: None }, ..attempt }
}

fn attempt(job: &JobId, step: Step, facts: Vec<Fact>) -> Attempt {
    let stage = match step {
        Step::RollBack => Stage::Back { why: Setback::new(Cause::Setup, "the former process was taking it back") },
        Step::HooksAfter => Stage::Proven { side: Side::New, why: None },
        _ => Stage::Forward,
    };
    Attempt { job: job.clone(), intent: Intent::Update, facts, take_back: true, stage, exposed: false, deaths: 0 }
}
