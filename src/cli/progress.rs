//! Shows what jobs do while they do it: bars on a terminal, lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use super::output;
use super::words::doing;
use crate::domain::job::{JobId, Kind, Step};
use crate::usecases::events::Event;

/// While nothing is counted.
const SPINNER: &str = "{prefix:>16!} {spinner} {wide_msg}";
/// From the first layer with a size on.
const BAR: &str = "{prefix:>16!} {spinner} {bar:24} {bytes:>10}/{total_bytes:<10} {wide_msg}";
/// While things are asked about.
const COUNT: &str = "{spinner} {bar:24} {pos} of {len} asked";
const TICK: Duration = Duration::from_millis(120);

/// Speaks on standard error, without tearing the bars there. Cheap to clone.
#[derive(Clone)]
pub struct Voice {
    quiet: bool,
    bars: Option<MultiProgress>,
}

impl Voice {
    /// A quiet one tells no progress: beside JSON nobody reads it.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, bars: (!quiet && std::io::stderr().is_terminal()).then(MultiProgress::new) }
    }

    /// Tells what a person has to know.
    pub fn say(&self, text: &str) {
        match &self.bars {
            // It fails when the terminal is gone, and then nobody reads it.
            Some(bars) => drop(bars.println(text)),
            None => output::note(text),
        }
    }

    /// Tells how the work goes.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }
}

/// What the jobs of this process are doing.
pub struct Screen {
    voice: Voice,
    jobs: HashMap<JobId, Shown>,
}

/// One job's bar, and the layers whose bytes add up in it.
struct Shown {
    name: String,
    bar: Option<ProgressBar>,
    layers: HashMap<String, (u64, u64)>,
    /// It changes nothing, and its answer says all: its steps are worth no lines.
    only_looks: bool,
}

impl Screen {
    /// An empty screen.
    pub fn new(voice: Voice) -> Self {
        Self { voice, jobs: HashMap::new() }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        let Some(job) = &event.job else { return };
        if event.event == "job" {
            return self.begin(job, &event.data);
        }
        let Some(shown) = self.jobs.get_mut(job) else { return };
        match event.event {
            "step" => {
                if let Ok(step) = serde_json::from_value::<Step>(event.data["step"].clone()) {
                    shown.begin_step(&self.voice, doing(step));
                }
            }
            // These are worth to stay on a terminal as well.
            "warning" => self.voice.note(&format!("{}: {}", shown.name, text(&event.data, "message"))),
            "container" => {
                shown.line(&self.voice, &format!("{} {}", text(&event.data, "container"), text(&event.data, "status")));
            }
            "progress" if event.data["app"].is_string() => shown.count(&self.voice, &event.data),
            "progress" => shown.progress(&self.voice, &event.data),
            "result" => {
                let text = format!("{}: {}", shown.name, text(&event.data, "outcome"));
                // The bar goes first, so that the line takes its place.
                let only_looks = self.jobs.remove(job).is_some_and(|shown| shown.only_looks);
                // A failure is told once, with its reason, by the command itself.
                if !only_looks && event.data["error"].is_null() {
                    self.voice.note(&text);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, job: &JobId, data: &Value) {
        let target = ["app", "container", "group"].iter().find_map(|key| data[key].as_str());
        let only_looks = serde_json::from_value::<Kind>(data["kind"].clone()).is_ok_and(Kind::only_looks);
        // What is about everything has no name of its own.
        let name = target.unwrap_or(if only_looks { "check" } else { "auto-update" }).to_owned();
        let bar = self.voice.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::no_length().with_style(style(SPINNER)).with_prefix(name.clone()));
            bar.enable_steady_tick(TICK);
            bar
        });
        self.jobs.insert(job.clone(), Shown { name, bar, layers: HashMap::new(), only_looks });
    }

    /// Takes what is left from the terminal.
    pub fn clear(&mut self) {
        self.jobs.clear();
        if let Some(bars) = &self.voice.bars
            && let Err(error) = bars.clear()
        {
            tracing::debug!(%error, "the progress bars could not be cleared");
        }
    }
}

