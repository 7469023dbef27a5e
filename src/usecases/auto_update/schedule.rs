//! When passes run by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::pass::{PassOptions, Scope};
use crate::adapters::store::ScheduleRow;
use crate::domain::app::AppName;
use crate::domain::hold::{HeldBack, HoldReason};
use crate::domain::job::Job;
use crate::domain::schedule::{Schedule, zone_name};
use crate::domain::time::millis;
use crate::error::{Error, Kind};
use crate::usecases::context::Restock;

/// The longest sleep: clocks are set and machines wake up, and apps come and change.
const TICK: Duration = Duration::from_secs(30);
/// When to try again what could not begin because the engine was away.
const AGAIN: Duration = Duration::from_secs(60);

/// What runs by itself, and when next.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Schedules)]
pub struct ScheduleView {
    pub timezone: String,
    /// When newer images may be applied; `null` means always.
    pub window: Option<String>,
    /// Whether they may now.
    pub open: bool,
    /// The service's own expression; `null` when it has none.
    pub schedule: Option<String>,
    #[serde(serialize_with = "millis")]
    pub next: Option<Timestamp>,
    /// The apps with a schedule of their own.
    pub apps: Vec<AppSchedule>,
}

/// The schedule of one app.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AppSchedule {
    pub app: AppName,
    pub schedule: String,
    #[serde(serialize_with = "millis")]
    pub next: Timestamp,
}

/// What is due when: an app's own schedule by its name, the service's by `None`.
type Due = BTreeMap<Option<AppName>, (Schedule, Timestamp)>;

/// How a pass that was due went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ran {
    Done,
    /// A closed window held something back.
    Held,
    /// What it needs is away: it is tried again soon.
    NotYet,
}

impl Restock {
    /// What runs by itself, as the service last wrote it down.
    pub async fn schedule(&self) -> Result<ScheduleView, Error> {
        let now = Timestamp::now();
        let (own, apps): (Vec<_>, Vec<_>) =
            self.store.schedules().await?.into_iter().partition(|row| row.app.is_none());
        let own = own.into_iter().next();
        let window = self.limits.window.as_ref();
        Ok(ScheduleView {
            timezone: own.as_ref().map_or_else(|| zone_name(&self.limits.zone), |row| row.timezone.clone()),
            window: window.map(ToString::to_string),
            open: window.is_none_or(|window| window.is_open(now, &self.limits.zone)),
            next: own.as_ref().map(|row| row.next),
            schedule: own.map(|row| row.cron),
            apps: apps
                .into_iter()
                .filter_map(|row| Some(AppSchedule { app: row.app?, schedule: row.cron, next: row.next }))
                .collect(),
        })
    }

    /// Runs passes when they are due, for as long as the service runs. `missed` makes up for what was due meanwhile.
    pub async fn keep_schedule(self: Arc<Self>, own: Option<Schedule>, missed: bool) {
        let mut due = Due::new();
        let mut remembered = self.store.schedules().await.unwrap_or_else(|error| {
            tracing::error!(%error, "what was due before is not known; nothing that was missed is made up for");
            Vec::new()
        });
        remembered.retain(|_| missed);
        let mut written = None;
        loop {
            self.plan_next(&mut due, own.as_ref(), &std::mem::take(&mut remembered)).await;
            if written.as_ref() != Some(&due) {
                self.write_schedules(&due).await;
                written = Some(due.clone());
            }
            if self.sleep_until(due.values().map(|(_, next)| *next).min()).await.is_break() {
                return;
            }
            let now = Timestamp::now();
            let ripe: Vec<_> = due.iter().filter(|(_, (_, next))| *next <= now).map(|(app, _)| app.clone()).collect();
            if ripe.is_empty() {
                continue;
            }
            let scope = Scope::Due { apps: ripe.iter().flatten().cloned().collect(), rest: ripe.contains(&None) };
            let ran = self.run_due(scope).await;
            for app in ripe {
                if let Some((schedule, next)) = due.get_mut(&app) {
                    *next = self.next_look(schedule, ran);
                }
            }
        }
    }

    /// When what has just run is due again: what a closed window held back, as soon as it opens.
    fn next_look(&self, schedule: &Schedule, ran: Ran) -> Timestamp {
        let now = Timestamp::now();
        let extra = match ran {
            Ran::Done => None,
            Ran::Held => self.limits.window.as_ref().and_then(|window| window.next_opening(now, &self.limits.zone)),
            Ran::NotYet => now.checked_add(AGAIN).ok(),
        };
        schedule.next_after(now).into_iter().chain(extra).min().unwrap_or(Timestamp::MAX)
    }

