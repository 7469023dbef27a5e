//! The update of an app: pull, compare, apply only when something changed, prove, or take back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::apply::{NotApplied, Work};
use super::context::Restock;
use super::ending::{Ended, unsettled};
use super::fetch::{Fetched, fetch};
use super::jobs::{Running, Ticket};
use super::left_behind::names_by_id;
use super::left_out::{add_what_is_not_due, asked, check_followers, without};
use super::resolve::{check_containers, containers_of, of_directory};
use crate::adapters::apps_dir::AppDir;
use crate::adapters::compose::{Compose, Model};
use crate::adapters::store::BadImage;
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, Health, LocalImage};
use crate::domain::hold::BadCause;
use crate::domain::image::ImageId;
use crate::domain::job::{JobResult, Kind, OneOrMany, Outcome, Recreated, ServiceChange, Step};
use crate::domain::journal::{Before, Journal};
use crate::domain::plan::{Change, by_service, images_by_use, plan};
use crate::domain::project::{AppSettings, Project};
use crate::error::{Error, Kind as ErrorKind};

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
    /// The services that are to be changed: those, and the ones that follow what is here.
    pub due: BTreeSet<ServiceName>,
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
    let (mut fetched, locks) = fetch(running, app, &compose, options, &everything).await?;
    // The pull may have taken long: somebody may have stopped or paused something meanwhile.
    let containers = containers_of(&fetched.model.project, &restock.engine.containers().await?);
    check_containers(restock, app, &containers)?;

    running.step(Step::Plan).await?;
    let project = &fetched.model.project;
    let images = restock.images_of(project, &containers).await?;
    restock.freshness.learn_pulled(&images);
    let mut plan = plan(project, &containers, &images, fetched.selected.as_ref());
    let mut left_out = restock.left_out(project, &containers, &images, &asked(project, options)).await?;
    add_what_is_not_due(&mut left_out, &plan, options);
    plan.leave_out(&left_out);
    let due = plan.changes.iter().map(|change| change.service.clone()).collect();
    check_followers(app, project, &containers, &due, &left_out)?;
    fetched.selected = without(project, fetched.selected, &left_out);
    if plan.changes.is_empty() {
        let outcome = if containers.is_empty() { Outcome::Pulled } else { Outcome::Unchanged };
        let ended = JobResult::of(running.handle.id.clone(), outcome, started.elapsed());
        return Ok(JobResult { skipped: plan.skipped, ..ended });
    }
    let changed = change(running, app, compose, options, fetched, &containers, plan.changes).await;
    // Those who shared a network are updated as well, and may need the same images.
    drop(locks);
    let left_behind = restock.take_along(names_by_id(&containers)).await;
    let changed = changed?;
    let warnings = [changed.warnings, left_behind].concat();
    let ended = JobResult::of(running.handle.id.clone(), Outcome::Updated, started.elapsed());
    Ok(JobResult { services: changed.services, recreated: changed.recreated, skipped: plan.skipped, warnings, ..ended })
}

/// What an update has done.
struct Changed {
    services: Vec<ServiceChange>,
    recreated: Vec<Recreated>,
    warnings: Vec<String>,
}

/// Applies what was fetched, proves it, or takes it back.
async fn change(
    running: &Running,
    app: &AppDir,
    compose: Compose,
    options: &UpdateOptions,
    fetched: Fetched,
    containers: &[Container],
    changes: Vec<Change>,
) -> Result<Changed, Error> {
    let restock = &running.restock;
    let settings = settings(&fetched.model, app)?;
    ensure_volumes(running, app, &fetched.model.project).await?;
    let old = restock.engine.images(old_images(&changes)).await?;
    let journal = Journal {
        project: fetched.model.project.name.clone(),
        before: before(&fetched.model.project, containers, &old, &fetched.digests),
        changes,
        profiles: fetched.call.profiles.iter().cloned().collect(),
        rollback: !options.no_rollback && settings.rollback.unwrap_or(true),
        selected: fetched.selected,
        containers: names_by_id(containers),
        resumed: false,
    };
    let work = Work::new(running, app, compose, fetched.call, fetched.model, journal, &settings);
    let skipped = work.hooks_before(&settings.hooks.before).await?;
    let mut warnings = work.begin().await?;
    warnings.extend(skipped);
    let applied = work.apply(containers, &work.targets(), &BTreeSet::new()).await;
    let services = service_changes(&work.journal);
    match applied {
        Ok(recreated) => {
            for change in &work.journal.changes {
                restock.forget_bad(app.name.as_str(), &change.service).await;
            }
            warnings.extend(work.unproven());
            warnings.extend(work.lost_replicas(containers).await);
            warnings.extend(work.hooks_after(&settings.hooks.after).await);
            Ok(Changed { services, recreated, warnings })
        }
        Err(reason) => Err(give_up(&work, reason, services).await),
    }
}

