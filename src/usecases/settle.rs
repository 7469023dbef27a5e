//! Brings an app in order whose job lost its process in the middle: a crash, a power cut, a kill.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::apply::{NotApplied, Work};
use super::context::Restock;
use super::ending::{UNSETTLED, unsettled};
use super::jobs::Running;
use super::left_out::without;
use super::put_back::settle_container;
use super::resolve::{canonical_references, check_directory, config, containers_of};
use super::roll_back::remember_left;
use super::update_app::{give_up, remember_bad, service_changes, settings};
use super::update_unit::settle_unit;
use crate::adapters::apps_dir::AppDir;
use crate::adapters::compose::ProjectCall;
use crate::adapters::engine::{Engine, EngineError};
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, ContainerState};
use crate::domain::hook::Hook;
use crate::domain::job::{Job, JobResult, Kind, State, Step};
use crate::domain::journal::{Journal, StandaloneJournal};
use crate::domain::project::Project;
use crate::error::{Error, Kind as ErrorKind};

/// Compose names a replacement `<12 hex>_<name>` until the original is gone.
const REPLACEMENT_PREFIX: usize = 12;
/// How often jobs that have lost their process are looked for: also a command of another process may break off.
const LOOK: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody has let an open job go, like a Compose that goes on without its caller.
const HELD: Duration = Duration::from_secs(1);
/// How soon to try again what could not be settled; each time twice as long.
const RETRY: Duration = Duration::from_secs(10);
const LONGEST_RETRY: Duration = Duration::from_secs(2 * 60);

/// What an attempt to settle has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    Nothing,
    /// Somebody else works on a job.
    Held,
    /// A job could not be settled; the log says why.
    Open,
}

