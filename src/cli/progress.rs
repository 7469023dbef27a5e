//! Shows what jobs do while they do it: bars on a terminal, lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Arc;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::domain::job::JobId;
use crate::usecases::Restock;
use crate::usecases::events::Event;

/// Runs `work` and shows its events; Ctrl-C asks what has touched nothing to end, and waits for the rest.
pub async fn watch<T>(restock: &Arc<Restock>, quiet: bool, work: impl Future<Output = T>) -> T {
    let (_, mut events) = restock.events.listen(None);
    let mut screen = Screen::new(quiet);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                while let Ok(event) = events.try_recv() {
                    screen.show(&event);
                }
                screen.clear();
                return done;
            }
            Ok(event) = events.recv() => screen.show(&event),
            Ok(()) = tokio::signal::ctrl_c() => interrupt(restock, &screen),
        }
    }
}

fn interrupt(restock: &Restock, screen: &Screen) {
    // No job begins after this; those that wait for their turn are refused.
    restock.stopping.cancel();
    for job in restock.jobs.running() {
        let Some(handle) = restock.jobs.find(&job.id) else { continue };
        match handle.cancel() {
            Ok(()) => screen.say(&format!("{}: cancelled, nothing was touched", job.target.name())),
            Err(_) => screen.say(&format!("{}: containers are being changed; it is finished first", job.target.name())),
        }
    }
}

struct Screen {
    quiet: bool,
    bars: Option<MultiProgress>,
    jobs: HashMap<JobId, Shown>,
}

/// One job's bar, and the layers whose bytes add up in it.
struct Shown {
    name: String,
    bar: Option<ProgressBar>,
    layers: HashMap<String, (u64, u64)>,
}

impl Screen {
    fn new(quiet: bool) -> Self {
        let bars = (!quiet && std::io::stderr().is_terminal()).then(MultiProgress::new);
        Self { quiet, bars, jobs: HashMap::new() }
    }

    fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => drop(bars.println(text)),
            None if !self.quiet => eprintln!("{text}"),
            None => {}
        }
    }

    fn show(&mut self, event: &Event) {
        let Some(job) = &event.job else { return };
        match event.event {
            "job" => self.begin(job, &event.data),
            "step" => self.line(job, event.data["step"].as_str().unwrap_or_default(), true),
            "warning" => self.line(job, event.data["message"].as_str().unwrap_or_default(), true),
            "container" => {
                let text = format!("{} {}", text(&event.data, "container"), text(&event.data, "status"));
                self.line(job, &text, true);
            }
            "progress" => self.progress(job, &event.data),
            "result" => {
                if let Some(bar) = self.jobs.remove(job).and_then(|shown| shown.bar) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, job: &JobId, data: &Value) {
        let target = ["app", "container", "group"].iter().find_map(|key| data[key].as_str());
        // A pass has no name of its own.
        let name = target.unwrap_or("auto-update").to_owned();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(0));
            let template = "{prefix:>16} {spinner} {wide_bar} {bytes}/{total_bytes} {msg:30!}";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(name.clone());
            bar.enable_steady_tick(std::time::Duration::from_millis(120));
            bar
        });
        self.jobs.insert(job.clone(), Shown { name, bar, layers: HashMap::new() });
    }

    fn line(&self, job: &JobId, text: &str, worth_a_line: bool) {
        let Some(shown) = self.jobs.get(job) else { return };
        match &shown.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None if worth_a_line && !self.quiet => eprintln!("{}: {text}", shown.name),
            None => {}
        }
    }

    fn progress(&mut self, job: &JobId, data: &Value) {
        let status = text(data, "status");
        let Some(shown) = self.jobs.get_mut(job) else { return };
        let Some(layer) = data["layer"].as_str() else {
            let what = data["service"].as_str().or(data["image"].as_str()).unwrap_or_default();
            return self.line(job, &format!("{what} {status}"), true);
        };
        if let (Some(current), Some(total)) = (data["current"].as_u64(), data["total"].as_u64()) {
            shown.layers.insert(layer.to_owned(), (current, total));
        }
        if let Some(bar) = &shown.bar {
            bar.set_length(shown.layers.values().map(|(_, total)| total).sum());
            bar.set_position(shown.layers.values().map(|(current, _)| current).sum());
        }
    }

    fn clear(&self) {
        if let Some(bars) = &self.bars
            && let Err(error) = bars.clear()
        {
            tracing::debug!(%error, "the progress bars could not be cleared");
        }
    }
}

fn text<'a>(data: &'a Value, key: &str) -> &'a str {
    data[key].as_str().unwrap_or_default()
}
