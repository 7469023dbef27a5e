//! The one loop that every change goes through: the first try, the way back, and what a crash has left.

use std::collections::BTreeSet;
use std::time::Instant;

use super::actions::{follow_dependents, perform};
use super::classify::classify;
use super::ending::{Closing, blocked};
use super::failure::Failure;
use super::observe::observe;
use super::proof::prove;
use super::work::Work;
use crate::adapters::store::StoreError;
use crate::domain::app::ServiceName;
use crate::domain::attempt::{
    Action, Attempt, Cause, Fact, Hold, Intent, Next, Obstacle, Seen, Setback, Side, Stage, ThisRun, after, next,
};
use crate::domain::job::{JobResult, Step};
use crate::error::Error;

/// Deaths in Forward after which New is not tried again.
const DEATHS: u32 = 2;

/// What one turn of the loop has led to.
enum Turn {
    Again,
    Closed(Closing),
}

/// Brings an attempt to its end, from whatever stage it is in.
///
/// # Errors
/// How it ended where it did not succeed; [`Code::Unsettled`](crate::error::Code) where it stays open.
pub(crate) async fn run(mut work: Work<'_>) -> Result<JobResult, Error> {
    let started = Instant::now();
    let died = work.attempt.deaths >= DEATHS && work.attempt.stage == Stage::Forward;
    let mut failed = died.then(|| {
        let setback = Setback::new(Cause::DiedTwice, "Restock has ended twice in the middle of it");
        Failure::Stuck(setback)
    });
    loop {
        let turned = match failed.take() {
            Some(failure) => Err(failure),
            None => turn(&mut work).await,
        };
        let failure = match turned {
            Ok(Turn::Again) => continue,
            Ok(Turn::Closed(verdict)) => return end(work, verdict, started).await,
            Err(Failure::Store(StoreError::Taken { .. })) => return Err(blocked(&work, Obstacle::Taken).await),
            Err(failure) => failure,
        };
        let setback = classify(&work, failure).await;
        if work.attempt.stage == Stage::Forward && matches!(setback.cause, Cause::Image(_) | Cause::Setup) {
            work.keep_evidence(setback.service.as_ref()).await;
        }
        match after(&work.attempt, setback.clone()) {
            Err(obstacle) if passes(&mut work, obstacle).await => {
                work.run = ThisRun::default();
                work.last = None;
            }
            Err(obstacle) => return Err(blocked(&work, obstacle).await),
            Ok(Some(stage)) => {
                work.running.warn(&format!("the {} failed and is taken back: {}", work.what(), setback.reason));
                failed = enter(&mut work, stage).await.err().map(Failure::Store);
            }
            Ok(None) => {
                let verdict = match &work.attempt.stage {
                    Stage::Proven { .. } => {
                        work.warn(format!("after the {}, cleaning up failed: {}", work.what(), setback.reason));
                        Closing::proven(&work.attempt.stage)
                    }
                    _ => {
                        hold(&work, &setback).await;
                        Closing::Failed(setback)
                    }
                };
                return end(work, verdict, started).await;
            }
        }
    }
}

/// Reports an end. Before that, containers follow those whose namespaces they shared: these may have been replaced
/// however the attempt ended.
async fn end(mut work: Work<'_>, verdict: Closing, started: Instant) -> Result<JobResult, Error> {
    if !work.run.did(&Action::FollowDependents) {
        follow_dependents(&mut work).await;
    }
    verdict.report(&work, started)
}

async fn turn(work: &mut Work<'_>) -> Result<Turn, Failure> {
    let seen = observe(work).await?;
    match next(&work.attempt, &seen, &work.run) {
        Next::Do(action) => {
            act(work, action, seen).await?;
            Ok(Turn::Again)
        }
        Next::Prove { side, lost } => {
            work.lost = lost_services(&work.attempt, &seen, side);
            work.begin_proof().await;
            work.recreated = prove(work, side, &seen).await?;
            work.obstructed = None;
            if side == Side::New && work.attempt.intent == Intent::Update {
                let differences = work.differences().await;
                work.warnings.extend(differences);
            }
            if let Some(lost) = lost {
                return Ok(Turn::Closed(Closing::Failed(lost)));
            }
            let why = match &work.attempt.stage {
                Stage::Back { why } => Some(why.clone()),
                _ => None,
            };
            enter(work, Stage::Proven { side, why }).await?;
            Ok(Turn::Again)
        }
        Next::Stuck(setback) => Err(Failure::Stuck(setback)),
        Next::Close => Ok(Turn::Closed(Closing::proven(&work.attempt.stage))),
    }
}

