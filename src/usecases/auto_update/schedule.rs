//! When passes run by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::options::{PassOptions, Scope};
use super::planned::{Serving, Watch};
use crate::adapters::store::ScheduleRow;
use crate::domain::hold::{HeldBack, HoldReason};
use crate::domain::host::AppId;
use crate::domain::job::Job;
use crate::domain::schedule::Schedule;
use crate::error::{Error, Kind};
use crate::usecases::context::Host;

/// The longest sleep: clocks are set and machines wake up, and apps come and change.
const TICK: Duration = Duration::from_secs(30);
/// When to try again what could not begin because the engine was away.
const AGAIN: Duration = Duration::from_secs(60);

/// What is due when: an app's own schedule by its name, the service's by `None`.
type Due = BTreeMap<Option<AppId>, (Schedule, Timestamp)>;

/// How a pass that was due went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ran {
    Done,
    /// A closed window held something back.
    Held,
    /// What it needs is away: it is tried again soon.
    NotYet,
}

impl Host {
    /// Runs passes when they are due, for as long as the service runs. `missed` makes up for what was due meanwhile.
    pub async fn keep_schedule(self: Arc<Self>, own: Option<Schedule>, missed: bool) {
        let mut due = Due::new();
        let mut remembered = self.service.store.schedules().await.unwrap_or_else(|error| {
            tracing::error!(%error, "what was due before is not known; nothing that was missed is made up for");
            Vec::new()
        });
        remembered.retain(|_| missed);
        // Before the apps' files are read, which takes its time.
        self.service
            .planned
            .set(own.iter().map(|schedule| self.row(None, schedule, schedule.next_after(self.service.clock.now()))));
        let mut serving = Serving::default();
        let mut watch = Watch::start(&self.service.clock);
        loop {
            self.plan_next(&mut due, own.as_ref(), &std::mem::take(&mut remembered)).await;
            self.service
                .planned
                .set(due.iter().map(|(app, (schedule, next))| self.row(app.clone(), schedule, Some(*next))));
            self.write_planned(&mut serving).await;
            if self.sleep_until(due.values().map(|(_, next)| *next).min()).await.is_break() {
                return;
            }
            if let Some(jump) = watch.jumped(&self.service.clock) {
                self.plan_anew(&mut due, jump, missed);
            }
            let now = self.service.clock.now();
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

    /// Plans anew after the wall clock was set: what it passed over is not due now, and what it went back from may be a
    /// long way off. With `missed` what it passed over is made up for, as after a time when nothing ran.
    fn plan_anew(&self, due: &mut Due, jump: SignedDuration, missed: bool) {
        tracing::warn!(seconds = jump.as_secs(), "the wall clock was set; the schedules are planned anew");
        if missed && jump.is_positive() {
            return;
        }
        let now = self.service.clock.now();
        for (schedule, next) in due.values_mut() {
            *next = schedule.next_after(now).unwrap_or(Timestamp::MAX);
        }
    }

    /// When what has just run is due again: what a closed window held back, as soon as it opens.
    fn next_look(&self, schedule: &Schedule, ran: Ran) -> Timestamp {
        let now = self.service.clock.now();
        let extra = match ran {
            Ran::Done => None,
            Ran::Held => self
                .service
                .limits
                .window
                .as_ref()
                .and_then(|window| window.next_opening(now, &self.service.limits.zone)),
            Ran::NotYet => now.checked_add(AGAIN).ok(),
        };
        schedule.next_after(now).into_iter().chain(extra).min().unwrap_or(Timestamp::MAX)
    }

    /// Brings the list of what is due up to date with the apps' files.
    async fn plan_next(&self, due: &mut Due, own: Option<&Schedule>, remembered: &[ScheduleRow]) {
        let mut wanted: BTreeMap<Option<AppId>, Schedule> = BTreeMap::new();
        wanted.extend(own.map(|schedule| (None, schedule.clone())));
        let apps = self.schedules_of_apps().await.into_iter();
        wanted.extend(apps.map(|(app, schedule)| (Some(app), schedule.in_zone(self.service.limits.zone.clone()))));
        due.retain(|app, (schedule, _)| wanted.get(app) == Some(schedule));
        let now = self.service.clock.now();
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

    fn row(&self, app: Option<AppId>, schedule: &Schedule, next: Option<Timestamp>) -> ScheduleRow {
        let next = next.unwrap_or(Timestamp::MAX);
        ScheduleRow { app, cron: schedule.to_string(), timezone: schedule.zone_name(), next }
    }

    /// Writes down what is planned, for the commands and the next start, unless another process does so.
    async fn write_planned(&self, serving: &mut Serving) {
        if !serving.is_ours(&self.service.locks).await {
            return;
        }
        let planned = self.service.planned.rows();
        if planned == serving.written {
            return;
        }
        match self.service.store.write_schedules(planned.clone().unwrap_or_default()).await {
            Ok(()) => serving.written = planned,
            Err(error) => tracing::error!(%error, "what is due next could not be written down"),
        }
    }

    /// The apps' own schedules. An app whose file cannot be read now has none.
    async fn schedules_of_apps(&self) -> Vec<(AppId, Schedule)> {
        let dirs = match self.apps.list().await {
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
            schedules.extend(settings.and_then(|settings| Some((dir.id(), settings.schedule.clone()?))));
        }
        schedules
    }

    /// Sleeps until `next`, but not long; breaks when the service stops.
    async fn sleep_until(&self, next: Option<Timestamp>) -> std::ops::ControlFlow<()> {
        let left = next.map(|next| self.service.clock.now().duration_until(next)).map(|left| {
            // A little more, so that the moment itself has passed: timers count whole milliseconds.
            Duration::try_from(left).map_or(Duration::ZERO, |left| left + Duration::from_millis(1))
        });
        tokio::select! {
            () = tokio::time::sleep(left.unwrap_or(TICK).min(TICK)) => std::ops::ControlFlow::Continue(()),
            () = self.service.stopping.cancelled() => std::ops::ControlFlow::Break(()),
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
                if job.error.is_some_and(|error| error.kind == Kind::Unavailable) {
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
            if let Some(job) = self.service.wait(&ticket).await?
                && own.load(Ordering::Acquire)
            {
                return Ok(job);
            }
        }
    }
}
