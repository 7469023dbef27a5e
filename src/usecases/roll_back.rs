//! Back to the images that ran before the last update.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::apply::{KEEP, NotApplied, Work, retag};
use super::context::Restock;
use super::ending::unsettled;
use super::jobs::{Running, Ticket};
use super::left_behind::names_by_id;
use super::left_out::check_followers;
use super::resolve::{canonical_references, check_containers, check_directory, config, containers_of};
use super::update_app::{before, ensure_volumes, service_changes, settings};
use crate::adapters::apps_dir::AppDir;
use crate::adapters::compose::{Compose, ProjectCall};
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, LocalImage};
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::job::{JobResult, Kind, Outcome, Recreated, Step};
use crate::domain::journal::{Before, Journal};
use crate::domain::plan::{Change, by_service};
use crate::domain::project::Project;
use crate::error::{Attempt, Error, Kind as ErrorKind};

const DATA: &str = "data is not rolled back: volumes keep what the newer version wrote";

impl Restock {
    /// Starts the rollback of an app, or joins the one that is running.
    pub async fn start_rollback(self: &Arc<Self>, name: &str) -> Result<Ticket, Error> {
        let app = self.apps.find(name)?;
        self.start_job(Kind::Rollback, app.target(), |running| async move { roll_back(&running, &app).await }).await
    }
}

async fn roll_back(running: &Running, app: &AppDir) -> Result<JobResult, Error> {
    let started = Instant::now();
    let restock = &running.restock;
    running.step(Step::Resolve).await?;
    let nothing = || refused("nothing_to_roll_back", format!("`{}` has no update to roll back", app.name), app);
    let (_, last) = restock.store.last_update(&app.name).await?.ok_or_else(nothing)?;
    let compose = restock.compose().await?;
    let call = ProjectCall::new(&app.path).with_profiles(last.profiles.iter().cloned());
    let model = config(&compose, app, &call).await?;
    let settings = settings(&model, app)?;
    let images = running.image_locks(&canonical_references(&model.project)).await?;

    running.step(Step::Plan).await?;
    let containers = containers_of(&model.project, &restock.engine.containers().await?);
    check_directory(app, &containers)?;
    check_containers(restock, app, &containers)?;
    let changes = plan_back(running, app, &compose, &model.project, &containers, &last).await?;
    ensure_volumes(running, app, &model.project).await?;
    let current = changes.iter().flat_map(|change| &change.from).map(ToString::to_string);
    let current = restock.engine.images(current.collect::<BTreeSet<_>>()).await?;
    let changed: BTreeSet<_> = changes.iter().map(|change| change.service.clone()).collect();
    let meanings = restock.images_of(&model.project, &containers).await?;
    let mut left_out = restock.left_out(&model.project, &containers, &meanings, &changed).await?;
    left_out.retain(|service, _| !changed.contains(service));
    check_followers(app, &model.project, &containers, &changed, &left_out)?;
    let journal = Journal {
        project: model.project.name.clone(),
        before: before(&model.project, &containers, &current, &restock.engine.digests().await?),
        // Others follow the files or their images only when somebody updates them.
        selected: Some(model.project.with_dependents(&changed)),
        changes,
        profiles: last.profiles.clone(),
        rollback: true,
        resumed: false,
        containers: names_by_id(&containers),
    };
    let work = Work::new(running, app, compose, call, model, journal, &settings);
    let mut warnings = work.begin().await?;
    // From its beginning: whoever finishes it finds it done.
    remember_left(running, app, &work.journal).await;
    let services = service_changes(&work.journal);
    match carry_out(&work, &containers).await {
        Ok(recreated) => {
            drop(images);
            warnings.push(DATA.into());
            warnings.extend(restock.take_along(names_by_id(&containers)).await);
            let ended = JobResult::of(running.handle.id.clone(), Outcome::RolledBack, started.elapsed());
            Ok(JobResult { services, recreated, warnings, ..ended })
        }
        Err(NotApplied { later: Some(later), .. }) => Err(unsettled(app.name.as_str(), later).app(&app.name)),
        Err(reason) => {
            running.begin_rollback().await;
            let end = match work.take_back().await {
                Err(NotApplied { later: Some(later), .. }) => {
                    return Err(unsettled(app.name.as_str(), later).app(&app.name));
                }
                Ok(()) => {
                    running.forget_left().await;
                    "what ran before runs again".to_owned()
                }
                Err(second) => format!("what ran before could not be brought back either: {}", second.reason),
            };
            drop(images);
            restock.take_along(names_by_id(&containers)).await;
            let message = format!("the rollback of `{}` failed: {}; {end}", app.name, reason.reason);
            let error = Error::new(ErrorKind::Internal, "rollback_failed", message);
            let error = reason.blame(error, &work.redactor).app(&app.name);
            Err(Error { attempt: Some(Attempt { outcome: Outcome::Failed, services }), ..error })
        }
    }
}

