//! The proof of a side: everything the attempt was about, and everything that was started or made since it began.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::Failure;
use super::observe::container_of;
use super::work::Work;
use crate::adapters::engine::Engine;
use crate::domain::app::ServiceName;
use crate::domain::attempt::slot::SlotSeen;
use crate::domain::attempt::{Fact, ProjectFact, Reference, Seen, Side};
use crate::domain::container::Container;
use crate::domain::job::{RecreateReason, Recreated};
use crate::domain::plan::by_service;
use crate::domain::proof::{Expectation, ExpectedImage};
use crate::usecases::prove::{self, NotProven, Unproven};

/// Proves `side`; gives the services that Compose recreated or restarted although their image is the same.
pub(super) async fn prove(work: &Work<'_>, side: Side, seen: &[Seen]) -> Result<Vec<Recreated>, Failure> {
    for (fact, seen) in work.attempt.facts.iter().zip(seen) {
        match (fact, seen) {
            (Fact::Project(project), _) => return prove_project(work, project, side).await,
            (Fact::Slot(slot), Seen::Slot(seen)) => prove_slot(work, seen, &slot.name, slot.running, side).await?,
            (Fact::Unit(unit), _) => {
                let containers = work.running.host.engine.containers().await?;
                let image = unit.image(side);
                let found = container_of(unit, image, &containers).ok_or_else(|| {
                    let reason = format!("the unit {} has no container", unit.unit);
                    Failure::Unproven(Unproven { service: ServiceName::new(unit.name.as_str()), reason })
                })?;
                standalone(work, &found.id, &unit.name, true, side).await?;
            }
            _ => {}
        }
    }
    Ok(Vec::new())
}

async fn prove_slot(work: &Work<'_>, seen: &SlotSeen, name: &str, up: bool, side: Side) -> Result<(), Failure> {
    let occupant = seen.side(side).ok_or_else(|| Failure::Missing("its container is gone".into()))?;
    standalone(work, &occupant.id, name, up, side).await
}

async fn standalone(work: &Work<'_>, id: &str, name: &str, up: bool, side: Side) -> Result<(), Failure> {
    let image = work.attempt.references().find_map(|reference| expected_image(reference, side));
    let expected = Expectation { image, up, completes: false, may_be_unhealthy: false };
    let proven = prove::prove_standalone(&work.running.host.engine, id, name, &expected, work.patience).await;
    proven.map_err(not_proven)
}

async fn prove_project(work: &Work<'_>, project: &ProjectFact, side: Side) -> Result<Vec<Recreated>, Failure> {
    let engine = &work.running.host.engine;
    let touched = touched(engine, project).await?;
    let expected = expectations(work, side, &touched);
    let proven = prove::prove(engine, &project.name, &expected, work.patience).await;
    let after = proven.map_err(not_proven)?;
    // A restart during the proof shows only now.
    let touched: BTreeSet<_> = touched.into_iter().chain(made_since(project, &after)).collect();
    Ok(recreated(work, &touched, &after))
}

impl Work<'_> {
    /// What every service must show that New has been started for, or that was touched by it.
    pub(in crate::usecases) async fn expected_of_new(&self) -> BTreeMap<ServiceName, Expectation> {
        let touched = match self.attempt.project() {
            Some(project) => touched(&self.running.host.engine, project).await.unwrap_or_default(),
            None => BTreeSet::new(),
        };
        expectations(self, Side::New, &touched)
    }
}

fn not_proven(error: NotProven) -> Failure {
    match error {
        NotProven::Engine(error) => Failure::Engine(error),
        NotProven::Unproven(unproven) => Failure::Unproven(unproven),
    }
}

/// The services that have a container which was started or made since the attempt began, whichever process did so.
async fn touched(engine: &Engine, project: &ProjectFact) -> Result<BTreeSet<ServiceName>, Failure> {
    let containers = engine.project_containers(&project.name).await?;
    let looks = containers.iter().map(|container| engine.vitals(&container.id));
    let vitals = futures_util::future::try_join_all(looks).await?;
    let started = containers.iter().zip(vitals).filter(|(container, vitals)| {
        project.is_touched(&container.id, vitals.as_ref().and_then(|vitals| vitals.started_at))
    });
    Ok(started.filter_map(|(container, _)| service_of(container)).collect())
}

fn made_since(project: &ProjectFact, containers: &[Container]) -> BTreeSet<ServiceName> {
    let made = containers.iter().filter(|container| project.is_touched(&container.id, None));
    made.filter_map(service_of).collect()
}

fn service_of(container: &Container) -> Option<ServiceName> {
    container.compose.as_ref().filter(|labels| !labels.one_off).map(|labels| labels.service.clone())
}

/// What each service must show: those with a reference their image, all no worse a state than before.
pub(super) fn expectations(
    work: &Work<'_>,
    side: Side,
    touched: &BTreeSet<ServiceName>,
) -> BTreeMap<ServiceName, Expectation> {
    let (Some(project), Some(scene)) = (work.attempt.project(), &work.scene) else { return BTreeMap::new() };
    let one_shots = scene.model.project.one_shots();
    let lost = |reference: &&Reference| !work.lost.contains(&reference.change.service);
    let targets = work.attempt.references().filter(lost);
    let images: BTreeMap<_, _> =
        targets.map(|reference| (&reference.change.service, expected_image(reference, side))).collect();
    let expectation = |service: &ServiceName| {
        let was = project.before.get(service);
        Expectation {
            image: images.get(service).cloned().flatten(),
            up: was.is_some_and(|was| was.running),
            completes: one_shots.contains(service),
            may_be_unhealthy: was.is_some_and(|was| was.unhealthy) && !images.contains_key(service),
        }
    };
    let services: BTreeSet<_> = images.keys().copied().chain(touched).collect();
    services.into_iter().map(|service| (service.clone(), expectation(service))).collect()
}

/// A containerd store shows the platform's manifest of New; Old is known by its ID.
fn expected_image(reference: &Reference, side: Side) -> Option<ExpectedImage> {
    let manifest = if side == Side::New { reference.change.to_manifest.clone() } else { None };
    Some(ExpectedImage { id: reference.image(side)?.clone(), manifest })
}

fn recreated(work: &Work<'_>, touched: &BTreeSet<ServiceName>, after: &[Container]) -> Vec<Recreated> {
    let (Some(project), Some(scene)) = (work.attempt.project(), &work.scene) else { return Vec::new() };
    let changed: BTreeSet<_> = work.attempt.references().map(|reference| reference.change.service.clone()).collect();
    let dependents = scene.model.project.with_dependents(&changed);
    let others = touched.iter().filter(|service| !changed.contains(*service));
    let services = by_service(after);
    others
        .filter_map(|service| {
            let replicas = services.get(service)?;
            let made = replicas.iter().any(|replica| project.is_touched(&replica.id, None));
            let was_up = project.before.get(service).is_some_and(|was| was.running);
            if !made && !was_up {
                return None;
            }
            let by_dependency = dependents.contains(service) || !made;
            let reason = if by_dependency { RecreateReason::Dependency } else { RecreateReason::Config };
            Some(Recreated { service: service.clone(), reason })
        })
        .collect()
}
