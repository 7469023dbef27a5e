//! When something runs by itself: a cron expression in a time zone.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A cron expression of five fields, or six with seconds first, in a time zone.
///
/// A time that the clocks skip runs at the end of the gap, and one that they repeat runs the first time only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it and how one is written; also for one that never comes, like 31 February.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, String> {
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| {
            format!("no cron expression ({error}); write five fields, as `30 4 * * *` for every day at 04:30")
        })?;
        let schedule = Self { text: text.to_owned(), cron, zone };
        match schedule.next_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err("this time never comes".into()),
        }
    }

    /// The same expression in another time zone.
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    /// The name of its time zone.
    pub fn zone_name(&self) -> String {
        zone_name(&self.zone)
    }

    /// The first time after `at`; `None` when there is none that could be found.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&at.to_zoned(self.zone.clone()), false).ok()?;
        Some(next.timestamp())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for Schedule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// Without its zone, which the text lacks.
impl<'de> serde::Deserialize<'de> for Schedule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text, TimeZone::UTC).map_err(serde::de::Error::custom)
    }
}

/// A zone's name, as far as it has one.
pub fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("the system's").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{Date, Time, date};
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn daily(zone_name: &str, hour: i8, minute: i8) -> Schedule {
        Schedule::parse(&format!("{minute} {hour} * * *"), TimeZone::get(zone_name).unwrap()).unwrap()
    }

    /// Every run of `days` days from the midnight that begins `from`.
    fn runs(schedule: &Schedule, from: Date, days: i32) -> Vec<Timestamp> {
        let midnight = |date: Date| date.to_zoned(schedule.zone.clone()).unwrap().timestamp();
        let end = midnight(from.checked_add(jiff::Span::new().days(days)).unwrap());
        let begin = midnight(from) - jiff::SignedDuration::from_secs(1);
        let next = |last: &Timestamp| schedule.next_after(*last);
        std::iter::successors(schedule.next_after(begin), next).take_while(|run| *run < end).collect()
    }

    #[test]
    fn half_past_two_happens_once_on_both_days_that_change_the_clocks() {
        let schedule = daily("Europe/Berlin", 2, 30);
        assert_eq!(runs(&schedule, date(2026, 3, 29), 1), [at("2026-03-29T01:00:00Z")], "03:00 after the gap");
        assert_eq!(runs(&schedule, date(2026, 10, 25), 1), [at("2026-10-25T00:30:00Z")], "the first 02:30");
    }

    #[test]
    fn five_fields_six_fields_and_nicknames_are_read() {
        let utc = || TimeZone::UTC;
        let next = |text: &str| Schedule::parse(text, utc()).unwrap().next_after(at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(next("30 4 * * *"), at("2026-01-01T04:30:00Z"));
        assert_eq!(next("*/10 * * * * *"), at("2026-01-01T00:00:10Z"));
        assert_eq!(next("@daily"), at("2026-01-02T00:00:00Z"));
        assert_eq!(next("0 3 * * SUN"), at("2026-01-04T03:00:00Z"));
        for text in ["", "every day", "61 * * * *", "* * *", "0 0 1 1 * * 2030", "0 4 31 2 *"] {
            assert!(Schedule::parse(text, utc()).is_err(), "{text}");
        }
    }

    proptest! {
        /// Whatever the zone does with its clocks, a daily time comes once on each calendar day.
        #[test]
        fn a_daily_time_comes_once_a_day(
            zone_name in prop::sample::select(vec![
                "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Sao_Paulo",
                "Asia/Kolkata", "Pacific/Auckland", "UTC",
            ]),
            hour in 0i8..24, minute in 0i8..60, day in 0i32..1400,
        ) {
            let schedule = daily(zone_name, hour, minute);
            let from = date(2024, 1, 1).checked_add(jiff::Span::new().days(day)).unwrap();
            let runs = runs(&schedule, from, 8);
            let days: Vec<_> = runs.iter().map(|run| run.to_zoned(schedule.zone.clone()).date()).collect();
            let expected: Vec<_> = from.series(jiff::Span::new().days(1)).take(8).collect();
            prop_assert_eq!(days, expected);
            for run in runs {
                // The wall clock shows the time, or what follows the gap that swallowed it.
                let shown = run.to_zoned(schedule.zone.clone());
                let wanted = Time::constant(hour, minute, 0, 0);
                prop_assert!(shown.time() == wanted || shown.time() > wanted && shown.time().duration_since(wanted).as_secs() <= 3600);
            }
        }
    }
}
