//! The part of a pass that changes something: each newer image is pulled once, then each app is updated once, and each
//! standalone container.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;

use super::hold::Memories;
use super::mark::{Marked, Marks};
use super::options::{Finding, PassOptions};
use crate::domain::app::{AppName, ServiceName};
use crate::domain::container::LocalImage;
use crate::domain::freshness::digests_in;
use crate::domain::hold::HeldBack;
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::job::{Job, Outcome, Step};
use crate::domain::report::{PassReport, Updated};
use crate::error::Error;
use crate::usecases::context::Host;
use crate::usecases::freshness::asked_of;
use crate::usecases::jobs::Running;
use crate::usecases::pull::pull;
use crate::usecases::update_container::{ContainerOptions, Pull};
use crate::usecases::update_options::{Prepared, UpdateOptions};

/// What is updated as one, with the places of its containers in the report.
enum Share {
    App { name: AppName, options: UpdateOptions, places: Vec<usize> },
    Container { id: String, options: ContainerOptions, place: usize },
}

/// Applies what is newer, and notes in the report what became of it.
pub(super) async fn apply(
    running: &Running,
    options: &PassOptions,
    marks: &Marks,
    verdicts: &[Finding],
    report: &mut PassReport,
) -> Result<(), Error> {
    let newer: Vec<usize> = (0..verdicts.len()).filter(|place| matches!(verdicts[*place], Finding::Newer(_))).collect();
    if newer.is_empty() {
        return Ok(());
    }
    running.step(Step::Pull).await?;
    // They expire: what is pulled now may be held back, and applied by a later pass.
    let _ = running.guard(newer.iter().map(|place| &marks.marked[*place].container)).await?;
    let (pulled, failed) = pull_each_once(running, marks, &newer).await;
    report.errors.extend(failed.iter().map(|(image, error)| format!("{image}: {error}")));
    let host = &running.host;
    let mut told = HashSet::new();
    for place in &newer {
        let marked = &marks.marked[*place];
        let Some(error) = failed.get(&canonical(marked)) else { continue };
        report.reports[*place].updated = Updated::Failed;
        // No job of its own tells of it.
        if told.insert(marked.subject()) {
            host.service.announce_failed(host.target(marked.subject()), &running.handle.id, error).await;
        }
    }
    let here = |place: &usize| !failed.contains_key(&canonical(&marks.marked[*place]));
    let mut newer: Vec<usize> = newer.iter().copied().filter(here).collect();
    for (place, held) in hold_unjudged(host, marks, verdicts, &newer, &pulled).await? {
        report.reports[place].held_back = Some(held);
        newer.retain(|known| *known != place);
    }
    running.handle.begin_touching()?;
    running.step(Step::Apply).await?;
    let pulled = pulled.into_iter().map(|(reference, image)| (reference, image.id)).collect();
    let units = units(marks, verdicts, options.rollback, &newer, &Arc::new(pulled));
    let work = units.into_iter().map(|unit| async move {
        // The pull and the units before it may have lasted until after the window's end.
        let ended = match host.window_closed() {
            Some(held) => Err(held),
            None => Ok(run(host, &unit).await),
        };
        (ended, unit)
    });
    let mut work = futures_util::stream::iter(work).buffer_unordered(host.service.limits.concurrency.max(1));
    while let Some((ended, unit)) = work.next().await {
        match ended {
            Ok(ended) => note(&unit, ended, marks, report),
            Err(held) => unit.places().for_each(|place| report.reports[place].held_back = Some(held.clone())),
        }
    }
    Ok(())
}

impl Share {
    fn places(&self) -> impl Iterator<Item = usize> {
        match self {
            Self::App { places, .. } => places.clone(),
            Self::Container { place, .. } => vec![*place],
        }
        .into_iter()
    }
}