/// Takes a failed update back where that is wanted, and says how it ended.
pub(super) async fn give_up(work: &Work<'_>, reason: NotApplied, services: Vec<ServiceChange>) -> Error {
    let running = work.running;
    let app = &work.app.name;
    if let Some(later) = reason.later {
        return unsettled(app.as_str(), later).app(app);
    }
    remember_bad(work, reason.against_images).await;
    let ended = if work.journal.rollback {
        running.warn(&format!("the update failed, the previous images are brought back: {}", reason.reason));
        running.begin_rollback().await;
        match work.take_back().await {
            Ok(()) => Ended::TakenBack,
            Err(NotApplied { later: Some(later), .. }) => return unsettled(app.as_str(), later).app(app),
            Err(second) => Ended::Lost(second.reason),
        }
    } else {
        Ended::LeftAsItIs
    };
    let hint = match ended {
        Ended::TakenBack => "look at the logs of the new version, or wait for the next one; data is not rolled back",
        Ended::LeftAsItIs => "look at the logs of the new version; `restock rollback` brings the previous one back",
        Ended::Lost(_) => {
            "look at the containers with `docker compose ps -a` and at their logs; the old images are kept under restock.local/keep"
        }
    };
    let said = format!("{}{}", reason.reason, work.ailing_before());
    let error = ended.error(app.as_str(), &said, services).hint(hint);
    reason.blame(error, &work.redactor).app(app)
}

/// Remembers the new images of a failed update as ones that schedules leave alone: because of themselves, or only for as
/// long as the app is set up as it is now.
pub(super) async fn remember_bad(work: &Work<'_>, against_images: bool) {
    let (cause, config) = match against_images {
        true => (BadCause::Failed, None),
        false => (BadCause::Setup, Some(work.model.fingerprint.clone())),
    };
    for change in &work.journal.changes {
        let bad = BadImage {
            owner: work.app.name.to_string(),
            service: change.service.clone(),
            reference: change.reference.clone(),
            image_id: change.to.clone(),
            digests: change.to_digests.clone(),
            job: work.running.handle.id.clone(),
            since: jiff::Timestamp::now(),
            cause,
            config: config.clone(),
        };
        work.running.remember(&bad).await;
    }
}

/// The app's own settings, or the mistakes in them: they are told before anything is touched.
pub(super) fn settings(model: &Model, app: &AppDir) -> Result<AppSettings, Error> {
    model.project.settings.clone().map_err(|mistakes| {
        Error::new(ErrorKind::BrokenApp, "invalid_settings", mistakes)
            .hint("correct `x-restock` in the Compose file")
            .app(&app.name)
    })
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

/// The services that have containers, as they are now. `images` knows what the containers were made from, `digests` how
/// to fetch it again.
pub(super) fn before(
    project: &Project,
    containers: &[Container],
    images: &BTreeMap<String, Option<LocalImage>>,
    digests: &BTreeMap<String, Vec<String>>,
) -> BTreeMap<ServiceName, Before> {
    let services = by_service(containers);
    let known = project.services.iter().filter_map(|(name, service)| Some((name, service, services.get(name)?)));
    known
        .map(|(name, service, replicas)| {
            let used = images_by_use(replicas);
            let first = used.first().map(ToString::to_string).unwrap_or_default();
            let before = Before {
                reference: service.image.clone(),
                digests: digests.get(&first).cloned().unwrap_or_default(),
                version: images.get(&first).and_then(|image| image.as_ref()?.version.clone()),
                running: replicas.iter().any(|replica| replica.state.is_up()),
                unhealthy: replicas.iter().any(|replica| replica.health == Health::Unhealthy),
                images: used,
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
