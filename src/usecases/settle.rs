//! Brings an app in order whose job lost its process in the middle: a crash, a power cut, a kill.

use std::sync::Arc;
use std::time::Instant;

use super::apply::Work;
use super::context::Restock;
use super::jobs::Running;
use super::resolve::{check_directory, config, containers_of, redactor};
use super::update_app::{give_up, patience, service_changes, settings};
use super::update_container::settle_container;
use super::update_unit::settle_unit;
use crate::adapters::compose::ProjectCall;
use crate::adapters::engine::{Engine, EngineError};
use crate::domain::container::{Container, ContainerState};
use crate::domain::hook::Hook;
use crate::domain::job::{Job, JobResult, Kind, Outcome, State, Step};
use crate::domain::journal::{Journal, StandaloneJournal};
use crate::error::Error;

/// Compose names a replacement `<12 hex>_<name>` until the original is gone.
const REPLACEMENT_PREFIX: usize = 12;

impl Restock {
    /// Settles every job that never ended and that no living process works on. Failures are told and left for later:
    /// whoever works on the app next settles it first.
    pub async fn settle_all(self: &Arc<Self>) -> Result<(), Error> {
        for job in self.store.running().await? {
            if self.jobs.find(&job.id).is_none()
                && let Err(error) = self.settle_one(job.clone()).await
            {
                tracing::error!(job.id = %job.id, %error, "an interrupted job could not be settled yet");
            }
        }
        Ok(())
    }

    async fn settle_one(self: &Arc<Self>, job: Job) -> Result<(), Error> {
        let Some(lock) = self.locks.try_target(&job.target)? else { return Ok(()) };
        // It may have ended between the list and the lock.
        if self.store.job(&job.id).await?.is_none_or(|now| now.state == State::Finished) {
            return Ok(());
        }
        self.resume(job, lock);
        Ok(())
    }
}

/// Finishes or takes back what `was` had begun, proves it, and reports it as interrupted.
pub(super) async fn settle(running: &Running, was: &Job) -> Result<JobResult, Error> {
    let started = Instant::now();
    let restock = &running.restock;
    let step = was.step.unwrap_or(Step::Resolve);
    if was.kind == Kind::ContainerUpdate {
        return match restock.store.journal(&was.id).await?.filter(|_| step.touches_containers()) {
            Some(StandaloneJournal::Container(journal)) => settle_container(running, was, &journal).await,
            Some(StandaloneJournal::Unit(journal)) => settle_unit(running, was, &journal).await,
            None => Ok(report(running, None, "nothing had been touched", started)),
        };
    }
    let journal = restock.store.journal::<Journal>(&was.id).await?;
    let Some(journal) = journal.filter(|_| step.touches_containers()) else {
        // `up` and `down` have no journal: there is nothing to go back to, and the owner can simply ask again.
        let what = if step.touches_containers() { "a part of it may be done" } else { "nothing had been touched" };
        return Ok(report(running, None, what, started));
    };
    let Ok(app) = restock.apps.find(was.target.name()) else {
        return Ok(report(running, None, "the app is gone since", started));
    };
    let compose = restock.compose().await?;
    let call = ProjectCall::new(&app.path).with_profiles(journal.profiles.iter().cloned());
    let model = config(&compose, &app, &call).await?;
    let containers = containers_of(&model.project, &restock.engine.containers().await?);
    check_directory(&app, &containers)?;
    clean_leftovers(&restock.engine, &containers).await?;
    let settings = settings(&model, &app)?;
    let redactor = redactor(&app, &model);
    let patience = patience(running, &settings);
    let work = Work { running, app: &app, compose, call, model, redactor, journal, patience, selected: None };
    if step != Step::RollBack {
        let before = restock.engine.project_containers(&work.journal.project).await?;
        match work.apply(&before, &work.targets()).await {
            Ok(_) => {
                let mut report = report(running, Some(&work.journal), "what was begun has been finished", started);
                report.warnings.extend(finish_hooks(&work, step, &settings.hooks.after).await);
                return Ok(report);
            }
            Err(reason) if !work.journal.rollback => {
                return Err(give_up(&work, reason, service_changes(&work.journal)).await);
            }
            Err(reason) => running.warn(&format!("it could not be finished, it is taken back: {}", reason.reason)),
        }
        running.step(Step::RollBack).await?;
    }
    match work.take_back().await {
        Ok(()) => Ok(report(running, None, "what was begun has been taken back", started)),
        Err(reason) => Err(super::apply::failure(
            "rollback_failed",
            format!("the interrupted job on `{}` could not be taken back: {}", app.name, reason.reason),
            &reason,
            &work.redactor,
        )),
    }
}

/// The hooks that come after an update, unless they may have run already: nobody knows what twice would do.
async fn finish_hooks(work: &Work<'_>, step: Step, after: &[Hook]) -> Vec<String> {
    if step == Step::HooksAfter {
        return vec!["some of the hooks that come after an update may not have run".into()];
    }
    work.hooks_after(after).await
}

fn report(running: &Running, updated: Option<&Journal>, what: &str, started: Instant) -> JobResult {
    JobResult {
        updated: updated.is_some(),
        services: updated.map(service_changes).unwrap_or_default(),
        warnings: vec![format!("the process ended in the middle of this job; {what}")],
        ..JobResult::of(running.handle.id.clone(), Outcome::Interrupted, started.elapsed())
    }
}

/// Puts away what a Compose that was killed left: a replacement that never took its original's place.
///
/// The next `up` would remove the original and keep the odd name for good. A replacement whose original is gone gets
/// the name instead: it holds the original's anonymous volumes.
pub(super) async fn clean_leftovers(engine: &Engine, containers: &[Container]) -> Result<(), EngineError> {
    for container in containers {
        let Some(original) = original_name(container) else { continue };
        if containers.iter().any(|other| other.name == original) {
            tracing::info!(container = container.name, "removing a replacement that was never started");
            engine.remove(&container.id).await?;
        } else {
            tracing::info!(container = container.name, name = original, "giving a replacement its name");
            engine.rename(&container.id, original).await?;
        }
    }
    Ok(())
}

fn original_name(container: &Container) -> Option<&str> {
    let (prefix, name) = container.name.split_once('_')?;
    let hex = prefix.len() == REPLACEMENT_PREFIX && prefix.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    (hex && container.compose.is_some() && container.state == ContainerState::Created).then_some(name)
}
