//! Which services of an app have newer images, without pulling.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::context::Host;
use super::freshness::{Ask, Unknown, asked_of};
use super::inventory::Snapshot;
use super::jobs::{Running, Ticket};
use super::list_apps::App;
use super::list_images::authfile_among;
use super::policies::policy_of;
use crate::adapters::apps_dir::AppDirError;
use crate::domain::app::ServiceName;
use crate::domain::check::{AppStatus, Available, NewerReason, ServiceStatus};
use crate::domain::container::Container;
use crate::domain::freshness::{Finding, Origins, Status, overall};
use crate::domain::image::ImageReference;
use crate::domain::job::{Job, JobResult, Kind, OneOrMany, Outcome, ServiceChange, Step};
use crate::domain::plan::{SkipReason, Skipped, by_service};
use crate::domain::project::{PullPolicy, Service};
use crate::error::{Code, Error};

const NO_CONTAINER: &str = "the service has no container";

impl Host {
    /// Tells the freshness of one app.
    pub async fn check_app(self: &Arc<Self>, name: &str, ask: Ask) -> Result<AppStatus, Error> {
        if ask == Ask::Force {
            let (app, snapshot) = tokio::try_join!(self.app(name), self.snapshot())?;
            return self.status_now(&app, &snapshot, ask).await;
        }
        let look = self.seen_app(name).await?;
        match look.app(name) {
            Some(seen) => self.status_now(&seen.app, &look.snapshot, ask).await,
            None => Err(AppDirError::NoSuchApp(name.to_owned()).into()),
        }
    }

    async fn status_now(&self, app: &App, snapshot: &Snapshot, ask: Ask) -> Result<AppStatus, Error> {
        if let Err(error) = &app.model {
            return Err(error.clone());
        }
        let running = self.service.running_jobs().await?;
        let mut status = self.status_of(app, &snapshot.origins, &running, ask).await;
        // What was asked has been written down by now: an image's age counts from its first answer.
        let (remembered, toggles) = tokio::try_join!(self.service.remembered(), self.toggles())?;
        self.tell_holds(app, &policy_of(app, &toggles), &remembered, &mut status);
        Ok(status)
    }

    /// Tells the freshness of an app that has been looked at already. `running` are the jobs that run.
    pub async fn status_of(&self, app: &App, origins: &Origins, running: &[Job], ask: Ask) -> AppStatus {
        let services = app.model.as_ref().map(|model| &model.project.services).ok();
        let containers = by_service(&app.containers);
        let follows = services
            .into_iter()
            .flatten()
            .filter(|(name, service)| containers.contains_key(name) && service.pull_policy == PullPolicy::Asks)
            .filter_map(|(name, service)| {
                let authfile = containers.get(name).and_then(|replicas| authfile_among(replicas));
                Some((origins.followed(&service.image).ok()?, authfile))
            });
        let asked = asked_of(follows);
        self.service.freshness.learn(&asked, ask).await;
        let updating = running.iter().any(|job| job.target == app.dir.target() && job.kind == Kind::Update);
        let mut found = Vec::new();
        for (name, service) in services.into_iter().flatten() {
            let replicas = containers.get(name).map(Vec::as_slice).unwrap_or_default();
            found.push((name, service, self.finding(service, replicas, origins, updating, ask).await));
        }
        let platforms = self.look_up(&found, origins, ask).await;
        let statuses: Vec<_> = found
            .into_iter()
            .map(|(name, service, finding)| {
                let newer = finding.remote_digest.as_ref().filter(|_| finding.status == Status::Outdated);
                let platform = service.platform.as_deref().or(platforms);
                let details = newer.and_then(|digest| self.service.freshness.details(digest, platform));
                let pinned = service.image.parse::<ImageReference>().is_ok_and(|image| image.digest().is_some());
                ServiceStatus {
                    service: name.clone(),
                    image: service.image.clone(),
                    available: newer.map(|digest| Available::of(&service.image, digest, details.as_ref())),
                    finding,
                    newer: (),
                    newer_reason: if pinned { NewerReason::Pinned } else { NewerReason::NotChecked },
                    held_back: None,
                }
            })
            .collect();
        AppStatus {
            app: app.dir.name.clone(),
            status: overall(statuses.iter().map(|status| status.finding.status)),
            services: statuses,
            error: None,
            checked_at: asked
                .keys()
                .filter_map(|reference| self.service.freshness.known(reference))
                .map(|known| known.asked_at)
                .max(),
        }
    }

    /// Tells the freshness of a service; one stale replica makes it stale.
    async fn finding(
        &self,
        service: &Service,
        replicas: &[&Container],
        origins: &Origins,
        updating: bool,
        ask: Ask,
    ) -> Finding {
        if let Some(finding) = unfollowed(service, replicas, updating) {
            return finding;
        }
        let mut finding = None::<Finding>;
        for replica in replicas {
            let found = self.service.freshness.find(replica, &service.image, origins, ask).await;
            if finding.as_ref().is_none_or(|known| overall([known.status, found.status]) != known.status) {
                finding = Some(found);
            }
        }
        finding.unwrap_or_else(|| Finding::of(Status::Skipped, NO_CONTAINER))
    }

