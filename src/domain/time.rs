//! Times as every answer, event and message writes them.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A time, or the lack of one.
pub trait Written {
    /// RFC 3339 in UTC, always with milliseconds: `2026-11-24T04:30:00.000Z`.
    fn written(&self) -> Option<String>;
}

impl Written for Timestamp {
    fn written(&self) -> Option<String> {
        Some(format!("{self:.3}"))
    }
}

impl Written for Option<Timestamp> {
    fn written(&self) -> Option<String> {
        self.as_ref().and_then(Written::written)
    }
}

/// Writes a time with milliseconds: many readers stop at the nine digits that a clock has. For `serialize_with`.
pub fn millis<S: Serializer>(time: &impl Written, serializer: S) -> Result<S::Ok, S::Error> {
    time.written().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Times {
        #[serde(serialize_with = "millis")]
        at: Timestamp,
        #[serde(serialize_with = "millis")]
        until: Option<Timestamp>,
    }

    #[test]
    fn milliseconds_are_always_three_digits() {
        for (given, written) in [
            ("2026-11-24T04:30:00.123456789Z", "2026-11-24T04:30:00.123Z"),
            ("2026-11-24T04:30:00Z", "2026-11-24T04:30:00.000Z"),
            ("2026-11-24T05:30:00.5+01:00", "2026-11-24T04:30:00.500Z"),
        ] {
            let at: Timestamp = given.parse().unwrap();
            let json = serde_json::to_value(Times { at, until: Some(at) }).unwrap();
            assert_eq!(json, serde_json::json!({"at": written, "until": written}));
            let none = serde_json::to_value(Times { at, until: None }).unwrap();
            assert!(none["until"].is_null());
        }
    }
}