impl Restock {
    /// Settles the jobs that never ended and that no living process works on, for as long as the service runs: what is
    /// needed for it, like the engine or a readable Compose file, may come later. Whoever works on an app meanwhile
    /// settles it first.
    pub async fn keep_settling(self: Arc<Self>) {
        let mut retry = RETRY;
        loop {
            let (pause, next_retry) = match self.settle_all().await {
                Left::Nothing => (LOOK, RETRY),
                Left::Held => (HELD, RETRY),
                Left::Open => (retry, (retry * 2).min(LONGEST_RETRY)),
            };
            retry = next_retry;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// Tries each of them once, and tells the worst of what is left.
    pub async fn settle_all(self: &Arc<Self>) -> Left {
        let jobs = match self.store.running().await {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::error!(%error, "interrupted jobs could not be looked for");
                return Left::Open;
            }
        };
        let dead = jobs.into_iter().filter(|job| self.jobs.find(&job.id).is_none());
        let settled = futures_util::future::join_all(dead.map(|job| self.settle_one(job))).await;
        let left = settled.into_iter().map(|settled| {
            settled.unwrap_or_else(|error| {
                tracing::error!(%error, "an interrupted job is not settled");
                Left::Open
            })
        });
        left.max().unwrap_or(Left::Nothing)
    }

    async fn settle_one(self: &Arc<Self>, job: Job) -> Result<Left, Error> {
        let Some(lock) = self.try_lock(job.kind, &job.target)? else { return Ok(Left::Held) };
        // It may have ended between the list and the lock.
        if self.store.job(&job.id).await?.is_none_or(|now| now.state == State::Finished) {
            return Ok(Left::Nothing);
        }
        self.settle_first(job, lock).await.map(|()| Left::Nothing)
    }
}

/// Finishes or takes back what `was` had begun, proves it, and reports it as interrupted.
pub(super) async fn settle(running: &Running, was: &Job) -> Result<JobResult, Error> {
    let started = Instant::now();
    let store = &running.restock.store;
    let step = was.step.unwrap_or(Step::Resolve);
    if !step.touches_containers() {
        return Ok(running.interrupted(Vec::new(), "nothing had been touched", started));
    }
    if was.kind == Kind::ContainerUpdate {
        return match store.journal(&was.id).await? {
            Some(StandaloneJournal::Container(mut journal)) => settle_container(running, was, &mut journal).await,
            Some(StandaloneJournal::Unit(journal)) => settle_unit(running, was, &journal).await,
            None => Ok(running.interrupted(Vec::new(), "nothing had been touched", started)),
        };
    }
    let Some(journal) = store.journal::<Journal>(&was.id).await? else {
        // `up` and `down` have no journal: there is nothing to go back to, and the owner can simply ask again.
        return Ok(running.interrupted(Vec::new(), "a part of it may be done", started));
    };
    let Ok(app) = running.restock.apps.find(was.target.name()) else {
        return Ok(running.interrupted(Vec::new(), "the app is gone since", started));
    };
    settle_app(running, was, step, &app, journal, started).await
}

async fn settle_app(
    running: &Running,
    was: &Job,
    step: Step,
    app: &AppDir,
    mut journal: Journal,
    started: Instant,
) -> Result<JobResult, Error> {
    let restock = &running.restock;
    let compose = restock.compose().await?;
    let call = ProjectCall::new(&app.path).with_profiles(journal.profiles.iter().cloned());
    let model = config(&compose, app, &call).await?;
    let locks = running.image_locks(&canonical_references(&model.project)).await?;
    let containers = containers_of(&model.project, &restock.engine.containers().await?);
    check_directory(app, &containers)?;
    clean_leftovers(&restock.engine, &containers).await?;
    let settings = settings(&model, app)?;
    let replaced = journal.containers.clone();
    let resumed = journal.resumed;
    journal.selected = still_selected(restock, &model.project, &containers, &mut journal).await?;
    let mut work = Work::new(running, app, compose, call, model, journal, &settings);
    let ended = finish_or_take_back(&mut work, was, step, &settings.hooks.after, started).await;
    if ended.as_ref().is_err_and(|error| error.code == UNSETTLED || error.may_pass()) {
        // It goes on later: nobody has died.
        work.journal.resumed = resumed;
        let step = running.handle.job().step.unwrap_or(step);
        if let Err(error) = restock.store.write_journal(&running.handle.id, step, &work.journal).await {
            tracing::error!(%error, "it could not be noted that the attempt is only put off");
        }
    }
    drop(locks);
    let left_behind = restock.take_along(replaced).await;
    ended.map(|mut result| {
        result.warnings.extend(left_behind);
        result
    })
}

/// What the job was about, without what would fail or be moved to an older image by now.
async fn still_selected(
    restock: &Restock,
    project: &Project,
    containers: &[Container],
    journal: &mut Journal,
) -> Result<Option<BTreeSet<ServiceName>>, Error> {
    let targets = journal.changes.iter().map(|change| change.service.clone()).collect();
    let images = restock.images_of(project, containers).await?;
    let mut left_out = restock.left_out(project, containers, &images, &targets).await?;
    left_out.retain(|service, _| !targets.contains(service));
    Ok(without(project, journal.selected.take(), &left_out))
}

async fn finish_or_take_back(
    work: &mut Work<'_>,
    was: &Job,
    step: Step,
    after: &[Hook],
    started: Instant,
) -> Result<JobResult, Error> {
    let (running, app) = (work.running, work.app);
    let restock = &running.restock;
    let mut warnings = work.protect().await?;
    if was.kind == Kind::Rollback {
        remember_left(running, app, &work.journal).await;
    }
    if step != Step::RollBack {
        let before = restock.engine.project_containers(&work.journal.project).await?;
        // What ended the first process, and then the one that went on with it, may be the new image.
        let again = std::mem::replace(&mut work.journal.resumed, true) && was.kind == Kind::Update;
        restock.store.write_journal(&running.handle.id, step, &work.journal).await?;
        let finished = if again && work.journal.rollback {
            Err(NotApplied {
                against_images: true,
                ..NotApplied::because("Restock has ended twice in the middle of it")
            })
        } else {
            work.apply(&before, &work.targets(), &BTreeSet::new()).await
        };
        match finished {
            Ok(_) => {
                // What somebody went back to says nothing of what they went back from.
                for change in work.journal.changes.iter().filter(|_| was.kind == Kind::Update) {
                    restock.forget_bad(app.name.as_str(), &change.service).await;
                }
                warnings.extend(finish_hooks(work, step, after).await);
                let services = service_changes(&work.journal);
                let mut result = running.interrupted(services, "what was begun has been finished", started);
                result.warnings.extend(warnings);
                return Ok(result);
            }
            Err(NotApplied { later: Some(later), .. }) => return Err(unsettled(app.name.as_str(), later)),
            Err(reason) if !work.journal.rollback => {
                return Err(give_up(work, reason, service_changes(&work.journal)).await);
            }
            Err(reason) => {
                running.warn(&format!("it could not be finished, it is taken back: {}", reason.reason));
                if was.kind == Kind::Update {
                    remember_bad(work, reason.against_images).await;
                }
            }
        }
        running.begin_rollback().await;
    }
    match work.take_back().await {
        Ok(()) => {
            if was.kind == Kind::Rollback {
                running.forget_left().await;
            }
            Ok(running.interrupted(Vec::new(), "what was begun has been taken back", started))
        }
        Err(NotApplied { later: Some(later), .. }) => Err(unsettled(app.name.as_str(), later)),
        Err(reason) => {
            let message = format!("the interrupted job on `{}` could not be taken back: {}", app.name, reason.reason);
            let error = Error::new(ErrorKind::Internal, "rollback_failed", message).app(&app.name);
            Err(reason.blame(error, &work.redactor))
        }
    }
}

/// The hooks that come after an update, unless they may have run already: nobody knows what twice would do.
async fn finish_hooks(work: &Work<'_>, step: Step, after: &[Hook]) -> Vec<String> {
    if step == Step::HooksAfter {
        return vec!["some of the hooks that come after an update may not have run".into()];
    }
    work.hooks_after(after).await
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