/// Remembers what somebody goes back from: schedules leave it alone, a manual update moves on to it.
pub(super) async fn remember_left(running: &Running, app: &AppDir, journal: &Journal) {
    for change in &journal.changes {
        let Some(left) = change.from.first() else { continue };
        let digests = journal.before.get(&change.service).map(|before| before.digests.clone()).unwrap_or_default();
        running.remember_left(app.name.as_str(), &change.service, &change.reference, left, digests).await;
    }
}

/// Lets the references mean the former images again, and the containers follow.
async fn carry_out(work: &Work<'_>, containers: &[Container]) -> Result<Vec<Recreated>, NotApplied> {
    for change in &work.journal.changes {
        let moved = retag(&work.running.restock, &change.to, &change.reference).await;
        moved.map_err(|reason| NotApplied { service: Some(change.service.clone()), ..NotApplied::because(reason) })?;
    }
    work.apply(containers, &work.targets(), &BTreeSet::new()).await
}

/// Every service of the last update that does not already run its former image, and that image present.
async fn plan_back(
    running: &Running,
    app: &AppDir,
    compose: &Compose,
    project: &Project,
    containers: &[Container],
    last: &Journal,
) -> Result<Vec<Change>, Error> {
    let services = by_service(containers);
    let mut changes = Vec::new();
    for change in &last.changes {
        let (Some(service), Some(replicas)) = (project.services.get(&change.service), services.get(&change.service))
        else {
            continue;
        };
        let Some(former) = change.from.first() else { continue };
        if replicas.iter().all(|replica| replica.image_id == *former) {
            continue;
        }
        check_movable(app, &change.service, &service.image)?;
        let former = fetch_back(running, app, compose, former, last.before.get(&change.service)).await?;
        let from: BTreeSet<_> = replicas.iter().map(|replica| replica.image_id.clone()).collect();
        changes.push(Change {
            service: change.service.clone(),
            from: from.into_iter().collect(),
            to: former.id,
            to_manifest: None,
            reference: service.image.clone(),
            version_to: former.version,
            source: former.source,
            to_digests: former.repo_digests,
        });
    }
    if changes.is_empty() {
        let name = &app.name;
        let message = format!("`{name}` already runs the images of before its last update");
        return Err(refused("nothing_to_roll_back", message, app));
    }
    Ok(changes)
}

fn check_movable(app: &AppDir, service: &ServiceName, reference: &str) -> Result<(), Error> {
    if reference.parse::<ImageReference>().is_ok_and(|reference| reference.digest().is_none()) {
        return Ok(());
    }
    let message = format!("`{service}` is pinned to {reference}");
    Err(refused("pinned", message, app).hint("edit the Compose file to go back").service(service))
}

/// The former image: still here, or fetched again by its digest.
async fn fetch_back(
    running: &Running,
    app: &AppDir,
    compose: &Compose,
    former: &ImageId,
    before: Option<&Before>,
) -> Result<LocalImage, Error> {
    let engine = &running.restock.engine;
    if let Some(image) = engine.image(former.as_str()).await? {
        return Ok(image);
    }
    for digest in names_of(former, before) {
        match compose.pull_image(&digest, running.restock.limits.pull_timeout).await {
            Ok(()) => {
                if let Some(image) = engine.image(former.as_str()).await? {
                    return Ok(image);
                }
            }
            Err(error) => tracing::warn!(%error, image = digest, "the former image could not be fetched again"),
        }
    }
    let message = format!("the former image {former} is gone and could not be fetched again by its digest");
    Err(refused("image_gone", message, app))
}

/// `repository@digest` names by which a registry may know the former image. Names that only protect are none; in a
/// containerd store the image's ID is its digest.
fn names_of(former: &ImageId, before: Option<&Before>) -> BTreeSet<String> {
    let Some(before) = before else { return BTreeSet::new() };
    let known = before.digests.iter().filter(|name| !name.starts_with(KEEP)).cloned();
    let repository = before.reference.parse::<ImageReference>().map(|reference| reference.repository());
    known.chain(repository.ok().map(|repository| format!("{repository}@{former}"))).collect()
}

fn refused(code: &'static str, message: String, app: &AppDir) -> Error {
    Error::new(ErrorKind::Conflict, code, message).app(&app.name)
}
