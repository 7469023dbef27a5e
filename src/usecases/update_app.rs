//! The update of an app: pull, compare, apply only when something changed, prove, or take back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::apply::{Applied, NotApplied, Work, failure};
use super::context::Restock;
use super::fetch::{Fetched, fetch};
use super::jobs::{Running, Ticket};
use super::prove::Patience;
use super::resolve::{check_containers, containers_of};
use crate::adapters::apps_dir::AppDir;
use crate::adapters::compose::{Compose, Model};
use crate::adapters::store::BadImage;
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, ContainerState, LocalImage};
use crate::domain::image::ImageId;
use crate::domain::job::{JobResult, Kind, OneOrMany, Outcome, ServiceChange, Step};
use crate::domain::journal::{Before, Journal};
use crate::domain::plan::{Change, Plan, by_service, plan};
use crate::domain::project::Project;
use crate::error::{Attempt, Error, Kind as ErrorKind};

/// How long the images that apps share may be held by another app's update.
pub(super) const IMAGE_LOCK_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// What the caller of an update can choose.
#[derive(Debug, Clone, Default)]
pub struct UpdateOptions {
    /// Leave a failed update as it is.
    pub no_rollback: bool,
    /// Only these services and what depends on their namespaces; empty means all.
    pub services: BTreeSet<String>,
    /// What a pass over many apps has found out and fetched for all of them.
    pub prepared: Option<Arc<Prepared>>,
}

/// What a pass has done already: then a pull is only for what is still missing.
#[derive(Debug)]
pub struct Prepared {
    /// The services whose registry has a newer image; the others are not pulled.
    pub newer: BTreeSet<ServiceName>,
    /// The images that were pulled, by the complete form of their references.
    pub pulled: Arc<BTreeMap<String, ImageId>>,
    /// `repository@digest` of each image before anything was pulled.
    pub digests: BTreeMap<String, Vec<String>>,
}

impl Restock {
    /// Starts the update of an app, or joins the one that is running.
    pub async fn start_update(self: &Arc<Self>, name: &str, options: UpdateOptions) -> Result<Ticket, Error> {
        let app = self.apps.find(name)?;
        self.start_job(Kind::Update, app.target(), move |running| async move { update(&running, &app, &options).await })
            .await
    }
}

async fn update(running: &Running, app: &AppDir, options: &UpdateOptions) -> Result<JobResult, Error> {
    let started = Instant::now();
    let restock = &running.restock;
    running.step(Step::Snapshot).await?;
    let compose = restock.compose().await?;
    let everything = restock.engine.containers().await?;
    check_containers(restock, app, &of_directory(app, &everything))?;

    running.step(Step::Pull).await?;
    let (fetched, _locks) = fetch(running, app, &compose, options, &everything).await?;
    let containers = containers_of(&fetched.model.project, &everything);

    running.step(Step::Plan).await?;
    let project = &fetched.model.project;
    let references = by_service(&containers).into_keys().filter_map(|name| project.services.get(name));
    let images =
        restock.engine.images(references.map(|service| service.image.clone()).collect::<BTreeSet<_>>()).await?;
    let plan = plan(project, &containers, &images, fetched.selected.as_ref());
    if plan.changes.is_empty() {
        let outcome = if containers.is_empty() { Outcome::Pulled } else { Outcome::Unchanged };
        return Ok(result(running, outcome, Vec::new(), Applied { recreated: Vec::new() }, plan, started));
    }
    change(running, app, compose, options, fetched, containers, plan, started).await
}

fn of_directory(app: &AppDir, containers: &[Container]) -> Vec<Container> {
    let own = |container: &&Container| {
        let labels = container.compose.as_ref();
        labels.and_then(|labels| labels.working_dir.as_deref()).is_some_and(|dir| std::path::Path::new(dir) == app.path)
    };
    containers.iter().filter(own).cloned().collect()
}