/// Pulls each reference once, however many follow it. One that fails stops only those.
async fn pull_each_once(
    running: &Running,
    marks: &Marks,
    newer: &[usize],
) -> (BTreeMap<String, LocalImage>, BTreeMap<String, Error>) {
    // Another platform's image is left to Compose, which knows how to ask for it.
    let of_registry = newer.iter().map(|place| &marks.marked[*place]).filter(|marked| marked.platform.is_none());
    let pulls = asked_of(of_registry.filter_map(|marked| marked.followed(&marks.snapshot.origins)));
    let pulls = pulls.into_iter().map(|(reference, authfile)| async move {
        let pulled = pull_one(running, &reference, authfile.as_deref()).await;
        (reference.canonical(), pulled)
    });
    let concurrency = running.host.service.limits.concurrency.max(1);
    let mut pulls = futures_util::stream::iter(pulls).buffer_unordered(concurrency);
    let (mut pulled, mut failed) = (BTreeMap::new(), BTreeMap::new());
    while let Some((reference, outcome)) = pulls.next().await {
        match outcome {
            Ok(Some(image)) => drop(pulled.insert(reference, image)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "what follows this image stays as it is");
                failed.insert(reference, error);
            }
        }
    }
    (pulled, failed)
}

async fn pull_one(
    running: &Running,
    reference: &ImageReference,
    authfile: Option<&Path>,
) -> Result<Option<LocalImage>, Error> {
    let host = &running.host;
    let _lock = running.image_locks(&[reference.canonical()].into()).await?;
    pull(running, reference, None, authfile).await?;
    Ok(host.engine.image(&reference.canonical()).await?)
}

/// What of `newer` has to wait after all: the registry got another image between the question and the pull, and that
/// one, which nobody has judged, may be too young.
async fn hold_unjudged(
    host: &Host,
    marks: &Marks,
    verdicts: &[Finding],
    newer: &[usize],
    pulled: &BTreeMap<String, LocalImage>,
) -> Result<Vec<(usize, HeldBack)>, Error> {
    let (mut held, mut memories) = (Vec::new(), Memories::new());
    for place in newer {
        let marked = &marks.marked[*place];
        let (Finding::Newer(Some(judged)), Some(reference)) = (&verdicts[*place], marked.reference()) else { continue };
        let Some(image) = pulled.get(&reference.canonical()) else { continue };
        if let Some(reason) =
            host.failed_here(host.memory_of(marks, marked, &mut memories).await?, &marked.known_as(), image)
        {
            held.push((*place, reason));
            continue;
        }
        // An image can have several; that of the last pull is not told apart.
        let digests = digests_in(&image.repo_digests, &reference);
        let Some(digest) = digests.first().filter(|_| !digests.contains(judged)) else { continue };
        // Its age counts from now on.
        host.service.freshness.learn_pulled(&[(reference.canonical(), Some(image.clone()))].into());
        let memory = host.memory_of(marks, marked, &mut memories).await?;
        let reason = host.held_back(memory, &marked.known_as(), &reference, digest).await?;
        held.extend(reason.map(|reason| (*place, reason)));
    }
    Ok(held)
}

fn canonical(marked: &Marked) -> String {
    marked.reference().map(|reference| reference.canonical()).unwrap_or_default()
}

