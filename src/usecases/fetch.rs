//! What an update works with: the project as Compose resolves it, and its images, pulled side by side.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use super::jobs::{Running, cancelled};
use super::relay::Relay;
use super::resolve::{
    canonical_references, check_containers, check_directory, config, containers_of, redactor, with_what_runs,
};
use super::update_options::{Prepared, UpdateOptions};
use crate::adapters::apps_dir::AppDir;
use crate::adapters::command::CommandError;
use crate::adapters::compose::{Compose, Model, ProjectCall, PullProblem, Redactor, Topic, pull_problem, readable};
use crate::adapters::lock::ImageLocks;
use crate::domain::app::ServiceName;
use crate::domain::container::Container;
use crate::domain::freshness::Origins;
use crate::domain::image::ImageReference;
use crate::domain::plan::by_service;
use crate::domain::project::{Project, Service};
use crate::error::{Code, Error, Kind as ErrorKind, command_error};

/// What a pull and a resolve together found.
pub(super) struct Fetched {
    pub call: ProjectCall,
    pub model: Model,
    pub selected: Option<BTreeSet<ServiceName>>,
    /// `repository@digest` of what the containers run, by image ID, from before the pull: afterwards a containerd store
    /// has forgotten it.
    pub digests: BTreeMap<String, Vec<String>>,
    /// The services whose images were made on this machine: they were not pulled.
    pub own: BTreeSet<ServiceName>,
    /// The locks of the project's references.
    pub locks: ImageLocks,
}

/// Resolves the project and pulls its images, and holds the locks of their references from before the pull.
///
/// What was pulled without the lock could have been tagged back by the rollback of another app that shares the image. So
/// the references are locked that the app had the last time; only when they turn out to be others, or when none are known
/// yet, the project is resolved before the pull.
pub(super) async fn fetch(
    running: &Running,
    app: &AppDir,
    compose: &Compose,
    options: &UpdateOptions,
    everything: &[Container],
) -> Result<Fetched, Error> {
    let host = &running.host;
    let call = ProjectCall::new(&app.path);
    let named: Vec<_> = options.services.iter().map(ServiceName::new).collect();
    if let Some(option) = named.iter().find(|name| name.as_str().starts_with('-')) {
        // Compose would take it for one of its own.
        let message = format!("`service`: the app has no service `{option}`");
        return Err(Error::new(Code::NoSuchService, message).app(&app.name));
    }
    let known = host.service.store.references(&app.id()).await?;
    let mut locks = running.image_locks(&known).await?;
    let origins = host.engine.origins().await?;
    let digests = match &options.prepared {
        Some(prepared) => prepared.digests.clone(),
        None => origins.digests.clone(),
    };
    let has_own = known.iter().any(|reference| origins.made_here.contains(reference));
    let (model, mut pulled) = if options.prepared.is_some() || known.is_empty() || has_own {
        (config(compose, app, &call).await?, None)
    } else {
        let (model, pulled) = resolve_and_pull(running, app, compose, &call, &named).await?;
        (model, Some(pulled))
    };
    let containers = containers_of(&model.project, everything);
    check_directory(app, &containers).await?;
    check_containers(host, app, &containers)?;
    let visible: BTreeSet<_> = model.project.services.keys().cloned().collect();
    let (call, model) = with_what_runs(compose, app, call, model, &containers).await?;
    let selected = select(&model.project, options, app)?;
    let has_container = by_service(&containers);
    let is_hidden = |name: &&ServiceName| !visible.contains(*name) && has_container.contains_key(*name);
    let is_wanted = |name: &&ServiceName| selected.as_ref().is_none_or(|selected| selected.contains(*name));
    let hidden = model.project.services.keys().filter(is_hidden).filter(is_wanted).cloned().collect();
    let references = canonical_references(&model.project);
    if !locks.covers(&references) {
        // To wait for more while these are held could be to wait for somebody who waits for these.
        drop(locks);
        locks = running.image_locks(&references).await?;
        pulled = None;
    }
    if known != references {
        host.service.store.remember_references(&app.id(), &references).await?;
    }
    let own = made_here(&model.project, &origins);
    let redactor = redactor(app, &model).await?;
    let failed = |failure: PullFailure| failure.error(&model.project, &redactor).app(&app.name);
    let more = match (pulled, &options.prepared) {
        (Some(pulled), _) => pulled.map(|()| hidden).map_err(failed)?,
        (None, Some(prepared)) => missing(running, &model, prepared).await?,
        (None, None) => {
            if let Some(services) = in_registries(&model.project, &named, &own) {
                pull(running, compose, &call, &services, &redactor, running.handle.cancelled())
                    .await
                    .map_err(failed)?;
            }
            Vec::new()
        }
    };
    if !more.is_empty() {
        pull(running, compose, &call, &more, &redactor, running.handle.cancelled()).await.map_err(failed)?;
    }
    Ok(Fetched { call, model, selected, digests, own, locks })
}

/// The services whose images were made on this machine.
fn made_here(project: &Project, origins: &Origins) -> BTreeSet<ServiceName> {
    let is_own = |service: &Service| {
        let reference = service.image.parse::<ImageReference>();
        reference.is_ok_and(|reference| origins.made_here.contains(&reference.canonical()))
    };
    project.services.iter().filter(|(_, service)| is_own(service)).map(|(name, _)| name.clone()).collect()
}