    /// Looks up what is newer and not known yet; gives the platform of the engine, as far as it is known.
    async fn look_up(&self, found: &[(&ServiceName, &Service, Finding)], origins: &Origins, ask: Ask) -> Option<&str> {
        let platform = self.known_platform();
        let unknown = found.iter().filter_map(|(_, service, finding)| {
            let digest = finding.remote_digest.as_ref().filter(|_| finding.status == Status::Outdated)?;
            let platform = service.platform.as_deref().or(platform);
            let reference = origins.followed(&service.image).ok()?;
            self.service.freshness.may_look_up(digest, platform, ask).then_some((reference, digest, *service))
        });
        let unknown: Vec<_> = unknown.collect();
        if unknown.is_empty() {
            return platform;
        }
        let platform = self.platform().await;
        let unknown = unknown.into_iter().filter_map(|(reference, digest, service)| {
            let platform = service.platform.as_deref().or(platform)?.to_owned();
            Some(Unknown { reference, digest: digest.clone(), platform })
        });
        // Services may share an image.
        let unknown: HashSet<_> = unknown.collect();
        self.service.freshness.look_up(unknown.into_iter().collect(), ask).await;
        platform
    }

    /// Starts a dry run of an app's update: what it would change, without a pull.
    pub async fn start_dry_run(self: &Arc<Self>, name: &str, services: BTreeSet<String>) -> Result<Ticket, Error> {
        let app = self.apps.find(name).await?;
        let name = app.name.to_string();
        self.start_job(
            Kind::Check,
            app.target(),
            move |running| async move { dry_run(&running, &name, &services).await },
        )
        .await
    }
}

/// The finding for what has nothing to ask about.
fn unfollowed(service: &Service, replicas: &[&Container], updating: bool) -> Option<Finding> {
    if updating {
        return Some(Finding::of(Status::Processing, "its update is running"));
    }
    match service.pull_policy {
        PullPolicy::Build => return Some(Finding::of(Status::Skipped, "the image is built on this machine")),
        PullPolicy::Never => return Some(Finding::of(Status::Skipped, "its pull policy is `never`")),
        PullPolicy::Asks => {}
    }
    if replicas.is_empty() {
        return Some(Finding::of(Status::Skipped, NO_CONTAINER));
    }
    let coming = replicas.iter().all(|replica| replica.is_coming_up(Timestamp::now()));
    coming.then(|| Finding::of(Status::Preparing, "the container is not up yet"))
}

async fn dry_run(running: &Running, name: &str, services: &BTreeSet<String>) -> Result<JobResult, Error> {
    let started = Instant::now();
    let host = &running.host;
    running.step(Step::Plan).await?;
    let app = host.app(name).await?;
    let project = &app.model.as_ref().map_err(Clone::clone)?.project;
    if let Some(unknown) =
        services.iter().find(|service| !project.services.contains_key(&ServiceName::new(service.as_str())))
    {
        let message = format!("`service`: the app has no service `{unknown}`");
        return Err(Error::new(Code::NoSuchService, message).app(name));
    }
    let snapshot = host.snapshot().await?;
    let found = host.status_of(&app, &snapshot.origins, &host.service.running_jobs().await?, Ask::Force).await;
    let containers = by_service(&app.containers);
    let (mut changes, mut skipped, mut failed, mut judged) = (Vec::new(), Vec::new(), Vec::new(), false);
    for found in found.services {
        let ServiceStatus { service, finding, .. } = &found;
        let wanted = services.is_empty() || services.contains(service.as_str());
        let skip = |reason| Skipped { service: service.clone(), reason };
        judged |= wanted && matches!(finding.status, Status::Updated | Status::Outdated);
        match finding.status {
            _ if !wanted => skipped.push(skip(SkipReason::NotSelected)),
            Status::Outdated => changes.push(pending_change(containers.get(service), found)),
            Status::Skipped => {
                skipped.push(skip(reason_of(&project.services[service], containers.contains_key(service))))
            }
            Status::Error => failed.push((service.clone(), finding.message.clone().unwrap_or_default())),
            _ => {}
        }
    }
    let unknown = |(service, reason): &(ServiceName, String)| {
        format!("whether `{service}` has an update could not be found out: {reason}")
    };
    // One registry that fails does not hide what the others have.
    if let Some(first) = failed.first().filter(|_| !judged) {
        return Err(Error::new(Code::RegistryFailed, unknown(first)).app(name).service(&first.0));
    }
    let outcome = if changes.is_empty() { Outcome::Unchanged } else { Outcome::Pending };
    let warnings = failed.iter().map(unknown).collect();
    let ended = JobResult::of(running.handle.id.clone(), outcome, started.elapsed());
    Ok(JobResult { services: changes, skipped, warnings, ..ended })
}

/// What an update of an outdated service would change: from what its containers run to what the registry has.
pub(super) fn pending_change(replicas: Option<&Vec<&Container>>, found: ServiceStatus) -> ServiceChange {
    let images: BTreeSet<_> = replicas.into_iter().flatten().map(|replica| replica.image_id.clone()).collect();
    ServiceChange {
        from: OneOrMany::of(images.into_iter().collect()),
        to: found.finding.remote_digest.map(|digest| digest.to_string()).unwrap_or_default(),
        tag: found.image,
        service: found.service,
        version_from: replicas.into_iter().flatten().find_map(|replica| replica.version.clone()),
        version_to: found.available.and_then(|available| available.version),
        source: None,
    }
}

fn reason_of(service: &Service, has_container: bool) -> SkipReason {
    match service.pull_policy {
        PullPolicy::Build => SkipReason::Build,
        PullPolicy::Never => SkipReason::PullPolicy,
        PullPolicy::Asks if !has_container => SkipReason::Absent,
        PullPolicy::Asks => match service.image.parse::<ImageReference>() {
            Ok(reference) if reference.digest().is_some() => SkipReason::Pinned,
            Ok(_) => SkipReason::Local,
            Err(_) => SkipReason::ImageId,
        },
    }
}