fn units(
    marks: &Marks,
    verdicts: &[Finding],
    rollback: bool,
    newer: &[usize],
    pulled: &Arc<BTreeMap<String, ImageId>>,
) -> Vec<Share> {
    let rests = |place: usize| matches!(verdicts[place], Finding::Fresh) || newer.contains(&place);
    let mut apps: BTreeMap<&AppName, Vec<usize>> = BTreeMap::new();
    let mut units = Vec::new();
    for place in newer {
        match &marks.marked[*place] {
            Marked { service: Some((app, _)), .. } => apps.entry(app).or_default().push(*place),
            marked => {
                let here = pulled.get(&canonical(marked)).cloned();
                let pull = if marked.local { Pull::Never } else { here.map_or(Pull::Always, Pull::UnlessItIs) };
                let options = ContainerOptions { pull, no_rollback: !rollback, follows: None };
                units.push(Share::Container { id: marked.container.id.clone(), options, place: *place });
            }
        }
    }
    for (app, places) in apps {
        let due: BTreeSet<_> = places.iter().filter_map(|place| marks.marked[*place].service_name()).cloned().collect();
        let to_pull = places.iter().map(|place| &marks.marked[*place]).filter(|marked| !marked.local);
        let to_pull = to_pull.filter_map(Marked::service_name).cloned().collect();
        let prepared = Prepared {
            newer: to_pull,
            due: due.clone(),
            pulled: pulled.clone(),
            digests: marks.snapshot.origins.digests.clone(),
        };
        let whole = (0..marks.marked.len()).all(|place| !marks.marked[place].is_of(app) || rests(place))
            && marks.left_alone.get(app).is_none_or(BTreeSet::is_empty);
        // Without names the whole app is applied, as a person would: only where nothing in it has to be left as it is.
        let named = if whole { BTreeSet::new() } else { due.iter().map(ToString::to_string).collect() };
        let options = UpdateOptions { no_rollback: !rollback, services: named, prepared: Some(Arc::new(prepared)) };
        units.push(Share::App { name: app.clone(), options, places });
    }
    units
}

async fn run(host: &Arc<Host>, unit: &Share) -> Result<Job, Error> {
    match unit {
        Share::App { name, options, .. } => {
            host.service.run_to_end(|| host.start_update(name.as_str(), options.clone())).await
        }
        Share::Container { id, options, .. } => {
            host.service.run_to_end(|| host.start_container_update(id, options.clone())).await
        }
    }
}

fn note(unit: &Share, ended: Result<Job, Error>, marks: &Marks, report: &mut PassReport) {
    let name = match unit {
        Share::App { name, .. } => name.to_string(),
        Share::Container { place, .. } => marks.marked[*place].container.name.clone(),
    };
    if let (Share::App { name, .. }, Ok(job)) = (unit, &ended) {
        note_recreated(name, job, marks, report);
    }
    for place in unit.places() {
        report.reports[place].updated = match &ended {
            Ok(job) => became(job, marks.marked[place].service_name()),
            Err(_) => Updated::Failed,
        };
    }
    match ended {
        Ok(job) => report.errors.extend(job.error.map(|error| format!("{name}: {}", error.message))),
        Err(error) => report.errors.push(format!("{name}: {error}")),
    }
}

/// A container that was replaced for another reason than its own image is another one as well.
fn note_recreated(app: &AppName, job: &Job, marks: &Marks, report: &mut PassReport) {
    let recreated: BTreeSet<_> =
        job.result.iter().flat_map(|result| &result.recreated).map(|also| &also.service).collect();
    for (place, marked) in marks.marked.iter().enumerate() {
        if marked.is_of(app) && marked.service_name().is_some_and(|service| recreated.contains(service)) {
            report.reports[place].updated = Updated::True;
        }
    }
}

/// What a job did to one of its containers. Only what was really changed counts as updated.
fn became(job: &Job, service: Option<&ServiceName>) -> Updated {
    let Some(result) = &job.result else { return Updated::Failed };
    if job.error.is_some() && result.services.is_empty() {
        // It ended before anything was changed, as by a hook.
        return Updated::Failed;
    }
    if service.is_some_and(|service| !result.services.iter().any(|change| change.service == *service)) {
        let also = result.recreated.iter().any(|also| Some(&also.service) == service);
        return if also { Updated::True } else { Updated::False };
    }
    match result.outcome {
        Outcome::RolledBack => Updated::RolledBack,
        _ if job.error.is_some() => Updated::Failed,
        _ if result.updated => Updated::True,
        _ => Updated::False,
    }
}