impl Shown {
    fn begin_step(&mut self, voice: &Voice, step: &str) {
        if let Some(bar) = &self.bar
            && !self.layers.is_empty()
        {
            // What was pulled is complete, or given up.
            self.layers.clear();
            bar.set_style(style(SPINNER));
        }
        self.line(voice, step);
    }

    fn line(&self, voice: &Voice, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None if self.only_looks => {}
            None => voice.note(&format!("{}: {text}", self.name)),
        }
    }

    /// Things that are asked about, one more done. Of a single one there is nothing to count.
    fn count(&self, voice: &Voice, data: &Value) {
        let (Some(done), Some(all)) = (data["current"].as_u64(), data["total"].as_u64()) else { return };
        match &self.bar {
            Some(bar) => {
                bar.set_style(style(COUNT));
                bar.set_length(all);
                bar.set_position(done);
            }
            None if all > 1 => voice.note(&format!("{done} of {all} asked")),
            None => {}
        }
    }

    /// A layer moves the bar; an image or a service is worth a line.
    fn progress(&mut self, voice: &Voice, data: &Value) {
        let what = data["service"].as_str().or(data["image"].as_str()).unwrap_or_default();
        let Some(layer) = data["layer"].as_str() else {
            return self.line(voice, &format!("{what} {}", text(data, "status")));
        };
        let (Some(current), Some(total)) = (data["current"].as_u64(), data["total"].as_u64()) else { return };
        let first = self.layers.is_empty();
        // Services may share an image, whose layers then are told for each of them.
        self.layers.insert(layer.to_owned(), (current.min(total), total));
        let Some(bar) = &self.bar else { return };
        if first {
            bar.set_style(style(BAR));
        }
        bar.set_length(self.layers.values().map(|(_, total)| total).sum());
        bar.set_position(self.layers.values().map(|(current, _)| current).sum());
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn text<'a>(data: &'a Value, key: &str) -> &'a str {
    data[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(event: &'static str, data: Value) -> Event {
        let job = Some(JobId::new(ulid::Ulid::nil()));
        Event { id: 1, at: jiff::Timestamp::now(), job, event, data }
    }

    fn screen() -> Screen {
        let hidden = MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden());
        Screen::new(Voice { quiet: false, bars: Some(hidden) })
    }

    #[test]
    fn the_templates_are_valid() {
        for template in [SPINNER, BAR, COUNT] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn the_bytes_of_layers_add_up_until_the_next_step() {
        let mut screen = screen();
        screen.show(&event("job", json!({"app": "photos"})));
        screen.show(&event("step", json!({"step": "pull"})));
        let bar = screen.jobs.values().next().and_then(|shown| shown.bar.clone()).unwrap();
        assert_eq!((bar.prefix().as_str(), bar.message().as_str(), bar.length()), ("photos", "pulling", None));
        for (service, layer, current) in [("web", "a", 1024), ("web", "b", 512), ("web", "a", 2048), ("api", "a", 2048)]
        {
            let data =
                json!({"service": service, "layer": layer, "status": "Downloading", "current": current, "total": 2048});
            screen.show(&event("progress", data));
        }
        assert_eq!((bar.position(), bar.length()), (2560, Some(4096)));
        screen.show(&event("step", json!({"step": "plan"})));
        assert!(screen.jobs.values().all(|shown| shown.layers.is_empty()));
        screen.show(&event("result", json!({"outcome": "updated"})));
        assert!(screen.jobs.is_empty() && bar.is_finished());
    }

    #[test]
    fn events_of_unknown_jobs_and_unknown_shapes_do_no_harm() {
        let mut screen = screen();
        screen.show(&event("step", json!({"step": "pull"})));
        screen.show(&event("job", json!(null)));
        screen.show(&event("step", json!({"step": "dance"})));
        screen.show(&event("progress", json!([])));
    }
}