async fn act(work: &mut Work<'_>, action: Action, seen: Vec<Seen>) -> Result<(), Failure> {
    if work.repeats(&action, &seen) {
        return Err(Failure::NoEffect(action));
    }
    note(work, &action).await?;
    match perform(work, &action, &seen).await {
        Ok(Some((side, id))) => work.record_made(side, id).await?,
        Ok(None) => {}
        Err(failure) if matches!(work.attempt.stage, Stage::Proven { .. }) => {
            let setback = classify(work, failure).await;
            // It is waited for, like at any other action: otherwise what is left would stay for ever.
            if matches!(setback.cause, Cause::Obstacle(_)) {
                return Err(Failure::Stuck(setback));
            }
            work.could_not_tidy(&action, &setback.reason);
        }
        Err(failure) => return Err(failure),
    }
    work.obstructed = None;
    work.last = Some((action.clone(), seen));
    work.run.done.push(action);
    Ok(())
}

/// Records a stage and then is in it. A verdict is written again and again until it is recorded: before that nothing may
/// be removed. On the way back a failed write is logged, and the way goes on.
async fn enter(work: &mut Work<'_>, stage: Stage) -> Result<(), StoreError> {
    let step = matches!(stage, Stage::Back { .. }).then_some(Step::RollBack);
    let (held, forgotten) = work.remembered(&stage);
    let entered = Attempt { stage, ..work.attempt.clone() };
    let host = &work.running.host;
    let until = Instant::now() + host.service.limits.waits.writes;
    loop {
        let written =
            host.service.store.enter(&entered, &host.service.worker, step, &held, &work.owner(), &forgotten).await;
        match (written, &entered.stage) {
            (Ok(()), _) => break,
            (Err(error @ StoreError::Taken { .. }), _) => return Err(error),
            (Err(error), Stage::Back { .. }) => {
                tracing::error!(%error, "the way back is not recorded; it goes on");
                break;
            }
            (Err(error), Stage::Proven { .. }) => {
                tracing::error!(%error, "the verdict is not recorded yet; nothing is removed before it is");
            }
            (Err(error), _) if Instant::now() >= until => return Err(error),
            (Err(error), _) => tracing::warn!(%error, "the stage is not recorded yet"),
        }
        tokio::time::sleep(host.service.limits.waits.retry).await;
    }
    work.attempt = entered;
    work.run = ThisRun::default();
    work.last = None;
    if let Some(step) = step {
        work.running.tell_step(step);
    }
    Ok(())
}

/// Records an action before it is done.
async fn note(work: &mut Work<'_>, action: &Action) -> Result<(), StoreError> {
    let host = &work.running.host;
    let until = Instant::now() + host.service.limits.waits.writes;
    loop {
        let job = &work.attempt.job;
        match host.service.store.begin_action(job, &host.service.worker, action.word(), action.exposes()).await {
            Ok(()) => break,
            Err(error @ StoreError::Taken { .. }) => return Err(error),
            Err(error) if work.attempt.stage != Stage::Forward => {
                tracing::error!(%error, action = action.word(), "the action is not recorded; it is done all the same");
                break;
            }
            Err(error) if Instant::now() >= until => return Err(error),
            Err(error) => tracing::warn!(%error, "the action is not recorded yet"),
        }
        tokio::time::sleep(host.service.limits.waits.retry).await;
    }
    work.attempt.exposed |= action.exposes();
    Ok(())
}

/// Remembers what a setback says of images where nothing is taken back.
async fn hold(work: &Work<'_>, setback: &Setback) {
    if work.attempt.stage != Stage::Forward {
        return;
    }
    for bad in work.held(setback) {
        if let Err(error) = work.running.host.service.store.remember_bad(&bad).await {
            tracing::error!(%error, "the image that failed could not be remembered; a schedule may try it again");
        }
    }
}

/// Waits until an obstacle has passed; whether it has. Obstacles that follow each other share one patience.
async fn passes(work: &mut Work<'_>, obstacle: Obstacle) -> bool {
    let what = match obstacle {
        Obstacle::Engine => "the engine",
        Obstacle::ServiceManager => "systemd",
        _ => return false,
    };
    let waits = work.running.host.service.limits.waits;
    if work.obstructed.is_none() {
        work.running.warn(&format!("{what} went away in the middle; it is waited for"));
    }
    let until = *work.obstructed.get_or_insert_with(Instant::now) + waits.engine;
    while Instant::now() < until {
        if obstacle == Obstacle::Engine && work.running.host.engine.info().await.is_ok() {
            return true;
        }
        tokio::time::sleep(waits.retry).await;
        // Only another restart shows that systemd is back.
        if obstacle == Obstacle::ServiceManager {
            return true;
        }
    }
    false
}

fn lost_services(attempt: &Attempt, seen: &[Seen], goal: Side) -> BTreeSet<ServiceName> {
    let facts = attempt.facts.iter().zip(seen);
    let lost = facts.filter_map(|(fact, seen)| match (fact, seen, goal) {
        (Fact::Reference(reference), Seen::Reference { old: Hold::Lost(_), .. }, Side::Old)
        | (Fact::Reference(reference), Seen::Reference { new: Hold::Lost(_), .. }, Side::New) => {
            Some(reference.change.service.clone())
        }
        _ => None,
    });
    lost.collect()
}
