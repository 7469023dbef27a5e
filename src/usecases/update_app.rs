//! The update of an app: pull, compare, apply only when something changed, prove, or take back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::apply::{Applied, NotApplied, Work, failure};
use super::context::Restock;
use super::jobs::{Running, Ticket, cancelled};
use super::prove::Patience;
use super::relay::Relay;
use super::resolve::{canonical_references, check_containers, check_directory, config, containers_of, redactor};
use crate::adapters::apps_dir::AppDir;
use crate::adapters::command::CommandError;
use crate::adapters::compose::{Compose, Model, ProjectCall, PullProblem, Redactor, pull_problem, readable};
use crate::adapters::lock::ImageLocks;
use crate::adapters::store::BadImage;
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, ContainerState, LocalImage};
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::job::{JobResult, Kind, OneOrMany, Outcome, ServiceChange, Step};
use crate::domain::journal::{Before, Journal};
use crate::domain::plan::{Change, Plan, by_service, plan};
use crate::domain::project::{Project, Service};
use crate::error::{Attempt, Error, Kind as ErrorKind, command_error};

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
    let known = restock.store.references(&app.name).await?;
    let mut locks = running.unless_cancelled(restock.locks.images(&known, IMAGE_LOCK_DEADLINE)).await?;

    running.step(Step::Pull).await?;
    let fetched = fetch(running, app, &compose, options, &everything, &mut locks).await?;
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

/// What a pull and a resolve together found.
struct Fetched {
    call: ProjectCall,
    model: Model,
    redactor: Redactor,
    selected: Option<BTreeSet<ServiceName>>,
    /// `repository@digest` of each image before the pull: afterwards a containerd store has forgotten the old ones.
    digests: BTreeMap<String, Vec<String>>,
}

async fn fetch(
    running: &Running,
    app: &AppDir,
    compose: &Compose,
    options: &UpdateOptions,
    everything: &[Container],
    locks: &mut ImageLocks,
) -> Result<Fetched, Error> {
    let restock = &running.restock;
    let mut call = ProjectCall::new(&app.path);
    let named: Vec<_> = options.services.iter().map(ServiceName::new).collect();
    let (mut model, pulled, digests) = match &options.prepared {
        None => {
            // The pull needs nothing of the configuration, so the two run side by side.
            let both = resolve_and_pull(running, app, compose, &call, &named);
            let (both, digests) = tokio::join!(both, restock.engine.digests());
            let (model, pulled) = both?;
            (model, pulled, digests?)
        }
        Some(prepared) => {
            let model = config(compose, app, &call).await?;
            let pulled = pull_missing(running, app, compose, &call, &model, prepared).await;
            (model, pulled, prepared.digests.clone())
        }
    };
    let containers = containers_of(&model.project, everything);
    check_directory(app, &containers)?;
    check_containers(restock, app, &containers)?;
    let profiles = hidden_profiles(compose, app, &call, &model.project, &containers).await?;
    let mut hidden = Vec::new();
    if !profiles.is_empty() {
        call = call.with_profiles(profiles.iter().cloned());
        let visible: BTreeSet<_> = model.project.services.keys().cloned().collect();
        model = config(compose, app, &call).await?;
        let has_container = by_service(&containers);
        let switched_on =
            model.project.services.keys().filter(|name| !visible.contains(name) && has_container.contains_key(name));
        hidden = switched_on.cloned().collect();
    }
    let selected = select(&model.project, options, app)?;
    pulled?;
    if !hidden.is_empty() {
        pull(running, app, compose, &call, &hidden, &redactor(app, &model), running.handle.cancelled()).await?;
    }
    let references = canonical_references(&model.project);
    if !locks.covers(&references) {
        running.unless_cancelled(locks.extend(&references, IMAGE_LOCK_DEADLINE)).await?;
        restock.store.remember_references(&app.name, &references).await?;
    }
    Ok(Fetched { redactor: redactor(app, &model), call, model, selected, digests })
}

/// The configuration, and how the pull that ran beside it ended. An invalid file ends the pull at once.
async fn resolve_and_pull(
    running: &Running,
    app: &AppDir,
    compose: &Compose,
    call: &ProjectCall,
    services: &[ServiceName],
) -> Result<(Model, Result<(), Error>), Error> {
    let stop_pull = running.handle.cancelled().child_token();
    let files = Redactor::new(app.secret_values(), &[app.name.as_str()]);
    let resolving = async {
        let model = config(compose, app, call).await;
        if model.is_err() {
            stop_pull.cancel();
        }
        model
    };
    let (model, pulled) = tokio::join!(resolving, pull(running, app, compose, call, services, &files, &stop_pull));
    Ok((model?, pulled))
}

