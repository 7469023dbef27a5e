//! The only judge of failures: what stopped an attempt, and what that means.

use std::collections::BTreeSet;

use super::failure::Failure;
use super::work::Work;
use crate::adapters::command::CommandError;
use crate::adapters::compose::{PullProblem, pull_problem, readable};
use crate::adapters::engine::EngineError;
use crate::adapters::systemd::SystemdError;
use crate::domain::app::ServiceName;
use crate::domain::attempt::{Cause, Obstacle, Refusal, Setback, Side, Stage};
use crate::domain::proof::Verdict;

/// Says what a failure means. It asks the engine whether it lives: an engine that went away explains everything.
pub(super) async fn classify(work: &Work<'_>, failure: Failure) -> Setback {
    let mut setback = judged(work, failure).await;
    let engine_matters = matches!(setback.cause, Cause::Image(_) | Cause::Setup | Cause::Lost);
    if engine_matters && work.running.host.engine.info().await.is_err() {
        setback.cause = Cause::Obstacle(Obstacle::Engine);
    }
    setback
}

async fn judged(work: &Work<'_>, failure: Failure) -> Setback {
    match failure {
        Failure::Engine(error @ (EngineError::Unreachable { .. } | EngineError::Timeout { .. })) => {
            Setback::new(Cause::Obstacle(Obstacle::Engine), error.to_string())
        }
        Failure::Engine(error) => work.of_container(Setback::new(Cause::Setup, error.to_string())),
        Failure::Command(error) => command(work, error).await,
        Failure::Systemd(error) => systemd(work, &error),
        Failure::Store(error) => Setback::new(Cause::NotRecorded, error.to_string()),
        Failure::Unproven(unproven) => {
            let reason = format!("{} does not work: {}", work.shown(&unproven.service), work.clean(&unproven.reason));
            let blamed = work.is_target(&unproven.service);
            let cause = if blamed { Cause::Image([unproven.service.clone()].into()) } else { Cause::Setup };
            Setback { service: Some(unproven.service), ..Setback::new(cause, reason) }
        }
        Failure::NoEffect(action) => {
            Setback::new(Cause::Setup, format!("the action `{}` had no effect", action.word()))
        }
        Failure::Stuck(setback) => setback,
        Failure::Missing(reason) => work.of_container(Setback::lost(reason)),
    }
}

/// A Compose that failed: the image's fault only where a container of it has been started and does not work.
async fn command(work: &Work<'_>, error: CommandError) -> Setback {
    let said = match &error {
        CommandError::Exit { stderr, .. } => work.clean(&readable(stderr)),
        other => other.to_string(),
    };
    let reason = said.lines().last().unwrap_or("docker compose failed").to_owned();
    let engine_gone =
        matches!(&error, CommandError::Exit { stderr, .. } if pull_problem(stderr) == PullProblem::EngineGone);
    let cause = match &error {
        CommandError::Timeout { .. } => Cause::Obstacle(Obstacle::ComposeRuns),
        CommandError::NotFound { .. } | CommandError::Spawn { .. } => Cause::Obstacle(Obstacle::ComposeFile),
        _ if engine_gone => Cause::Obstacle(Obstacle::Engine),
        _ => {
            let bad = if work.attempt.stage == Stage::Forward { bad_targets(work).await } else { BTreeSet::new() };
            if bad.is_empty() { Cause::Setup } else { Cause::Image(bad) }
        }
    };
    let service = match &cause {
        Cause::Image(services) => services.first().cloned(),
        _ => None,
    };
    let command = work.command_and_output(&error);
    Setback { service, command, ..Setback::new(cause, reason) }
}

/// The services that run New and have failed by their own fault.
async fn bad_targets(work: &Work<'_>) -> BTreeSet<ServiceName> {
    let Some(project) = work.attempt.project() else { return BTreeSet::new() };
    let engine = &work.running.host.engine;
    let expected = super::proof::expectations(work, Side::New, &BTreeSet::new());
    let mut bad = BTreeSet::new();
    for container in engine.project_containers(&project.name).await.unwrap_or_default() {
        let Some(service) = container.compose.as_ref().map(|labels| labels.service.clone()) else { continue };
        let Some(expectation) = expected.get(&service) else { continue };
        let Ok(Some(vitals)) = engine.vitals(&container.id).await else { continue };
        let runs_new = expectation.image.as_ref().is_some_and(|image| image.is_run_by(&vitals));
        let verdict = crate::domain::proof::judge(&vitals, expectation, work.patience.settle, work.patience.settle);
        if runs_new && vitals.started_at.is_some() && matches!(verdict, Verdict::Bad(_)) {
            bad.insert(service);
        }
    }
    bad
}

fn systemd(work: &Work<'_>, error: &SystemdError) -> Setback {
    // A restart may have begun, in this process or in one before it.
    let begun = work.attempt.stage != Stage::Forward || work.resumed || work.obstructed.is_some();
    let cause = match error {
        SystemdError::Lost { .. } => Cause::Obstacle(Obstacle::ServiceManager),
        SystemdError::NoBus { .. } | SystemdError::NoSystemd { .. } if begun => {
            Cause::Obstacle(Obstacle::ServiceManager)
        }
        error if error.touched() || begun => Cause::Setup,
        SystemdError::NoBus { .. } | SystemdError::NoSystemd { .. } => Cause::NotBegun(Refusal::Unreachable),
        SystemdError::Denied { .. } => Cause::NotBegun(Refusal::Denied),
        _ => Cause::NotBegun(Refusal::Refused),
    };
    work.of_container(Setback::new(cause, error.to_string()))
}