/// The services to pull of those that are named, where no names mean everything, both times; `None` if there is nothing
/// to pull. What was made here is in no registry: its failure would be that of the whole pull.
fn in_registries(project: &Project, named: &[ServiceName], own: &BTreeSet<ServiceName>) -> Option<Vec<ServiceName>> {
    if own.is_empty() {
        return Some(named.to_vec());
    }
    let is_named = |name: &&ServiceName| named.is_empty() || named.contains(*name);
    let services: Vec<_> =
        project.services.keys().filter(is_named).filter(|name| !own.contains(*name)).cloned().collect();
    (!services.is_empty()).then_some(services)
}

/// The configuration, and how the pull that ran beside it ended. An invalid file ends the pull at once.
async fn resolve_and_pull(
    running: &Running,
    app: &AppDir,
    compose: &Compose,
    call: &ProjectCall,
    services: &[ServiceName],
) -> Result<(Model, Result<(), PullFailure>), Error> {
    let stop_pull = running.handle.cancelled().child_token();
    let files = Redactor::new(app.secret_values().await?, &[app.name.as_str()]);
    let resolving = async {
        let model = config(compose, app, call).await;
        if model.is_err() {
            stop_pull.cancel();
        }
        model
    };
    let (model, pulled) = tokio::join!(resolving, pull(running, compose, call, services, &files, &stop_pull));
    Ok((model?, pulled))
}

/// What a pass has found newer and not yet pulled, or what has been moved since, as by another app's rollback.
async fn missing(running: &Running, model: &Model, prepared: &Prepared) -> Result<Vec<ServiceName>, Error> {
    let newer = model.project.services.iter().filter(|(name, _)| prepared.newer.contains(*name));
    let references: BTreeSet<_> = newer.clone().map(|(_, service)| service.image.clone()).collect();
    let here = running.host.engine.images(references).await?;
    let is_here = |service: &Service| {
        let reference = service.image.parse::<ImageReference>().map(|reference| reference.canonical());
        let pulled = reference.ok().and_then(|reference| prepared.pulled.get(&reference));
        let local = here.get(&service.image).and_then(Option::as_ref);
        pulled.is_some_and(|pulled| local.is_some_and(|local| local.id == *pulled))
    };
    Ok(newer.filter(|(_, service)| !is_here(service)).map(|(name, _)| name.clone()).collect())
}

async fn pull(
    running: &Running,
    compose: &Compose,
    call: &ProjectCall,
    services: &[ServiceName],
    redactor: &Redactor,
    cancel: &CancellationToken,
) -> Result<(), PullFailure> {
    let mut relay = Relay::new(running, redactor.clone());
    let timeout = running.host.service.limits.pull_timeout;
    let pulled = compose.pull(call, services, timeout, cancel, |line| relay.line(line)).await;
    pulled.map_err(|error| PullFailure { error, subject: relay.failed })
}

/// A pull that failed, as Compose tells it: which service that means may not be known yet.
struct PullFailure {
    error: CommandError,
    subject: Option<Topic>,
}

impl PullFailure {
    fn error(&self, project: &Project, redactor: &Redactor) -> Error {
        let CommandError::Exit { stderr, .. } = &self.error else {
            return match &self.error {
                CommandError::Cancelled { .. } => cancelled(),
                other => command_error(other, redactor),
            };
        };
        let problem = pull_problem(stderr);
        if problem == PullProblem::EngineGone {
            return command_error(&self.error, redactor).hint(problem.hint());
        }
        let said = redactor.clean(&readable(stderr));
        let reason = said.lines().last().unwrap_or("no reason was given");
        let service = self.service(project);
        let what = match (&service, &self.subject) {
            (Some(service), _) => format!("the pull of `{service}` failed"),
            (None, Some(Topic::Image(reference))) => format!("the pull of `{}` failed", redactor.clean(reference)),
            (None, _) => "the pull failed".to_owned(),
        };
        let failure = Error { kind: ErrorKind::Upstream, ..Error::new(problem.code(), format!("{what}: {reason}")) };
        let failure = failure.hint(problem.hint()).said(&self.error, redactor);
        match service {
            Some(service) => failure.service(service),
            None => failure,
        }
    }

    /// The service whose pull failed; from Compose 5 on the first one that follows the image.
    fn service(&self, project: &Project) -> Option<ServiceName> {
        match self.subject.as_ref()? {
            Topic::Service(name) => Some(ServiceName::new(name)),
            Topic::Image(reference) => {
                project.services.iter().find(|(_, service)| service.image == *reference).map(|(name, _)| name.clone())
            }
            _ => None,
        }
    }
}

/// The services the caller named, and what lives in their namespaces.
fn select(project: &Project, options: &UpdateOptions, app: &AppDir) -> Result<Option<BTreeSet<ServiceName>>, Error> {
    if options.services.is_empty() {
        return Ok(None);
    }
    let named: BTreeSet<_> = options.services.iter().map(ServiceName::new).collect();
    if let Some(unknown) = named.iter().find(|name| !project.services.contains_key(name)) {
        let known: Vec<_> = project.services.keys().map(ServiceName::as_str).collect();
        return Err(Error::new(Code::NoSuchService, format!("`service`: the app has no service `{unknown}`"))
            .hint(format!("its services are {}", known.join(", ")))
            .app(&app.name));
    }
    Ok(Some(project.with_dependents(&named)))
}