#[expect(clippy::too_many_arguments, reason = "the second half of `update`, with all that the first half found")]
async fn change(
    running: &Running,
    app: &AppDir,
    compose: Compose,
    options: &UpdateOptions,
    fetched: Fetched,
    containers: Vec<Container>,
    plan: Plan,
    started: Instant,
) -> Result<JobResult, Error> {
    let restock = &running.restock;
    let settings = settings(&fetched.model, app)?;
    ensure_volumes(running, app, &fetched.model.project).await?;
    let old = restock.engine.images(old_images(&plan.changes)).await?;
    let journal = Journal {
        project: fetched.model.project.name.clone(),
        before: before(&fetched, &containers, &old),
        changes: plan.changes.clone(),
        profiles: fetched.call.profiles.iter().cloned().collect(),
        rollback: !options.no_rollback && settings.rollback.unwrap_or(true),
    };
    let work = Work {
        running,
        app,
        compose,
        call: fetched.call,
        redactor: fetched.redactor,
        patience: patience(running, &settings),
        model: fetched.model,
        journal,
        selected: fetched.selected,
    };
    work.hooks_before(&settings.hooks.before).await?;
    running.handle.begin_touching()?;
    restock.store.write_journal(&running.handle.id, Step::Apply, &work.journal).await?;
    running.tell_step(Step::Apply);
    let mut warnings = work.protect().await?;
    warnings.iter().for_each(|warning| running.warn(warning));

    let applied = work.apply(&containers, &work.targets()).await;
    let services = service_changes(&work.journal);
    match applied {
        Ok(applied) => {
            forget_bad(&work).await;
            restock.forget_old_images().await;
            warnings.extend(restock.left_behind(&containers).await);
            warnings.extend(work.hooks_after(&settings.hooks.after).await);
            let mut result = result(running, Outcome::Updated, services, applied, plan, started);
            result.warnings = warnings;
            Ok(result)
        }
        Err(reason) => Err(give_up(&work, reason, services).await),
    }
}

/// Takes a failed update back where that is wanted, and says how it ended.
pub(super) async fn give_up(work: &Work<'_>, reason: NotApplied, services: Vec<ServiceChange>) -> Error {
    let running = work.running;
    if let Err(error) = remember_bad(running, work.app, &work.journal).await {
        tracing::error!(%error, "the bad image could not be remembered; a schedule may try it again");
    }
    let app = &work.app.name;
    if !work.journal.rollback {
        let message = format!("the update of `{app}` failed and was left as it is: {}", reason.reason);
        let error = failure("update_failed", message, &reason, &work.redactor);
        return Error { attempt: Some(Attempt { outcome: Outcome::Failed, services }), ..error }.app(app);
    }
    running.warn(&format!("the update failed, the previous images are brought back: {}", reason.reason));
    if let Err(error) = running.step(Step::RollBack).await {
        tracing::error!(%error, "the step could not be written down; the rollback goes on");
    }
    let (outcome, code, message) = match work.take_back().await {
        Ok(()) => (
            Outcome::RolledBack,
            "rolled_back",
            format!(
                "the update of `{app}` failed and was taken back, the previous images run again: {}",
                reason.reason
            ),
        ),
        Err(second) => (
            Outcome::Failed,
            "rollback_failed",
            format!("the update of `{app}` failed ({}), and so did taking it back: {}", reason.reason, second.reason),
        ),
    };
    let error = failure(code, message, &reason, &work.redactor).app(app);
    let error = if outcome == Outcome::Failed {
        error.hint("look at the containers with `docker compose ps -a` and at their logs; the old images are kept under restock.local/keep")
    } else {
        error.hint("look at the logs of the new version, or wait for the next one; data is not rolled back")
    };
    Error { attempt: Some(Attempt { outcome, services }), ..error }
}

/// Remembers the new images of a journal as ones that schedules leave alone.
pub(super) async fn remember_bad(running: &Running, app: &AppDir, journal: &Journal) -> Result<(), Error> {
    for change in &journal.changes {
        let bad = BadImage {
            owner: app.name.to_string(),
            service: change.service.clone(),
            reference: change.reference.clone(),
            image_id: change.to.clone(),
            digests: change.to_digests.clone(),
            job: running.handle.id.clone(),
            since: jiff::Timestamp::now(),
        };
        running.restock.store.remember_bad(&bad).await?;
    }
    Ok(())
}

