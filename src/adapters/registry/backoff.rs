//! How long a host that said "too many requests" is left alone.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// Shorter waits would hit the limit again at once: some answers ask for microseconds.
const SHORTEST: Duration = Duration::from_secs(1);
/// The wait where the answer names none; doubled with each further refusal.
const UNNAMED: Duration = Duration::from_secs(60);
/// No longer without looking again, whatever the answer asks for: a wrong clock over there must not mean days here.
const LONGEST: Duration = Duration::from_secs(3600);

/// The time to wait after the answer number `strikes` (from 1) in a row that said "too many requests".
///
/// `header` is the `Retry-After` field, `body` the beginning of the body: abuse limits write the time only there.
pub(super) fn wait(header: Option<&str>, body: &str, strikes: u32, now: Timestamp) -> Duration {
    let named = header.and_then(|value| retry_after(value, now)).or_else(|| in_body(body));
    let wait = named.unwrap_or_else(|| UNNAMED.saturating_mul(1 << strikes.saturating_sub(1).min(6)));
    wait.clamp(SHORTEST, LONGEST)
}

/// Seconds or a date (RFC 9110), or a duration as Go prints it, which is seen in the wild.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    if let Ok(date) = rfc2822::parse(value) {
        return Some(date.timestamp().duration_since(now).try_into().unwrap_or(Duration::ZERO));
    }
    go_duration(value)
}

/// Finds `retry-after: 331.163us` in `toomanyrequests: retry-after: 331.163us, allowed: 44000/minute`.
fn in_body(body: &str) -> Option<Duration> {
    let lower = body.to_ascii_lowercase();
    let (_, rest) = lower.split_once("retry-after:")?;
    let value: &str = rest.trim_start();
    let end = value.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == 'µ')).unwrap_or(value.len());
    match value[..end].parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => go_duration(&value[..end]),
    }
}

/// A sum of numbers with units: `1m30.5s`, `331.163us`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        rest = tail;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_known_form_is_read_and_kept_within_bounds() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let table = [
            (Some("30"), "", 30.0),
            (Some(" 2.5 "), "", 2.5),
            (Some("Thu, 01 Jan 2026 00:02:00 GMT"), "", 120.0),
            (Some("Wed, 31 Dec 2025 00:00:00 GMT"), "", 1.0),
            (Some("1m30s"), "", 90.0),
            (Some("0"), "", 1.0),
            (Some("-5"), "", 60.0),
            (Some("999999999999"), "", 3600.0),
            (Some("soon"), "", 60.0),
            (None, "toomanyrequests: retry-after: 331.163us, allowed: 44000/minute", 1.0),
            (None, r#"{"errors":[{"message":"Retry-After: 1m2s, allowed"}]}"#, 62.0),
            (None, "retry-after: 7", 7.0),
            (None, "retry-after: ", 60.0),
            (None, "You have reached your pull rate limit", 60.0),
            (Some("5"), "retry-after: 1h", 5.0),
        ];
        for (header, body, seconds) in table {
            assert_eq!(wait(header, body, 1, now).as_secs_f64(), seconds, "{header:?} {body:?}");
        }
    }

    #[test]
    fn refusals_without_a_time_wait_longer_each_time_up_to_an_hour() {
        let now = Timestamp::UNIX_EPOCH;
        let waits: Vec<_> = [1, 2, 3, 7, 1000].map(|strikes| wait(None, "", strikes, now).as_secs()).into();
        assert_eq!(waits, [60, 120, 240, 3600, 3600]);
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parser_panic(header in ".{0,40}", body in ".{0,80}") {
            wait(Some(&header), &body, 1, Timestamp::UNIX_EPOCH);
            wait(None, &format!("retry-after: {body}"), 1, Timestamp::UNIX_EPOCH);
        }
    }
}
