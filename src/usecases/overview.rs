//! What a list says of an app besides its containers, put together from what is remembered; nobody is asked.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use super::context::{Host, Service};
use super::list_apps::{App, SeenApp};
use super::policies::{AppPolicy, Toggles, policy_of};
use crate::adapters::store::{Remembered, ScheduleRow};
use crate::domain::app::AppState;
use crate::domain::check::AppStatus;
use crate::domain::freshness::Status;
use crate::domain::hold::{HeldBack, HoldReason};
use crate::domain::image::ImageReference;
use crate::domain::job::{Job, OneOrMany};
use crate::domain::overview::{CurrentJob, FormerService, Held, LastUpdate, WayBack};
use crate::domain::plan::by_service;
use crate::domain::policy::Policy;
use crate::domain::schedule::Schedule;
use crate::error::Error;

/// What a look at all apps starts from, besides their files and containers.
pub(super) struct Around {
    pub running: Vec<Job>,
    toggles: Toggles,
    remembered: Arc<Remembered>,
    schedules: Vec<ScheduleRow>,
}

impl Service {
    /// What is remembered of all apps. The database is read again when something in it has changed.
    pub(super) async fn remembered(&self) -> Result<Arc<Remembered>, Error> {
        let known = self.last_remembered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.store.remembered(known).await?;
        *self.last_remembered.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.clone());
        Ok(now)
    }
}

impl Host {
    /// Reads what is the same for all apps of one look.
    pub(super) async fn around(&self) -> Result<Around, Error> {
        let (toggles, running, remembered, schedules) = tokio::try_join!(
            self.toggles(),
            self.service.running_jobs(),
            self.service.remembered(),
            self.service.schedule_rows()
        )?;
        Ok(Around { running, toggles, remembered, schedules })
    }

    /// Adds to an app what is known of it besides its containers.
    pub(super) fn seen(&self, app: App, mut found: AppStatus, around: &Around) -> SeenApp {
        let policy = policy_of(&app, &around.toggles);
        self.tell_holds(&app, &policy, &around.remembered, &mut found);
        let held = held(&found);
        let name = app.dir.id().to_string();
        let known = found.checked_at.is_some() || found.status == Status::Skipped;
        let status = (known && app.model.is_ok() && !app.containers.is_empty()).then_some(found.status);
        SeenApp {
            status,
            next: self.next_for(&app, &policy, held.as_ref().map(|(_, held)| held), &around.schedules),
            held: held.map(|(held, _)| held),
            last: around.remembered.last.get(&name).cloned(),
            job: self.current_job(&app, &around.running),
            can_roll_back: around.remembered.updates.get(&name).and_then(|update| way_back(&app, update)),
            policy,
            found,
            app,
        }
    }

    /// What is being done to an app; what only looks is shown where nothing else runs.
    fn current_job(&self, app: &App, running: &[Job]) -> Option<CurrentJob> {
        let target = app.dir.target();
        let job = running.iter().filter(|job| job.target == target).min_by_key(|job| job.kind.only_looks())?;
        let percent = self.service.jobs.find(&job.id).map(|handle| handle.percent());
        Some(CurrentJob { id: job.id.clone(), kind: job.kind, step: job.step, percent })
    }

    /// When a pass can next apply what is or will be newer for an app: never what is held back until there is another
    /// image.
    fn next_for(
        &self,
        app: &App,
        policy: &AppPolicy,
        held: Option<&HeldBack>,
        schedules: &[ScheduleRow],
    ) -> Option<Timestamp> {
        let is_marked = policy.services.iter().any(|service| service.marks())
            || policy.auto_update.is_some_and(|policy| policy != Policy::Disabled);
        let is_up = matches!(app.state, AppState::Running | AppState::Partial);
        if !is_marked || !is_up {
            return None;
        }
        let own = app.schedule().map(|_| app.dir.id());
        let row = schedules.iter().find(|row| row.app == own)?;
        let now = self.service.clock.now();
        let next = match held {
            None => row.next,
            Some(held) if held.until? <= row.next => row.next,
            // A pass looks again as soon as a window opens, so what opens it is the time.
            Some(held) if held.reason == HoldReason::Window => held.until?,
            Some(held) => Schedule::parse(&row.cron, self.service.limits.zone.clone()).ok()?.next_after(held.until?)?,
        };
        Some(self.service.applies(next)).filter(|next| *next > now)
    }
}

/// What holds back everything newer that an app has: of several services the one that waits longest.
fn held(found: &AppStatus) -> Option<(Held, HeldBack)> {
    let outdated = found.services.iter().filter(|service| service.finding.status == Status::Outdated);
    let held: Option<Vec<_>> =
        outdated.map(|service| service.held_back.as_ref().map(|held| (&service.service, held))).collect();
    let longest = |(_, held): &(_, &HeldBack)| held.until.unwrap_or(Timestamp::MAX);
    let (service, held) = held?.into_iter().max_by_key(longest)?;
    Some((Held::of(service, held), held.clone()))
}

/// What a rollback would bring back: `None` when the app runs that already, or cannot go back by its image references.
fn way_back(app: &App, update: &LastUpdate) -> Option<WayBack> {
    let project = &app.model.as_ref().ok()?.project;
    let containers = by_service(&app.containers);
    let mut services = Vec::new();
    for change in &update.changes {
        let Some(service) = project.services.get(&change.service) else { continue };
        let Some(replicas) = containers.get(&change.service) else { continue };
        let former = match &change.from {
            OneOrMany::One(image) => Some(image),
            OneOrMany::Many(images) => images.first(),
        };
        let Some(former) = former else { continue };
        if replicas.iter().all(|replica| replica.image_id == *former) {
            continue;
        }
        // What is pinned to a digest cannot be given another meaning.
        service.image.parse::<ImageReference>().ok().filter(|image| image.digest().is_none())?;
        services.push(FormerService {
            service: change.service.clone(),
            tag: change.tag.clone(),
            version: change.version_from.clone(),
        });
    }
    let back = WayBack { job: update.job.clone(), at: update.at, data: false, services };
    (!back.services.is_empty()).then_some(back)
}
