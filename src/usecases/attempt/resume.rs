//! Takes over a job whose process is gone, and goes on with its attempt from the stage that is recorded.

use std::collections::BTreeSet;
use std::time::Instant;

use super::ending::{begun_elsewhere, unsettled};
use super::run::run;
use super::work::{Scene, Work};
use crate::adapters::apps_dir::AppDirError;
use crate::adapters::compose::ProjectCall;
use crate::adapters::store::Found;
use crate::domain::app::ServiceName;
use crate::domain::attempt::{Attempt, Obstacle, Stage, legacy};
use crate::domain::container::Container;
use crate::domain::image::canonical_or_as_written;
use crate::domain::job::{Job, JobResult, Kind, Step};
use crate::domain::journal::{Journal, StandaloneJournal};
use crate::domain::project::{AppSettings, Project};
use crate::error::Error;
use crate::usecases::context::Host;
use crate::usecases::jobs::Running;
use crate::usecases::left_out::without;
use crate::usecases::resolve::settings;
use crate::usecases::resolve::{canonical_references, check_directory, config, containers_of, redactor};

/// Finishes or takes back what `was` had begun, proves it, and reports it as interrupted.
pub(crate) async fn resume(running: &Running, was: &Job) -> Result<JobResult, Error> {
    let started = Instant::now();
    let store = &running.host.service.store;
    let recorded = store
        .attempt(&was.id)
        .await
        .map_err(|error| Error { message: error.to_string(), ..unsettled(was.target.name(), Obstacle::Database) })?;
    let (found, is_recorded) = match recorded {
        Some(found) => (found, true),
        None => match legacy_attempt(running, was).await? {
            Some(found) => (found, false),
            None => return Ok(untouched(running, was, started)),
        },
    };
    if found.attempt.stage == Stage::Closed {
        return Ok(begun_elsewhere(running, Vec::new(), "what was begun has been finished", started));
    }
    let work = match prepare(running, was, found).await? {
        Some(work) => work,
        None => return Ok(begun_elsewhere(running, Vec::new(), "the app is gone since", started)),
    };
    run(take_over(work, is_recorded).await?).await
}

fn untouched(running: &Running, was: &Job, started: Instant) -> JobResult {
    let touched = was.step.is_some_and(Step::touches_containers);
    // `up` and `down` record no attempt: there is nothing to go back to, and the owner can simply ask again.
    let what = if touched { "a part of it may be done" } else { "nothing had been touched" };
    begun_elsewhere(running, Vec::new(), what, started)
}

/// What a former version of the program has left of a job that it had begun.
async fn legacy_attempt(running: &Running, was: &Job) -> Result<Option<Found>, Error> {
    let store = &running.host.service.store;
    let Some(step) = was.step.filter(|step| step.touches_containers()) else { return Ok(None) };
    let unreadable = |error: crate::adapters::store::StoreError| Error {
        message: error.to_string(),
        ..unsettled(was.target.name(), Obstacle::Database)
    };
    let (attempt, recipe) = if was.kind == Kind::ContainerUpdate {
        let Some(journal) = store.journal::<StandaloneJournal>(&was.id).await.map_err(unreadable)? else {
            return Ok(None);
        };
        legacy::of_container(&was.id, step, journal)
    } else {
        let Some(journal) = store.journal::<Journal>(&was.id).await.map_err(unreadable)? else { return Ok(None) };
        (legacy::of_app(&was.id, was.kind, step, journal), None)
    };
    Ok(Some(Found { attempt, recipe, hooks_begun: step == Step::HooksAfter }))
}

/// Puts together what the attempt needs, under the locks of its images; `None` when its app is gone.
async fn prepare<'a>(running: &'a Running, was: &Job, found: Found) -> Result<Option<Work<'a>>, Error> {
    let host = &running.host;
    let Found { mut attempt, recipe, hooks_begun } = found;
    let (scene, patience, references) = match attempt.project() {
        None => (None, host.service.limits.patience(&AppSettings::default()), references_of(&attempt)),
        Some(project) => {
            let app = match host.apps.find(was.target.bare_name()).await {
                Ok(app) => app,
                Err(AppDirError::NoSuchApp(_)) => return Ok(None),
                // Nobody can tell that it is gone.
                Err(error) => return Err(error.into()),
            };
            let compose = host.compose().await?;
            let call = ProjectCall::new(&app.path).with_profiles(project.profiles.iter().cloned());
            let model = config(&compose, &app, &call).await?;
            let containers = containers_of(&model.project, &host.engine.containers().await?);
            check_directory(&app, &containers).await?;
            let selected = still_selected(host, &model.project, &containers, &attempt).await?;
            let settings = settings(&model, &app)?;
            let references = canonical_references(&model.project);
            let redactor = redactor(&app, &model).await?;
            attempt.select(selected);
            let hooks_after = settings.hooks.after.clone();
            let scene = Scene { app, compose, call, model, redactor, hooks_after };
            (Some(scene), host.service.limits.patience(&settings), references)
        }
    };
    let mut work = Work::new(running, attempt, scene, patience);
    work.locks = Some(running.image_locks(&references).await?);
    (work.recipe, work.hooks_begun, work.resumed) = (recipe, hooks_begun, true);
    Ok(Some(work))
}

/// What the job was about, without what would fail or be moved to an older image by now.
async fn still_selected(
    host: &Host,
    project: &Project,
    containers: &[Container],
    attempt: &Attempt,
) -> Result<Option<BTreeSet<ServiceName>>, Error> {
    let targets = attempt.references().map(|reference| reference.change.service.clone()).collect();
    let images = host.images_of(project, containers).await?;
    let mut left_out = host.left_out(project, containers, &images, &targets).await?;
    left_out.retain(|service, _| !targets.contains(service));
    let selected = attempt.project().and_then(|project| project.selected.clone());
    Ok(without(project, selected, &left_out))
}

/// Makes this process the one that works on the attempt.
async fn take_over(mut work: Work<'_>, is_recorded: bool) -> Result<Work<'_>, Error> {
    work.protect().await?;
    let host = &work.running.host;
    let (job, worker) = (&work.attempt.job, &host.service.worker);
    let taken = if is_recorded {
        host.service.store.take_over(job, worker).await
    } else {
        let step = work.running.handle.job().step.unwrap_or(Step::Apply);
        host.service
            .store
            .begin_attempt(&work.attempt, work.recipe.as_ref(), worker, step, work.left())
            .await
            .map(|()| 0)
    };
    match taken {
        Ok(deaths) => work.attempt.deaths = deaths,
        // The lock keeps others out, and going back must not wait for the database.
        Err(error) if work.attempt.stage != Stage::Forward => tracing::error!(%error, "the takeover is not recorded"),
        Err(error) => return Err(Error { message: error.to_string(), ..unsettled(work.name(), Obstacle::Database) }),
    }
    Ok(work)
}

/// The complete forms of an attempt's references, by which their locks are named.
fn references_of(attempt: &Attempt) -> BTreeSet<String> {
    attempt.references().map(|reference| canonical_or_as_written(&reference.change.reference)).collect()
}
