//! The key `hooks` of an app's `x-restock`.

use serde_json::Value;

use super::value::{duration, entries, text};
use crate::domain::app::ServiceName;
use crate::domain::hook::{DEFAULT_TIMEOUT, Hook, Hooks};

/// The hooks, or every mistake in them with the place where it stands.
pub(super) fn parse_hooks(value: &Value) -> Result<Hooks, Vec<String>> {
    const KEY: &str = "x-restock.hooks";
    let mut hooks = Hooks::default();
    let mut mistakes = Vec::new();
    if !value.is_object() {
        return Err(vec![format!("{KEY}: expected a mapping with `before` and `after`")]);
    }
    for (when, value) in entries(value) {
        let list = match when.as_str() {
            "before" => &mut hooks.before,
            "after" => &mut hooks.after,
            _ => {
                mistakes.push(format!("{KEY}.{when}: unknown key; valid are before, after"));
                continue;
            }
        };
        let Some(values) = value.as_array() else {
            mistakes.push(format!("{KEY}.{when}: expected a list of hooks"));
            continue;
        };
        for (n, value) in values.iter().enumerate() {
            match parse_hook(value, &format!("{KEY}.{when}[{n}]")) {
                Ok(hook) => list.push(hook),
                Err(more) => mistakes.extend(more),
            }
        }
    }
    if mistakes.is_empty() { Ok(hooks) } else { Err(mistakes) }
}

fn parse_hook(value: &Value, place: &str) -> Result<Hook, Vec<String>> {
    if !value.is_object() {
        return Err(vec![format!("{place}: expected a mapping with `service`, `command` and `timeout`")]);
    }
    let unknown = entries(value).filter(|(key, _)| !["service", "command", "timeout"].contains(&key.as_str()));
    let mut mistakes: Vec<_> =
        unknown.map(|(key, _)| format!("{place}.{key}: unknown key; valid are service, command, timeout")).collect();
    let mut expected = |key: &str, what: &str| mistakes.push(format!("{place}.{key}: expected {what}"));
    let service = text(&value["service"]).filter(|name| !name.is_empty() && !name.starts_with('-'));
    if service.is_none() {
        expected("service", "the name of a service");
    }
    let command = parse_command(&value["command"]);
    if command.is_none() {
        expected("command", "a command line, or a list of a program and its arguments");
    }
    let timeout = match &value["timeout"] {
        Value::Null => Ok(DEFAULT_TIMEOUT),
        given => duration(given).inspect_err(|what| expected("timeout", what)),
    };
    match (service, command, timeout, mistakes.is_empty()) {
        (Some(service), Some(command), Ok(timeout), true) => {
            Ok(Hook { service: ServiceName::new(service), command, timeout })
        }
        _ => Err(mistakes),
    }
}

/// A text is a line for the container's own shell, as in a Compose file's `healthcheck`.
fn parse_command(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(_) => {
            let line = text(value).filter(|line| !line.trim().is_empty())?;
            Some(vec!["sh".into(), "-c".into(), line])
        }
        Value::Array(words) => {
            let words: Vec<_> = words.iter().map(text).collect::<Option<_>>()?;
            words.first().is_some_and(|program| !program.is_empty()).then_some(words)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_is_for_the_containers_shell_and_a_list_is_taken_as_it_is() {
        let hooks = parse_hooks(&json!({
            "before": [
                {"service": "db", "command": "dump > /data/$$(date).sql", "timeout": "5m"},
                {"service": "db", "command": ["sync", ""]},
            ],
            "after": [],
        }))
        .unwrap();
        assert_eq!(hooks.before[0].command, ["sh", "-c", "dump > /data/$(date).sql"]);
        assert_eq!(hooks.before[0].timeout, Duration::from_secs(300));
        assert_eq!(
            (hooks.before[1].command.as_slice(), hooks.before[1].timeout),
            (&["sync".into(), "".into()][..], DEFAULT_TIMEOUT)
        );
        assert!(hooks.after.is_empty());
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let mistakes = |value| parse_hooks(&value).unwrap_err().join("\n");
        assert!(mistakes(json!("dump")).contains("x-restock.hooks: expected a mapping"));
        assert!(mistakes(json!({"before": {}})).contains("x-restock.hooks.before: expected a list"));
        let all = mistakes(json!({
            "first": [],
            "before": [{"service": "db", "command": "x"}, {"service": 5, "command": "", "timeout": "60", "user": "me"}, 7],
            "after": [{"command": []}, {"service": "--index", "command": ["a", 5]}],
        }));
        for place in [
            ".first: unknown",
            ".before[1].service: ",
            ".before[1].command: ",
            ".before[1].timeout: expected a duration",
            ".before[1].user: unknown",
            ".before[2]: expected a mapping",
            ".after[0].service: ",
            ".after[0].command: ",
            ".after[1].service: ",
            ".after[1].command: ",
        ] {
            assert!(all.contains(&format!("x-restock.hooks{place}")), "{place} in {all}");
        }
        assert_eq!(all.lines().count(), 10, "{all}");
    }
}
