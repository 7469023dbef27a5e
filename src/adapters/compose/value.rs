//! Values of Compose's JSON.

use std::time::Duration;

use serde_json::Value;

pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let parsed = value.as_str().and_then(|word| humantime::parse_duration(word).ok());
    parsed.ok_or_else(|| "a duration such as `90s`, `5m` or `3d`".into())
}

pub(super) fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> + Clone {
    static EMPTY: std::sync::LazyLock<serde_json::Map<String, Value>> = std::sync::LazyLock::new(serde_json::Map::new);
    value.as_object().unwrap_or(&EMPTY).iter()
}

/// Compose doubles every `$` of its output, so that it could be read again.
pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(|text| text.replace("$$", "$"))
}

pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(_) => text(value),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
