//! Back to the images that ran before the last update.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::attempt::{KEEP, Scene, Work, run};
use super::context::Host;
use super::jobs::{Running, Ticket};
use super::left_out::check_followers;
use super::resolve::{
    canonical_references, check_containers, check_directory, config, containers_of, redactor, settings,
};
use super::update_app::{ensure_volumes, old_images, project_fact, references};
use crate::adapters::apps_dir::AppDir;
use crate::adapters::compose::{Compose, ProjectCall};
use crate::domain::app::ServiceName;
use crate::domain::attempt::{Attempt, Fact, Intent, Reference, Stage};
use crate::domain::container::{Container, LocalImage};
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::job::{JobResult, Kind, Step};
use crate::domain::plan::{Change, by_service};
use crate::domain::project::Project;
use crate::error::{Code, Error};

impl Host {
    /// Starts the rollback of an app, or joins the one that is running.
    pub async fn start_rollback(self: &Arc<Self>, name: &str) -> Result<Ticket, Error> {
        let app = self.apps.find(name).await?;
        self.start_job(Kind::Rollback, app.target(), |running| async move { roll_back(&running, &app).await }).await
    }
}

async fn roll_back(running: &Running, app: &AppDir) -> Result<JobResult, Error> {
    let host = &running.host;
    running.step(Step::Resolve).await?;
    let nothing = || refused(Code::NothingToRollBack, format!("`{}` has no update to roll back", app.name), app);
    let (_, last) = host.service.store.last_update(&app.id()).await?.ok_or_else(nothing)?;
    let compose = host.compose().await?;
    let profiles = last.project().map(|project| project.profiles.clone()).unwrap_or_default();
    let call = ProjectCall::new(&app.path).with_profiles(profiles);
    let model = config(&compose, app, &call).await?;
    let settings = settings(&model, app)?;
    let locks = running.image_locks(&canonical_references(&model.project)).await?;

    running.step(Step::Plan).await?;
    let containers = containers_of(&model.project, &host.engine.containers().await?);
    check_directory(app, &containers).await?;
    check_containers(host, app, &containers)?;
    let changes = plan_back(running, app, &compose, &model.project, &containers, &last).await?;
    ensure_volumes(running, app, &model.project).await?;
    let current = host.engine.images(old_images(&changes)).await?;
    let changed: BTreeSet<_> = changes.iter().map(|change| change.service.clone()).collect();
    let meanings = host.images_of(&model.project, &containers).await?;
    let mut left_out = host.left_out(&model.project, &containers, &meanings, &changed).await?;
    left_out.retain(|service, _| !changed.contains(service));
    check_followers(app, &model.project, &containers, &changed, &left_out)?;
    let mut facts = references(changes, &current, &host.engine.origins().await?.digests);
    // Others follow the files or their images only when somebody updates them.
    let selected = model.project.with_dependents(&changed);
    facts.push(Fact::Project(project_fact(host, &model.project, &containers, &call, Some(selected)).await?));
    let attempt = Attempt {
        job: running.handle.id.clone(),
        intent: Intent::Rollback,
        facts,
        take_back: true,
        stage: Stage::Forward,
        exposed: false,
        deaths: 0,
    };
    let redactor = redactor(app, &model).await?;
    let scene = Scene { app: app.clone(), compose, call, model, redactor, hooks_after: Vec::new() };
    let mut work = Work::new(running, attempt, Some(scene), host.service.limits.patience(&settings));
    work.locks = Some(locks);
    work.begin().await?;
    run(work).await
}

/// Every service of the last update that does not already run its former image, and that image present.
async fn plan_back(
    running: &Running,
    app: &AppDir,
    compose: &Compose,
    project: &Project,
    containers: &[Container],
    last: &Attempt,
) -> Result<Vec<Change>, Error> {
    let services = by_service(containers);
    let mut changes = Vec::new();
    for reference in last.references() {
        let change = &reference.change;
        let (Some(service), Some(replicas)) = (project.services.get(&change.service), services.get(&change.service))
        else {
            continue;
        };
        let Some(former) = change.from.first() else { continue };
        if replicas.iter().all(|replica| replica.image_id == *former) {
            continue;
        }
        check_movable(app, &change.service, &service.image)?;
        let former = fetch_back(running, app, compose, former, reference).await?;
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
        return Err(refused(Code::NothingToRollBack, message, app));
    }
    Ok(changes)
}

fn check_movable(app: &AppDir, service: &ServiceName, reference: &str) -> Result<(), Error> {
    if reference.parse::<ImageReference>().is_ok_and(|reference| reference.digest().is_none()) {
        return Ok(());
    }
    let message = format!("`{service}` is pinned to {reference}");
    Err(refused(Code::Pinned, message, app).hint("edit the Compose file to go back").service(service))
}

/// The former image: still here, or fetched again by its digest.
async fn fetch_back(
    running: &Running,
    app: &AppDir,
    compose: &Compose,
    former: &ImageId,
    last: &Reference,
) -> Result<LocalImage, Error> {
    let engine = &running.host.engine;
    if let Some(image) = engine.image(former.as_str()).await? {
        return Ok(image);
    }
    for digest in names_of(former, last) {
        match compose.pull_image(&digest, running.host.service.limits.pull_timeout).await {
            Ok(()) => {
                if let Some(image) = engine.image(former.as_str()).await? {
                    return Ok(image);
                }
            }
            Err(error) => tracing::warn!(%error, image = digest, "the former image could not be fetched again"),
        }
    }
    let message = format!("the former image {former} is gone and could not be fetched again by its digest");
    Err(refused(Code::ImageGone, message, app))
}

/// `repository@digest` names by which a registry may know the former image. Names that only protect are none; in a
/// containerd store the image's ID is its digest.
fn names_of(former: &ImageId, last: &Reference) -> BTreeSet<String> {
    let known = last.from_digests.iter().filter(|name| !name.starts_with(KEEP)).cloned();
    let repository = last.change.reference.parse::<ImageReference>().map(|reference| reference.repository());
    known.chain(repository.ok().map(|repository| format!("{repository}@{former}"))).collect()
}

fn refused(code: Code, message: String, app: &AppDir) -> Error {
    Error::new(code, message).app(&app.name)
}