async fn forget_bad(work: &Work<'_>) {
    for change in &work.journal.changes {
        if let Err(error) = work.running.restock.store.forget_bad(work.app.name.as_str(), &change.service).await {
            tracing::error!(%error, "an image that works now is still remembered as bad");
        }
    }
}

/// The app's own settings, or the mistakes in them: they are told before anything is touched.
pub(super) fn settings(model: &Model, app: &AppDir) -> Result<crate::domain::project::AppSettings, Error> {
    model.project.settings.clone().map_err(|mistakes| {
        Error::new(ErrorKind::BrokenApp, "invalid_settings", mistakes)
            .hint("correct `x-restock` in the Compose file")
            .app(&app.name)
    })
}

pub(super) fn patience(running: &Running, settings: &crate::domain::project::AppSettings) -> Patience {
    let limits = &running.restock.limits;
    Patience {
        health_timeout: settings.health_timeout.unwrap_or(limits.health_timeout),
        settle: settings.settle.unwrap_or(limits.settle),
    }
}

/// Makes sure of the manifest's volumes, and that no other external volume is missing: `up` would fail half-way.
pub(super) async fn ensure_volumes(running: &Running, app: &AppDir, project: &Project) -> Result<(), Error> {
    let broken = |reason: String| Error::new(ErrorKind::BrokenApp, "invalid_manifest", reason).app(&app.name);
    let own: BTreeSet<_> = app.manifest_volumes().map_err(broken)?.into_iter().collect();
    // What is missing is found before anything is made.
    for volume in project.external_volumes.difference(&own) {
        if !running.restock.engine.has_volume(volume).await? {
            let message = format!("the external volume `{volume}` is missing");
            return Err(Error::new(ErrorKind::BrokenApp, "missing_volume", message)
                .hint(format!("create it: docker volume create {volume}"))
                .app(&app.name));
        }
    }
    for volume in &own {
        running.restock.engine.ensure_volume(volume).await?;
    }
    Ok(())
}

fn old_images(changes: &[Change]) -> BTreeSet<String> {
    changes.iter().flat_map(|change| &change.from).map(ToString::to_string).collect()
}

fn before(
    fetched: &Fetched,
    containers: &[Container],
    old: &BTreeMap<String, Option<LocalImage>>,
) -> BTreeMap<ServiceName, Before> {
    let services = by_service(containers);
    let known =
        fetched.model.project.services.iter().filter_map(|(name, service)| Some((name, service, services.get(name)?)));
    known
        .map(|(name, service, replicas)| {
            let mut images: Vec<_> = replicas.iter().map(|replica| replica.image_id.clone()).collect();
            images.sort();
            images.dedup();
            let first = images.first().map(ToString::to_string).unwrap_or_default();
            let before = Before {
                reference: service.image.clone(),
                digests: fetched.digests.get(&first).cloned().unwrap_or_default(),
                version: old.get(&first).and_then(|image| image.as_ref()?.version.clone()),
                running: replicas
                    .iter()
                    .any(|replica| replica.state.is_up() && replica.state != ContainerState::Paused),
                images,
            };
            (name.clone(), before)
        })
        .collect()
}

/// What the journal changes, as the API tells it.
pub(super) fn service_changes(journal: &Journal) -> Vec<ServiceChange> {
    let tell = |change: &Change| ServiceChange {
        service: change.service.clone(),
        from: OneOrMany::of(change.from.clone()),
        to: change.to.to_string(),
        tag: change.reference.clone(),
        version_from: journal.before.get(&change.service).and_then(|before| before.version.clone()),
        version_to: change.version_to.clone(),
        source: change.source.clone(),
    };
    journal.changes.iter().map(tell).collect()
}

fn result(
    running: &Running,
    outcome: Outcome,
    services: Vec<ServiceChange>,
    applied: Applied,
    plan: Plan,
    started: Instant,
) -> JobResult {
    JobResult {
        services,
        recreated: applied.recreated,
        skipped: plan.skipped,
        ..JobResult::of(running.handle.id.clone(), outcome, started.elapsed())
    }
}
