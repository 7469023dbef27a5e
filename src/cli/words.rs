//! Values as people read them.

use std::time::Duration;

use crate::domain::job::Step;

/// The word of an enumeration, as the API writes it.
pub fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
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

/// A time of the system's zone.
pub fn time(at: jiff::Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
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
