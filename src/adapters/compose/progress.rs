//! Compose's progress, line by line.
//!
//! With `--progress json` (2.29 and newer) each line of standard error is an object. Up to 2.40 a pull's event is named
//! after its service and its layers name it as `parent_id`; from 5.0 on the names are `Image <reference>`, and a
//! severity (`Working`, `Done`, `Warning`, `Error`) stands in `status`. All keys may be missing.

use serde_json::Value;

/// One event, in the words both shapes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub subject: Topic,
    /// What is happening: `Pulling`, `Downloading`, `Recreated`, …
    pub status: String,
    /// Bytes done and in all, where the engine tells.
    pub current: Option<u64>,
    pub total: Option<u64>,
    /// The event reports a failure; its text is then `status`.
    pub failed: bool,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// A service's pull.
    Service(String),
    /// A pull by image reference, as Compose 5 names it.
    Image(String),
    /// A layer of one of the above.
    Layer {
        of: Box<Topic>,
        layer: String,
    },
    Container(String),
    /// Networks, volumes and whatever else Compose makes.
    Other(String),
}

/// One line of standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgressLine {
    Event(Progress),
    /// The last word of a command that failed.
    Error(String),
    /// A warning, or a line that is no event.
    Note(String),
}

/// Reads one line; `pulling` tells whether bare names are services being pulled.
pub fn parse_line(line: &str) -> ProgressLine {
    let Ok(Value::Object(event)) = serde_json::from_str::<Value>(line) else {
        return ProgressLine::Note(line.to_owned());
    };
    let word = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    if event.get("error").is_some_and(|error| *error == Value::Bool(true)) {
        return ProgressLine::Error(word("message").to_owned());
    }
    if event.contains_key("level") {
        return if matches!(word("level"), "error" | "fatal") {
            ProgressLine::Error(word("msg").to_owned())
        } else {
            ProgressLine::Note(word("msg").to_owned())
        };
    }
    if event.contains_key("tail") || word("id").is_empty() {
        return ProgressLine::Note(word("text").to_owned());
    }
    let severity = matches!(word("status"), "Working" | "Done" | "Warning" | "Error");
    let (text, status, details) = (word("text"), word("status"), word("details"));
    let failed = text == "Error" || status == "Error";
    let said = match (failed, severity) {
        (true, true) => {
            [details, text].into_iter().find(|said| !said.is_empty() && *said != "Error").unwrap_or("Error")
        }
        (true, false) => status,
        (false, true) => text,
        // In v2 a container's verb stands in `status`, a pull's in `text`.
        (false, false) if text.is_empty() => status,
        (false, false) => text,
    };
    let number = |key: &str| event.get(key).and_then(Value::as_u64);
    ProgressLine::Event(Progress {
        subject: subject(word("id"), word("parent_id")),
        status: said.to_owned(),
        current: number("current"),
        total: number("total").filter(|total| *total > 0),
        failed,
    })
}

fn subject(id: &str, parent: &str) -> Topic {
    if !parent.is_empty() {
        return Topic::Layer { of: Box::new(subject(parent, "")), layer: id.to_owned() };
    }
    match id.split_once(' ') {
        Some(("Image", reference)) => Topic::Image(reference.to_owned()),
        Some(("Container", name)) => Topic::Container(name.to_owned()),
        Some(_) => Topic::Other(id.to_owned()),
        None => Topic::Service(id.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> Progress {
        match parse_line(line) {
            ProgressLine::Event(progress) => progress,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn both_shapes_say_the_same() {
        let old = event(
            r#"{"id":"a1","parent_id":"web","text":"Downloading","status":"[=>  ]","current":10,"total":20,"percent":50}"#,
        );
        let new = event(
            r#"{"id":"a1","parent_id":"Image host:5000/web:1","text":"Downloading","status":"Working","current":10,"total":20}"#,
        );
        assert_eq!((old.status.as_str(), old.current, old.total), ("Downloading", Some(10), Some(20)));
        assert_eq!((new.status.as_str(), new.current, new.total), ("Downloading", Some(10), Some(20)));
        assert_eq!(old.subject, Topic::Layer { of: Box::new(Topic::Service("web".into())), layer: "a1".into() });
        assert_eq!(event(r#"{"id":"Container p-a-1","status":"Recreated"}"#).status, "Recreated");
        assert_eq!(event(r#"{"id":"Container p-a-1","status":"Done","text":"Recreated"}"#).status, "Recreated");
    }

    #[test]
    fn failures_are_seen_in_both_shapes() {
        let old = event(r#"{"id":"web","text":"Error","status":"manifest unknown"}"#);
        let new = event(r#"{"id":"Image web:1","text":"Error","status":"Error","details":"manifest unknown"}"#);
        for progress in [old, new] {
            assert!(progress.failed);
            assert_eq!(progress.status, "manifest unknown");
        }
        assert_eq!(parse_line(r#"{"error":true,"message":"no"}"#), ProgressLine::Error("no".into()));
    }

    #[test]
    fn everything_else_is_a_note() {
        for line in ["plain text", r#"{"level":"warning","msg":"plain text"}"#, r#"{"tail":true,"text":"plain text"}"#]
        {
            assert_eq!(parse_line(line), ProgressLine::Note("plain text".into()), "{line}");
        }
    }
}
