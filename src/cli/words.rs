//! Values as people read them.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::freshness::Status;
use crate::domain::hold::{HeldBack, HoldReason};
use crate::domain::job::{Outcome, Step};

/// The word of an enumeration, as the API writes it.
pub fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The value that a word of an enumeration names.
///
/// # Errors
/// The words that there are.
pub fn read<T: serde::de::DeserializeOwned>(word: &str) -> Result<T, String> {
    serde_json::from_value(word.into()).map_err(|error| error.to_string())
}

/// A point in time, given as one or as how long ago it is.
///
/// # Errors
/// How one is written.
pub fn since(text: &str) -> Result<Timestamp, String> {
    let ago = |text| Timestamp::now().checked_sub(humantime::parse_duration(text).ok()?).ok();
    let at = text.parse().ok().or_else(|| ago(text));
    at.ok_or_else(|| "write a time, as 2026-01-31T04:30:00Z, or a while ago, as 7d".to_owned())
}

/// What a job is doing.
pub fn doing(step: Step) -> &'static str {
    match step {
        Step::Resolve => "reading the Compose file",
        Step::Snapshot => "looking at the containers",
        Step::Pull => "pulling",
        Step::Plan => "comparing images",
        Step::Apply => "recreating containers",
        Step::Verify => "proving that it works",
        Step::HooksBefore => "running the commands before the update",
        Step::HooksAfter => "running the commands after the update",
        Step::RollBack => "bringing back the previous images",
    }
}

/// An image's freshness, as the page says it; JSON has the words of Portainer's API.
pub fn freshness(status: Status) -> &'static str {
    match status {
        Status::Updated => "up to date",
        Status::Outdated => "update available",
        Status::Skipped => "not followed",
        Status::Processing => "updating",
        Status::Preparing => "starting",
        Status::Error => "check failed",
    }
}

/// Why a pass leaves out what is newer.
pub fn held_back(held: &HeldBack) -> String {
    let why = match held.reason {
        HoldReason::Failed => "it failed here before",
        HoldReason::Setup => "the app did not work with it",
        HoldReason::RolledBack => "somebody went back from it",
        HoldReason::Skipped => "somebody skipped it",
        HoldReason::MinAge => "it is too young",
        HoldReason::Window => "the maintenance window is closed",
    };
    match held.until {
        Some(until) => format!("held back until {}: {why}", time(until)),
        None => format!("held back: {why}"),
    }
}

/// How a job ended, as the page says it.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Updated => "updated",
        Outcome::Unchanged => "nothing new",
        Outcome::Pulled => "pulled",
        Outcome::Pending => "would update",
        Outcome::RolledBack => "rolled back",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::Interrupted => "interrupted",
        Outcome::Done => "done",
    }
}

/// A time of the system's zone, which is named.
pub fn time(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A duration: tenths while they matter, then minutes and seconds.
pub fn duration(milliseconds: u64) -> String {
    let duration = Duration::from_millis(milliseconds);
    if duration < Duration::from_secs(60) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_exact_as_people_need() {
        assert_eq!(duration(0), "0.0s");
        assert_eq!(duration(2140), "2.1s");
        assert_eq!(duration(61_900), "1m 1s");
        assert_eq!(duration(3_600_000), "1h");
    }
}
