//! Keeps what containers that did not work said and did, before they are taken back and it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::attempt::Work;
use crate::adapters::compose::Redactor;
use crate::adapters::engine::{Autopsy, Engine};
use crate::domain::app::{ProjectName, ServiceName};
use crate::domain::container::Container;
use crate::domain::evidence::FailedContainer;
use crate::domain::plan::by_service;
use crate::domain::proof::{Expectation, Verdict, judge};

/// Of how many containers evidence is kept.
const CONTAINERS: usize = 10;

impl Work<'_> {
    /// Keeps what is left of the containers that did not work, before anything is taken back; `blamed` is the service that
    /// failed, whose container may run again by now.
    ///
    /// A look that fails keeps less, and is no failure of its own.
    pub(super) async fn keep_evidence(&mut self, blamed: Option<&ServiceName>) {
        let engine = &self.running.host.engine;
        self.failed_containers = if let (Some(project), Some(scene)) = (self.attempt.project(), &self.scene) {
            let expected = self.expected_of_new().await;
            of_project(engine, &project.name, &expected, blamed, &scene.redactor).await
        } else {
            let Ok(containers) = engine.containers().await else { return };
            let slot = self.attempt.slot().and_then(|slot| slot.sides(&containers).new);
            let unit = self
                .attempt
                .unit()
                .and_then(|unit| containers.iter().find(|container| container.unit.as_ref() == Some(&unit.unit)));
            match slot.or(unit) {
                Some(container) => of_container(engine, container, self.name()).await,
                None => Vec::new(),
            }
        };
    }
}

/// Looks at the containers of the services that had to prove themselves.
async fn of_project(
    engine: &Engine,
    project: &ProjectName,
    expected: &BTreeMap<ServiceName, Expectation>,
    blamed: Option<&ServiceName>,
    redactor: &Redactor,
) -> Vec<FailedContainer> {
    let Ok(containers) = engine.project_containers(project).await else { return Vec::new() };
    let services = by_service(&containers);
    let mut kept = Vec::new();
    for (service, expectation) in expected {
        let mut looked_at = Vec::new();
        for container in services.get(service).into_iter().flatten() {
            // One that never got the image it was to run has nothing to do with it.
            if let Ok(Some(autopsy)) = engine.autopsy(&container.id).await
                && expectation.image.as_ref().is_none_or(|image| image.is_run_by(&autopsy.vitals))
            {
                looked_at.push((*container, autopsy));
            }
        }
        let fails = |(_, autopsy): &(&Container, Autopsy)| !works(autopsy, expectation);
        let all = blamed == Some(service) && !looked_at.iter().any(fails);
        for (container, autopsy) in looked_at.into_iter().filter(|looked_at| all || fails(looked_at)) {
            if kept.len() < CONTAINERS {
                kept.push(keep(engine, service, container, autopsy, redactor).await);
            }
        }
    }
    kept
}

/// Keeps what is left of a container that belongs to no app; nothing of one that is gone.
async fn of_container(engine: &Engine, container: &Container, name: &str) -> Vec<FailedContainer> {
    let Ok(Some(autopsy)) = engine.autopsy(&container.id).await else { return Vec::new() };
    let secrets = super::prove::variables_set_by_hand(engine, &container.id).await;
    let redactor = Redactor::new(secrets, &[name]);
    vec![keep(engine, &ServiceName::new(name), container, autopsy, &redactor).await]
}

/// The log stays as it was written: it is what the app's own logs show. A healthcheck's words go through the same sieve
/// as everywhere else.
async fn keep(
    engine: &Engine,
    service: &ServiceName,
    container: &Container,
    autopsy: Autopsy,
    redactor: &Redactor,
) -> FailedContainer {
    let Autopsy { vitals, oom_killed } = autopsy;
    FailedContainer {
        service: service.clone(),
        container: container.name.clone(),
        state: vitals.state,
        exit_code: vitals.exit_code,
        oom_killed,
        health: vitals.health,
        health_output: vitals.health_output.map(|output| redactor.clean(&output)),
        log: engine.last_words(&container.id).await,
    }
}

/// Returns whether a container would pass the proof if it stayed as it is.
fn works(autopsy: &Autopsy, expected: &Expectation) -> bool {
    judge(&autopsy.vitals, expected, Duration::MAX, Duration::ZERO) == Verdict::Good
}
