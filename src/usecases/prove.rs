//! Looks at containers until they have proved themselves, or cannot any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::context::Limits;
use crate::adapters::compose::Redactor;
use crate::adapters::engine::{Engine, EngineError};
use crate::domain::app::{ProjectName, ServiceName};
use crate::domain::container::{Container, Vitals};
use crate::domain::plan::by_service;
use crate::domain::project::AppSettings;
use crate::domain::proof::{Expectation, Verdict, judge};

/// How long the proof may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub health_timeout: Duration,
    pub settle: Duration,
    /// How often containers are looked at.
    pub look: Duration,
}

/// A service that did not prove itself.
#[derive(Debug, Clone)]
pub struct Unproven {
    pub service: ServiceName,
    pub reason: String,
}

/// Why a proof did not come to its end.
#[derive(Debug)]
pub enum NotProven {
    /// The engine does not answer: nothing can be said of the containers.
    Engine(EngineError),
    Unproven(Unproven),
}

impl From<EngineError> for NotProven {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// Proves every service of `expected`; gives the containers of the project as they are afterwards.
///
/// # Errors
/// The first service that does not work, or an engine that does not answer: the proof starts again when it is back, so that
/// its clocks run only while the engine answers.
pub async fn prove(
    engine: &Engine,
    project: &ProjectName,
    expected: &BTreeMap<ServiceName, Expectation>,
    patience: Patience,
) -> Result<Vec<Container>, NotProven> {
    let mut watch = Watch { started: Instant::now(), lives: HashMap::new() };
    loop {
        match watch.look(engine, project, expected, patience).await? {
            Sight::Good(containers) => return Ok(containers),
            Sight::Bad(unproven) => return Err(NotProven::Unproven(unproven)),
            Sight::Again => tokio::time::sleep(patience.look).await,
        }
    }
}

/// Proves a container that belongs to no app.
///
/// # Errors
/// As [`prove`].
pub(super) async fn prove_standalone(
    engine: &Engine,
    id: &str,
    name: &str,
    expected: &Expectation,
    patience: Patience,
) -> Result<(), NotProven> {
    // Before the proof: one that fails may remove itself.
    let secrets = variables_set_by_hand(engine, id).await;
    let service = ServiceName::new(name);
    let mut watch = Watch { started: Instant::now(), lives: HashMap::new() };
    let reason = loop {
        let Some(vitals) = engine.vitals(id).await? else { break "it is gone".to_owned() };
        match judge(&vitals, expected, watch.life_of(id, &vitals), patience.settle) {
            Verdict::Good => return Ok(()),
            Verdict::Bad(reason) => break reason,
            Verdict::Wait(reason) => {
                let limit = patience.limit(vitals.start_period);
                if watch.started.elapsed() >= limit {
                    break format!("after {} s {reason}", limit.as_secs());
                }
            }
        }
        tokio::time::sleep(patience.look).await;
    };
    // A healthcheck may say more than it should.
    let reason = Redactor::new(secrets, &[name]).clean(&reason);
    Err(NotProven::Unproven(Unproven { service, reason }))
}

/// The values that a person gave the container's variables; one that is gone already has none to tell.
pub(super) async fn variables_set_by_hand(engine: &Engine, id: &str) -> Vec<String> {
    let Ok(container) = engine.inspect(id).await else { return Vec::new() };
    let image = engine.inspect_image(container["Image"].as_str().unwrap_or_default()).await.ok().flatten();
    let entries = |inspected: &Value| {
        let entries = inspected["Config"]["Env"].as_array().into_iter().flatten();
        entries.filter_map(|entry| entry.as_str().map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    let given = image.as_ref().map(entries).unwrap_or_default();
    let own = entries(&container).into_iter().filter(|entry| !given.contains(entry));
    own.filter_map(|entry| Some(entry.split_once('=')?.1.to_owned())).collect()
}

impl Limits {
    /// How long a proof may take where `settings` say nothing else.
    pub(super) fn patience(&self, settings: &AppSettings) -> Patience {
        Patience {
            health_timeout: settings.health_timeout.unwrap_or(self.health_timeout),
            settle: settings.settle.unwrap_or(self.settle),
            look: self.waits.look,
        }
    }
}

impl Patience {
    /// A container that is still within its own start period has not failed yet.
    fn limit(self, start_period: Duration) -> Duration {
        self.health_timeout.max(start_period).max(self.settle + self.look * 4)
    }
}

enum Sight {
    Good(Vec<Container>),
    Again,
    Bad(Unproven),
}

struct Watch {
    started: Instant,
    /// Since when each container is in its present life.
    lives: HashMap<String, (String, Instant)>,
}

impl Watch {
    async fn look(
        &mut self,
        engine: &Engine,
        project: &ProjectName,
        expected: &BTreeMap<ServiceName, Expectation>,
        patience: Patience,
    ) -> Result<Sight, EngineError> {
        let containers = engine.project_containers(project).await?;
        let services = by_service(&containers);
        let mut waiting = None;
        for (service, expectation) in expected {
            let bad = |reason: String| Ok(Sight::Bad(Unproven { service: service.clone(), reason }));
            let Some(replicas) = services.get(service) else {
                return bad("it has no container".into());
            };
            let looks = replicas.iter().map(|replica| engine.vitals(&replica.id));
            for (replica, vitals) in replicas.iter().zip(futures_util::future::try_join_all(looks).await?) {
                let Some(vitals) = vitals else {
                    waiting = Some((service, "it is being replaced".to_owned(), Duration::ZERO));
                    continue;
                };
                match judge(&vitals, expectation, self.life_of(&replica.id, &vitals), patience.settle) {
                    Verdict::Good => {}
                    Verdict::Wait(reason) => waiting = Some((service, reason, vitals.start_period)),
                    Verdict::Bad(reason) => return bad(reason),
                }
            }
        }
        let Some((service, reason, start_period)) = waiting else {
            return Ok(Sight::Good(containers));
        };
        let limit = patience.limit(start_period);
        if self.started.elapsed() < limit {
            return Ok(Sight::Again);
        }
        let reason = format!("after {} s {reason}", limit.as_secs());
        Ok(Sight::Bad(Unproven { service: service.clone(), reason }))
    }

    /// How long a container has been as it is now, by this machine's clock: a remote engine's may differ.
    fn life_of(&mut self, id: &str, vitals: &Vitals) -> Duration {
        let life = format!("{:?} {:?} {}", vitals.state, vitals.started_at, vitals.restarts);
        let known = self.lives.entry(id.to_owned()).or_insert_with(|| (life.clone(), Instant::now()));
        if known.0 != life {
            *known = (life, Instant::now());
        }
        known.1.elapsed()
    }
}
