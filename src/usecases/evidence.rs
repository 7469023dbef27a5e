//! Keeps what containers that did not work said and did, before they are taken back and it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::apply::Work;
use crate::adapters::compose::Redactor;
use crate::adapters::engine::{Autopsy, Engine};
use crate::domain::app::ServiceName;
use crate::domain::container::Container;
use crate::domain::evidence::FailedContainer;
use crate::domain::plan::by_service;
use crate::domain::proof::{Expectation, Verdict, judge};

/// Of how many containers evidence is kept.
const CONTAINERS: usize = 10;

/// What was found after a failure.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub containers: Vec<FailedContainer>,
    /// A container was started from an image it was to run, and did not work: that speaks against the image.
    pub against_images: bool,
}

impl Work<'_> {
    /// Looks at the containers of the services that had to prove themselves, and keeps what is left of those that do
    /// not work; `blamed` is the service that failed, whose container may run again by now.
    ///
    /// A look that fails keeps less, and is no failure of its own.
    pub(super) async fn evidence(
        &self,
        expected: &BTreeMap<ServiceName, Expectation>,
        blamed: Option<&ServiceName>,
    ) -> Evidence {
        let engine = &self.running.restock.engine;
        let mut evidence = Evidence::default();
        let Ok(containers) = engine.project_containers(&self.journal.project).await else { return evidence };
        let services = by_service(&containers);
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
                evidence.against_images |= expectation.image.is_some() && autopsy.vitals.started_at.is_some();
                if evidence.containers.len() < CONTAINERS {
                    evidence.containers.push(keep(engine, service, container, autopsy, &self.redactor).await);
                }
            }
        }
        evidence
    }
}

/// Keeps what is left of a container that belongs to no app; nothing of one that is gone.
pub(super) async fn evidence_of(engine: &Engine, id: &str, name: &str) -> Vec<FailedContainer> {
    let Ok(containers) = engine.containers().await else { return Vec::new() };
    let Some(container) = containers.into_iter().find(|container| container.id == id) else { return Vec::new() };
    let Ok(Some(autopsy)) = engine.autopsy(id).await else { return Vec::new() };
    let secrets = super::prove::variables_set_by_hand(engine, id).await;
    let redactor = Redactor::new(secrets, &[name]);
    vec![keep(engine, &ServiceName::new(name), &container, autopsy, &redactor).await]
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

/// Whether a container would pass the proof if it stayed as it is.
fn works(autopsy: &Autopsy, expected: &Expectation) -> bool {
    judge(&autopsy.vitals, expected, Duration::MAX, Duration::ZERO) == Verdict::Good
}