/// Pulls what a pass has found newer and not yet pulled, or what has been moved since, as by another app's rollback.
async fn pull_missing(
    running: &Running,
    app: &AppDir,
    compose: &Compose,
    call: &ProjectCall,
    model: &Model,
    prepared: &Prepared,
) -> Result<(), Error> {
    let newer = model.project.services.iter().filter(|(name, _)| prepared.newer.contains(*name));
    let references: BTreeSet<_> = newer.clone().map(|(_, service)| service.image.clone()).collect();
    let here = running.restock.engine.images(references).await?;
    let is_here = |service: &Service| {
        let reference = service.image.parse::<ImageReference>().map(|reference| reference.canonical());
        let pulled = reference.ok().and_then(|reference| prepared.pulled.get(&reference));
        let local = here.get(&service.image).and_then(Option::as_ref);
        pulled.is_some_and(|pulled| local.is_some_and(|local| local.id == *pulled))
    };
    let missing: Vec<_> = newer.filter(|(_, service)| !is_here(service)).map(|(name, _)| name.clone()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    pull(running, app, compose, call, &missing, &redactor(app, model), running.handle.cancelled()).await
}

async fn pull(
    running: &Running,
    app: &AppDir,
    compose: &Compose,
    call: &ProjectCall,
    services: &[ServiceName],
    redactor: &Redactor,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let mut relay = Relay::new(&running.restock.events, &running.handle.id, redactor.clone());
    let timeout = running.restock.limits.pull_timeout;
    let pulled = compose.pull(call, services, timeout, cancel, |line| relay.line(line)).await;
    pulled.map_err(|error| pull_failed(&error, relay.failed.as_deref(), redactor).app(&app.name))
}

fn pull_failed(error: &CommandError, service: Option<&str>, redactor: &Redactor) -> Error {
    let CommandError::Exit { stderr, .. } = error else {
        return match error {
            CommandError::Cancelled { .. } => cancelled(),
            other => command_error(other, redactor),
        };
    };
    let problem = pull_problem(stderr);
    if problem == PullProblem::EngineGone {
        return command_error(error, redactor).hint(problem.hint());
    }
    let said = redactor.clean(&readable(stderr));
    let reason = said.lines().last().unwrap_or("no reason was given");
    let what =
        service.map_or_else(|| "the pull failed".to_owned(), |service| format!("the pull of `{service}` failed"));
    let failure = Error::new(ErrorKind::Upstream, problem.code(), format!("{what}: {reason}"));
    let failure = failure.hint(problem.hint()).said(error, redactor);
    match service {
        Some(service) => failure.service(service),
        None => failure,
    }
}

/// Profiles of services that have containers although the project as it stands does not show them.
async fn hidden_profiles(
    compose: &Compose,
    app: &AppDir,
    call: &ProjectCall,
    project: &Project,
    containers: &[Container],
) -> Result<BTreeSet<String>, Error> {
    let up = containers.iter().filter(|container| container.state.is_up());
    let services = up.filter_map(|container| container.compose.as_ref()).map(|labels| &labels.service);
    let hidden: BTreeSet<_> = services.filter(|service| !project.services.contains_key(service)).collect();
    if hidden.is_empty() {
        return Ok(BTreeSet::new());
    }
    let all = config(compose, app, &call.with_profiles(["*".to_owned()])).await?;
    let hidden = hidden.into_iter().filter_map(|service| all.project.services.get(service));
    Ok(hidden.filter_map(|service| service.profiles.first().cloned()).collect())
}

/// The services the caller named, and what lives in their namespaces.
fn select(project: &Project, options: &UpdateOptions, app: &AppDir) -> Result<Option<BTreeSet<ServiceName>>, Error> {
    if options.services.is_empty() {
        return Ok(None);
    }
    let named: BTreeSet<_> = options.services.iter().map(ServiceName::new).collect();
    if let Some(unknown) = named.iter().find(|name| !project.services.contains_key(name)) {
        let known: Vec<_> = project.services.keys().map(ServiceName::as_str).collect();
        return Err(Error::new(
            ErrorKind::Invalid,
            "no_such_service",
            format!("`service`: the app has no service `{unknown}`"),
        )
        .hint(format!("its services are {}", known.join(", ")))
        .app(&app.name));
    }
    Ok(Some(project.with_dependents(&named)))
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
        updated: outcome == Outcome::Updated,
        services,
        outcome,
        recreated: applied.recreated,
        skipped: plan.skipped,
        job: running.handle.id.clone(),
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        warnings: Vec::new(),
        report: None,
    }
}
