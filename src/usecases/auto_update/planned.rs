//! What is planned to run by itself, as others see it, and the clocks it goes by.

mod state;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::adapters::clock::{Clock, uptime};
use crate::adapters::lock::{Locks, ServeLock};
use crate::adapters::store::ScheduleRow;
use crate::domain::schedule::zone_name;
use crate::domain::time::millis;
use crate::error::Error;
use crate::usecases::context::Service;
pub use state::Planned;

/// By how much the wall clock may run ahead or behind without having been set.
const DRIFT: SignedDuration = SignedDuration::from_mins(5);

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
    /// The next pass.
    #[serde(serialize_with = "millis")]
    pub next: Option<Timestamp>,
    /// When what a pass finds can be applied next: at the next pass, or when the window opens after it.
    #[serde(serialize_with = "millis")]
    pub applies: Option<Timestamp>,
    /// The apps with a schedule of their own.
    pub apps: Vec<AppSchedule>,
}

/// The schedule of one app.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AppSchedule {
    /// Its name with its host.
    pub app: String,
    pub schedule: String,
    /// Its next pass.
    #[serde(serialize_with = "millis")]
    pub next: Timestamp,
    /// When what that finds can be applied.
    #[serde(serialize_with = "millis")]
    pub applies: Timestamp,
}

impl Service {
    /// What runs by itself: in this process where it serves, else as the service last wrote it down.
    pub async fn schedule(&self) -> Result<ScheduleView, Error> {
        let now = self.clock.now();
        let planned = self.schedule_rows().await?;
        let (own, apps): (Vec<_>, Vec<_>) = planned.into_iter().partition(|row| row.app.is_none());
        let own = own.into_iter().next();
        let window = self.limits.window.as_ref();
        Ok(ScheduleView {
            timezone: own.as_ref().map_or_else(|| zone_name(&self.limits.zone), |row| row.timezone.clone()),
            window: window.map(ToString::to_string),
            open: window.is_none_or(|window| window.is_open(now, &self.limits.zone)),
            next: own.as_ref().map(|row| row.next),
            applies: own.as_ref().map(|row| self.applies(row.next)),
            schedule: own.map(|row| row.cron),
            apps: apps
                .into_iter()
                .filter_map(|row| {
                    let applies = self.applies(row.next);
                    Some(AppSchedule { app: row.app?.to_string(), schedule: row.cron, next: row.next, applies })
                })
                .collect(),
        })
    }

    /// What is planned: in this process where it serves, else as the service last wrote it down.
    pub(in crate::usecases) async fn schedule_rows(&self) -> Result<Vec<ScheduleRow>, Error> {
        match self.planned.rows() {
            Some(planned) => Ok(planned),
            None => Ok(self.store.schedules().await?),
        }
    }

    /// When a pass at `next` can apply what it finds.
    pub(in crate::usecases) fn applies(&self, next: Timestamp) -> Timestamp {
        let closed = self.limits.window.as_ref().filter(|window| !window.is_open(next, &self.limits.zone));
        closed.and_then(|window| window.next_opening(next, &self.limits.zone)).unwrap_or(next)
    }
}

/// This process's part in serving its data directory.
#[derive(Default)]
pub(super) struct Serving {
    lock: Option<ServeLock>,
    warned: bool,
    /// What was written down last.
    pub written: Option<Vec<ScheduleRow>>,
}

impl Serving {
    /// Returns whether this is the first process that serves the data directory, or has become it. Warns of another
    /// one.
    pub async fn is_ours(&mut self, locks: &Locks) -> bool {
        if self.lock.is_none() {
            match locks.try_serve().await {
                Ok(lock) => self.lock = lock,
                Err(error) => tracing::error!(%error, "other processes that serve cannot be seen"),
            }
        }
        if self.lock.is_none() && !self.warned {
            self.warned = true;
            tracing::warn!(
                "another `restock serve` works on the same data directory, with a schedule of its own. Stop one of \
                 them, or give this one another directory with --data"
            );
        }
        self.lock.is_some()
    }
}

/// Compares the wall clock with the time that has passed.
pub(super) struct Watch {
    wall: Timestamp,
    uptime: Option<SignedDuration>,
}

impl Watch {
    pub fn start(clock: &Clock) -> Self {
        Self { wall: clock.now(), uptime: uptime() }
    }

    /// By how much the wall clock was set since the last look; `None` if it was not.
    pub fn jumped(&mut self, clock: &Clock) -> Option<SignedDuration> {
        let last = std::mem::replace(self, Self::start(clock));
        let passed = self.uptime? - last.uptime?;
        let jump = self.wall.duration_since(last.wall) - passed;
        (jump.abs() > DRIFT).then_some(jump)
    }
}
