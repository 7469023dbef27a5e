//! The update of an app: pull, compare, apply only when something changed, prove, or take back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::attempt::{Scene, Work, run};
use super::context::Host;
use super::fetch::{Fetched, fetch};
use super::jobs::{Running, Ticket};
use super::left_out::{add_what_is_not_due, asked, check_followers, without};
use super::resolve::{check_containers, containers_of, of_directory, redactor, settings};
use super::update_options::UpdateOptions;
use crate::adapters::apps_dir::AppDir;
use crate::adapters::compose::{Compose, ProjectCall};
use crate::domain::app::ServiceName;
use crate::domain::attempt::{Attempt, Fact, Intent, ProjectFact, Reference, Replica, Stage, WasThere};
use crate::domain::container::{Container, Health, LocalImage};
use crate::domain::job::{JobResult, Kind, Outcome, Step};
use crate::domain::plan::{Change, by_service, plan};
use crate::domain::project::Project;
use crate::error::{Code, Error};

impl Host {
    /// Starts the update of an app, or joins the one that is running.
    pub async fn start_update(self: &Arc<Self>, name: &str, options: UpdateOptions) -> Result<Ticket, Error> {
        let app = self.apps.find(name).await?;
        self.start_job(Kind::Update, app.target(), move |running| async move { update(&running, &app, &options).await })
            .await
    }
}

async fn update(running: &Running, app: &AppDir, options: &UpdateOptions) -> Result<JobResult, Error> {
    let started = Instant::now();
    let host = &running.host;
    running.step(Step::Snapshot).await?;
    let compose = host.compose().await?;
    let everything = host.engine.containers().await?;
    let own = of_directory(app, &everything).await;
    check_containers(host, app, &own)?;

    running.step(Step::Pull).await?;
    let guarded = running.guard(&own).await?;
    let ended = fetch_and_apply(running, app, compose, options, &everything).await?;
    running.release(guarded).await;
    let duration_ms = JobResult::of(running.handle.id.clone(), Outcome::Updated, started.elapsed()).duration_ms;
    Ok(JobResult { duration_ms, ..ended })
}

async fn fetch_and_apply(
    running: &Running,
    app: &AppDir,
    compose: Compose,
    options: &UpdateOptions,
    everything: &[Container],
) -> Result<JobResult, Error> {
    let (started, host) = (Instant::now(), &running.host);
    let mut fetched = fetch(running, app, &compose, options, everything).await?;
    // The pull may have taken long: somebody may have stopped or paused something meanwhile.
    let containers = containers_of(&fetched.model.project, &host.engine.containers().await?);
    check_containers(host, app, &containers)?;

    running.step(Step::Plan).await?;
    let project = &fetched.model.project;
    let images = host.images_of(project, &containers).await?;
    host.service.freshness.learn_pulled(&images);
    let mut plan = plan(project, &containers, &images, fetched.selected.as_ref());
    plan.skip_own(&fetched.own, &containers);
    let mut left_out = host.left_out(project, &containers, &images, &asked(project, options)).await?;
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
    let changed = change(running, app, compose, options, fetched, &containers, plan.changes).await?;
    Ok(JobResult { skipped: plan.skipped, ..changed })
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
) -> Result<JobResult, Error> {
    let host = &running.host;
    let settings = settings(&fetched.model, app)?;
    ensure_volumes(running, app, &fetched.model.project).await?;
    let old = host.engine.images(old_images(&changes)).await?;
    let mut facts = references(changes, &old, &fetched.digests);
    let project = project_fact(host, &fetched.model.project, containers, &fetched.call, fetched.selected).await?;
    facts.push(Fact::Project(project.clone()));
    let attempt = Attempt {
        job: running.handle.id.clone(),
        intent: Intent::Update,
        facts,
        take_back: !options.no_rollback && settings.rollback.unwrap_or(true),
        stage: Stage::Forward,
        exposed: false,
        deaths: 0,
    };
    let scene = Scene {
        app: app.clone(),
        redactor: redactor(app, &fetched.model).await?,
        compose,
        call: fetched.call,
        model: fetched.model,
        hooks_after: settings.hooks.after.clone(),
    };
    let skipped = scene.hooks_before(running, &project, &settings.hooks.before).await?;
    let mut work = Work::new(running, attempt, Some(scene), host.service.limits.patience(&settings));
    work.warnings.extend(skipped);
    work.locks = Some(fetched.locks);
    work.begin().await?;
    run(work).await
}

/// The references that are to mean other images, with how to fetch the present ones again.
pub(super) fn references(
    changes: Vec<Change>,
    old: &BTreeMap<String, Option<LocalImage>>,
    digests: &BTreeMap<String, Vec<String>>,
) -> Vec<Fact> {
    let reference = |change: Change| {
        let first = change.from.first().map(ToString::to_string).unwrap_or_default();
        Fact::Reference(Reference {
            from_digests: digests.get(&first).cloned().unwrap_or_default(),
            version_from: old.get(&first).and_then(|image| image.as_ref()?.version.clone()),
            change,
        })
    };
    changes.into_iter().map(reference).collect()
}

/// The project that follows the references, and its containers as they are now.
pub(super) async fn project_fact(
    host: &Host,
    project: &Project,
    containers: &[Container],
    call: &ProjectCall,
    selected: Option<BTreeSet<ServiceName>>,
) -> Result<ProjectFact, Error> {
    let looks = containers.iter().map(|container| host.engine.vitals(&container.id));
    let vitals = futures_util::future::try_join_all(looks).await?;
    let replicas = containers.iter().zip(vitals).map(|(container, vitals)| Replica {
        id: container.id.clone(),
        name: container.name.clone(),
        started_at: vitals.and_then(|vitals| vitals.started_at),
    });
    let services = by_service(containers).into_iter().filter(|(name, _)| project.services.contains_key(*name));
    let was_there = |replicas: Vec<&Container>| WasThere {
        running: replicas.iter().any(|replica| replica.state.is_up()),
        unhealthy: replicas.iter().any(|replica| replica.health == Health::Unhealthy),
        replicas: replicas.len(),
    };
    Ok(ProjectFact {
        name: project.name.clone(),
        profiles: call.profiles.iter().cloned().collect(),
        selected,
        before: services.map(|(name, replicas)| (name.clone(), was_there(replicas))).collect(),
        replicas: replicas.collect(),
    })
}

/// Makes sure of the manifest's volumes, and that no other external volume is missing: `up` would fail half-way.
pub(super) async fn ensure_volumes(running: &Running, app: &AppDir, project: &Project) -> Result<(), Error> {
    let broken = |reason: String| Error::new(Code::InvalidManifest, reason).app(&app.name);
    let own: BTreeSet<_> = app.manifest_volumes().map_err(broken)?.into_iter().collect();
    // What is missing is found before anything is made.
    for volume in project.external_volumes.difference(&own) {
        if !running.host.engine.has_volume(volume).await? {
            let message = format!("the external volume `{volume}` is missing");
            return Err(Error::new(Code::MissingVolume, message)
                .hint(format!("create it: docker volume create {volume}"))
                .app(&app.name));
        }
    }
    for volume in &own {
        running.host.engine.ensure_volume(volume).await?;
    }
    Ok(())
}

pub(super) fn old_images(changes: &[Change]) -> BTreeSet<String> {
    changes.iter().flat_map(|change| &change.from).map(ToString::to_string).collect()
}
