//! Why a newer image is not applied by itself, though the registry has it.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::millis;
use super::window::Window;

/// What holds an image back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// It failed here: it waits until the registry has another.
    Failed,
    /// The app did not work with it, for another reason than the image: it waits until the registry has another, or the
    /// app is set up otherwise.
    Setup,
    /// Somebody went back from it: it waits until the registry has another.
    RolledBack,
    /// Somebody skipped it: it waits until the registry has another.
    Skipped,
    /// The registry has not had it for long enough.
    MinAge,
    /// The maintenance window is closed.
    Window,
}

/// Why an image is remembered as one that schedules leave alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadCause {
    /// It was started here and did not work.
    Failed,
    /// Something else of the app did not work when it was to be started.
    Setup,
    /// Somebody went back from it.
    RolledBack,
}

impl From<BadCause> for HoldReason {
    fn from(cause: BadCause) -> Self {
        match cause {
            BadCause::Failed => Self::Failed,
            BadCause::Setup => Self::Setup,
            BadCause::RolledBack => Self::RolledBack,
        }
    }
}

/// An image that is held back: why, since when, and until when as far as that can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldBack {
    pub reason: HoldReason,
    /// When it failed, was skipped, or was first seen.
    #[serde(serialize_with = "millis")]
    pub since: Option<Timestamp>,
    /// `null` where only another image ends it, or where the image's age is not known.
    #[serde(serialize_with = "millis")]
    pub until: Option<Timestamp>,
}

/// What is known of an image that could be applied.
#[derive(Debug, Clone, Default)]
pub struct Candidate {
    /// Why and since when it is known to be bad here.
    pub bad: Option<(BadCause, Timestamp)>,
    /// When somebody skipped it.
    pub skipped: Option<Timestamp>,
    /// When the registry was first seen to have it.
    pub first_seen: Option<Timestamp>,
    /// How long the registry must have had it.
    pub min_age: Option<Duration>,
}

impl Candidate {
    /// Returns whether it has to wait. What only another image ends is told before what time ends.
    pub fn held_back(&self, window: Option<&Window>, zone: &TimeZone, now: Timestamp) -> Option<HeldBack> {
        let held = |reason, since, until| Some(HeldBack { reason, since, until });
        if let Some((cause, since)) = self.bad {
            return held(cause.into(), Some(since), None);
        }
        if self.skipped.is_some() {
            return held(HoldReason::Skipped, self.skipped, None);
        }
        if let Some(min_age) = self.min_age.filter(|age| !age.is_zero()) {
            // An age that is not known is no age: such an image waits until it is.
            let until = self.first_seen.and_then(|seen| seen.checked_add(min_age).ok());
            if until.is_none_or(|until| until > now) {
                return held(HoldReason::MinAge, self.first_seen, until);
            }
        }
        let closed = window.filter(|window| !window.is_open(now, zone))?;
        held(HoldReason::Window, None, closed.next_opening(now, zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn an_image_waits_for_what_ends_last() {
        let zone = TimeZone::UTC;
        let window: Window = "02:00-03:00".parse().unwrap();
        let hour = Duration::from_secs(3600);
        let reason = |candidate: &Candidate, now| {
            candidate.held_back(Some(&window), &zone, at(now)).map(|held| (held.reason, held.since, held.until))
        };
        let mut candidate = Candidate {
            bad: Some((BadCause::Failed, at(1))),
            skipped: Some(at(2)),
            first_seen: Some(at(0)),
            min_age: Some(hour),
        };
        assert_eq!(reason(&candidate, 100), Some((HoldReason::Failed, Some(at(1)), None)));
        candidate.bad = None;
        assert_eq!(reason(&candidate, 100), Some((HoldReason::Skipped, Some(at(2)), None)));
        candidate.skipped = None;
        assert_eq!(reason(&candidate, 100), Some((HoldReason::MinAge, Some(at(0)), Some(at(3600)))));
        assert_eq!(reason(&candidate, 3600), Some((HoldReason::Window, None, Some(at(7200)))));
        assert_eq!(reason(&candidate, 7200), None);
        candidate.first_seen = None;
        assert_eq!(reason(&candidate, 7200), Some((HoldReason::MinAge, None, None)), "an unknown age waits");
    }
}
