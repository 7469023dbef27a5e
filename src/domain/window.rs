//! When scheduled updates may be applied.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Days of the week and a time of day, as `Sat-Sun 02:00-05:00`; several are separated by semicolons. Without days it
/// means every day. A window that ends before it begins lasts over midnight and belongs to the day it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// From Monday on.
    days: [bool; 7],
    from: Time,
    to: Time,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Window {
    /// Returns whether it is open at that moment. Wall clocks decide, so a day that changes them shortens or lengthens
    /// it.
    pub fn is_open(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let now = at.to_zoned(zone.clone());
        let (time, today) = (now.time(), now.weekday());
        self.parts.iter().any(|part| {
            if part.from < part.to {
                part.on(today) && (part.from..part.to).contains(&time)
            } else {
                part.on(today) && time >= part.from || part.on(today.previous()) && time < part.to
            }
        })
    }

    /// When it opens next after `at`.
    pub fn next_opening(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = at.to_zoned(zone.clone()).date();
        // A week has every weekday; the eighth day is today's weekday again, for an opening that is over today.
        let days = today.series(Span::new().days(1)).take(8);
        let openings = days.flat_map(|day| {
            let parts = self.parts.iter().filter(move |part| part.on(day.weekday()));
            parts.filter_map(move |part| Some(day.to_datetime(part.from).to_zoned(zone.clone()).ok()?.timestamp()))
        });
        openings.filter(|opening| *opening > at).min()
    }
}

impl Part {
    fn on(&self, day: Weekday) -> bool {
        self.days[day.to_monday_zero_offset().unsigned_abs() as usize % 7]
    }
}

impl FromStr for Window {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(';').map(|part| {
            part_of(part.trim()).ok_or_else(|| {
                format!(
                    "`{}` is no window; write one as `02:00-05:00`, `Sat-Sun 02:00-05:00` or `Mon,Fri 22:00-04:00`",
                    part.trim()
                )
            })
        });
        Ok(Self { text: text.to_owned(), parts: parts.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn part_of(text: &str) -> Option<Part> {
    let (days, times) = match text.rsplit_once(char::is_whitespace) {
        Some((days, times)) => (days_of(days)?, times),
        None => ([true; 7], text),
    };
    let (from, to) = times.split_once('-')?;
    let (from, to) = (time_of(from)?, time_of(to)?);
    (from != to).then_some(Part { days, from, to })
}

fn days_of(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (day_of(first)?, day_of(last)?);
        // `Fri-Mon` goes round the week's end.
        let length = (last + 7 - first) % 7;
        (0..=length).for_each(|step| days[(first + step) % 7] = true);
    }
    Some(days)
}

/// A day by its first three letters or its whole name, from Monday on.
fn day_of(text: &str) -> Option<usize> {
    let word = text.trim().to_ascii_lowercase();
    DAYS.iter().position(|(short, day)| word == *short || word == format!("{day:?}").to_ascii_lowercase())
}

/// `24:00` ends a day as well as `00:00` does.
fn time_of(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let digits = |text: &str| {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()))
            .then_some(())
            .and_then(|()| text.parse::<i8>().ok())
    };
    match (digits(hour)?, digits(minute)?) {
        (24, 0) => Some(Time::midnight()),
        (hour, minute) => Time::new(hour, minute, 0, 0).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(window: &str, at: &str) -> bool {
        window.parse::<Window>().unwrap().is_open(at.parse().unwrap(), &TimeZone::UTC)
    }

    #[test]
    fn days_and_times_open_it() {
        // 2026-01-03 is a Saturday.
        let cases = [
            ("Sat-Sun 02:00-05:00", "2026-01-03T02:00:00Z", true),
            ("Sat-Sun 02:00-05:00", "2026-01-03T05:00:00Z", false),
            ("Sat-Sun 02:00-05:00", "2026-01-05T03:00:00Z", false),
            ("02:00-05:00", "2026-01-05T03:00:00Z", true),
            ("saturday, mon 02:00-24:00", "2026-01-05T23:59:59Z", true),
            ("Fri-Mon 02:00-05:00", "2026-01-04T03:00:00Z", true),
            ("Sat 22:00-04:00", "2026-01-04T03:59:00Z", true),
            ("Sat 22:00-04:00", "2026-01-03T03:59:00Z", false),
            ("Sat 22:00-04:00; Tue 12:00-13:00", "2026-01-06T12:30:00Z", true),
        ];
        for (window, at, expected) in cases {
            assert_eq!(open(window, at), expected, "{window} at {at}");
        }
    }

    #[test]
    fn the_next_opening_is_found_in_the_zone() {
        let window: Window = "Sat-Sun 02:00-05:00".parse().unwrap();
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let next = |at: &str| window.next_opening(at.parse().unwrap(), &berlin).unwrap().to_string();
        assert_eq!(next("2026-01-01T12:00:00Z"), "2026-01-03T01:00:00Z");
        assert_eq!(next("2026-01-04T01:00:00Z"), "2026-01-10T01:00:00Z");
        // 02:00 does not exist on the last Sunday of March: it opens when the clocks have gone forward.
        assert_eq!(next("2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
    }

    #[test]
    fn what_is_no_window_is_told_with_examples() {
        for text in
            ["", "always", "Sat", "Sat 2:00-5:00", "02:00-02:00", "Sat-Xyz 02:00-05:00", "25:00-26:00", "02:00-05:00;"]
        {
            let error = text.parse::<Window>().unwrap_err();
            assert!(error.contains("Sat-Sun 02:00-05:00"), "{text}: {error}");
        }
    }
}