    /// Brings the list of what is due up to date with the apps' files.
    async fn plan_next(&self, due: &mut Due, own: Option<&Schedule>, remembered: &[ScheduleRow]) {
        let mut wanted: BTreeMap<Option<AppName>, Schedule> = BTreeMap::new();
        wanted.extend(own.map(|schedule| (None, schedule.clone())));
        let apps = self.schedules_of_apps().await.into_iter();
        wanted.extend(apps.map(|(app, schedule)| (Some(app), schedule.in_zone(self.limits.zone.clone()))));
        due.retain(|app, (schedule, _)| wanted.get(app) == Some(schedule));
        let now = Timestamp::now();
        for (app, schedule) in wanted {
            // The same words mean another time in another time zone.
            let same = |row: &&ScheduleRow| {
                row.app == app && row.cron == schedule.to_string() && row.timezone == schedule.zone_name()
            };
            let last = remembered.iter().find(same);
            // What should have run while nothing ran is due at once.
            let next = last.map(|row| row.next).or_else(|| schedule.next_after(now)).unwrap_or(Timestamp::MAX);
            due.entry(app).or_insert((schedule, next));
        }
    }

    async fn write_schedules(&self, due: &Due) {
        let row = |(app, (schedule, next)): (&Option<AppName>, &(Schedule, Timestamp))| ScheduleRow {
            app: app.clone(),
            cron: schedule.to_string(),
            timezone: schedule.zone_name(),
            next: *next,
        };
        if let Err(error) = self.store.write_schedules(due.iter().map(row).collect()).await {
            tracing::error!(%error, "what is due next could not be written down");
        }
    }

    /// The apps' own schedules. An app whose file cannot be read now has none.
    async fn schedules_of_apps(&self) -> Vec<(AppName, Schedule)> {
        let dirs = match self.apps.list() {
            Ok(dirs) => dirs,
            Err(error) => {
                tracing::warn!(%error, "the apps' schedules are not known");
                return Vec::new();
            }
        };
        let mut schedules = Vec::new();
        for dir in dirs {
            let Ok(model) = self.resolve_unchanged(&dir).await else { continue };
            let settings = model.as_ref().as_ref().ok().and_then(|model| model.project.settings.as_ref().ok());
            schedules.extend(settings.and_then(|settings| Some((dir.name.clone(), settings.schedule.clone()?))));
        }
        schedules
    }

    /// Sleeps until `next`, but not long; breaks when the service stops.
    async fn sleep_until(&self, next: Option<Timestamp>) -> std::ops::ControlFlow<()> {
        let left = next.map(|next| Timestamp::now().duration_until(next)).map(|left| {
            // A little more, so that the moment itself has passed: timers count whole milliseconds.
            Duration::try_from(left).map_or(Duration::ZERO, |left| left + Duration::from_millis(1))
        });
        tokio::select! {
            () = tokio::time::sleep(left.unwrap_or(TICK).min(TICK)) => std::ops::ControlFlow::Continue(()),
            () = self.stopping.cancelled() => std::ops::ControlFlow::Break(()),
        }
    }

    /// Runs a pass of its own.
    async fn run_due(self: &Arc<Self>, scope: Scope) -> Ran {
        // Asked first, so that an engine that is away for a day does not fill the history.
        if let Err(error) = self.engine.info().await {
            tracing::warn!(%error, "a scheduled pass waits for the engine");
            return Ran::NotYet;
        }
        match self.run_own_pass(scope).await {
            Ok(job) => {
                if job.error.is_some_and(|error| error.status == 503) {
                    return Ran::NotYet;
                }
                let reports = job.result.and_then(|result| result.report).map(|report| report.reports);
                let window = |held: &HeldBack| held.reason == HoldReason::Window;
                let held = reports.iter().flatten().any(|report| report.held_back.as_ref().is_some_and(window));
                if held { Ran::Held } else { Ran::Done }
            }
            Err(error) => {
                tracing::warn!(%error, "a scheduled pass could not begin");
                if error.kind == Kind::Unavailable { Ran::NotYet } else { Ran::Done }
            }
        }
    }

    /// A pass that runs already may have another scope: it is waited for, and then it is this one's turn.
    async fn run_own_pass(self: &Arc<Self>, scope: Scope) -> Result<Job, Error> {
        loop {
            let own = Arc::new(AtomicBool::new(false));
            let ticket = self.start_any_pass(PassOptions { rollback: true, scope: scope.clone() }, own.clone()).await?;
            if let Some(job) = self.wait(&ticket).await?
                && own.load(Ordering::Acquire)
            {
                return Ok(job);
            }
        }
    }
}
