//! Passes Compose's progress on to whoever listens, without flooding them.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::json;

use super::jobs::Running;
use crate::adapters::compose::{Progress, ProgressLine, parse_line};
use crate::adapters::compose::{Redactor, Topic};

/// The shortest time between two events of one layer: enough for a bar to move smoothly.
const PACE: Duration = Duration::from_millis(200);

/// One command's progress.
pub struct Relay<'a> {
    running: &'a Running,
    redactor: Redactor,
    told: HashMap<String, (Instant, String)>,
    /// Containers that the command says it has started, made or made anew.
    pub touched: BTreeSet<String>,
    /// The service or image whose pull failed first.
    pub failed: Option<Topic>,
}

impl<'a> Relay<'a> {
    /// A relay that masks what `redactor` knows.
    pub fn new(running: &'a Running, redactor: Redactor) -> Self {
        Self { running, redactor, told: HashMap::new(), touched: BTreeSet::new(), failed: None }
    }

    /// Reads one line of standard error.
    pub fn line(&mut self, line: &str) {
        match parse_line(line) {
            ProgressLine::Event(progress) => self.progress(&progress),
            // The last words explain a failure; whoever handles the failure tells them.
            ProgressLine::Error(_) => {}
            ProgressLine::Note(note) if note.is_empty() => {}
            ProgressLine::Note(note) => tracing::debug!(compose = self.redactor.clean(&note), "compose says"),
        }
    }

    fn progress(&mut self, progress: &Progress) {
        let status = self.redactor.clean(&progress.status);
        let (key, what) = describe(&progress.subject);
        if progress.failed {
            // The first failure is the cause; the others are interrupted by it.
            self.failed.get_or_insert_with(|| whole(&progress.subject).clone());
        }
        if let Topic::Container(name) = &progress.subject
            && matches!(progress.status.as_str(), "Started" | "Recreated" | "Created" | "Restarted")
        {
            self.touched.insert(name.clone());
        }
        let now = Instant::now();
        let done = progress.current.is_some() && progress.current == progress.total;
        if let Some((at, last)) = self.told.get(&key)
            && *last == status
            && (progress.current.is_none() || (now - *at < PACE && !done))
        {
            return;
        }
        self.told.insert(key, (now, status.clone()));
        let mut data = what;
        data["status"] = status.into();
        if let Some(current) = progress.current {
            data["current"] = current.into();
        }
        if let (Some(total), current) = (progress.total, progress.current.unwrap_or_default()) {
            data["total"] = total.into();
            data["percent"] = (current.min(total) * 100 / total).into();
        }
        if matches!(progress.subject, Topic::Container(_)) {
            let running = self.running;
            return running.host.service.events.tell(Some(&running.handle.id), "container", data);
        }
        self.running.tell_progress(data);
    }
}

/// What a layer is of; anything else is whole itself.
fn whole(subject: &Topic) -> &Topic {
    match subject {
        Topic::Layer { of, .. } => whole(of),
        other => other,
    }
}

fn describe(subject: &Topic) -> (String, serde_json::Value) {
    match subject {
        Topic::Service(name) => (name.clone(), json!({ "service": name })),
        Topic::Image(reference) => (reference.clone(), json!({ "image": reference })),
        Topic::Container(name) => (name.clone(), json!({ "container": name })),
        Topic::Other(name) => (name.clone(), json!({ "resource": name })),
        Topic::Layer { of, layer } => {
            let (key, mut what) = describe(of);
            what["layer"] = layer.as_str().into();
            (format!("{key} {layer}"), what)
        }
    }
}
