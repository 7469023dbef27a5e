//! The settings that every command has.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::docker;
use super::environment::Environment;
use super::options::{CommonOptions, ServeOptions};
use super::sources::Sources;
use crate::adapters::engine::DockerHost;
use crate::adapters::notifier::Receiver;
use crate::domain::window::Window;

/// From the D-Bus specification.
const SYSTEM_BUS: &str = "unix:path=/var/run/dbus/system_bus_socket";
const MAX_CONCURRENCY: usize = 64;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What every command knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The apps directory: absolute, links in it not followed.
    pub apps: PathBuf,
    /// Where database and locks are: absolute.
    pub data: PathBuf,
    /// The engine, for this process and its children.
    pub docker_host: DockerHost,
    /// The address of the bus that systemd is on.
    pub dbus: String,
    /// A tracing filter that has been checked.
    pub log: String,
    pub log_format: LogFormat,
    /// How long an updated service may take to become healthy.
    pub health_timeout: Duration,
    /// How long a service without a healthcheck must stay up.
    pub settle: Duration,
    /// How long the tags that protect replaced images are kept.
    pub keep: Duration,
    /// Remove replaced images once they are no longer kept.
    pub cleanup: bool,
    /// How long pulling the images of one app may take.
    pub pull_timeout: Duration,
    /// How many apps are worked on at once.
    pub concurrency: usize,
    /// Ask for the version, age and size of a newer image.
    pub version_lookup: bool,
    /// The zone of schedules and window.
    pub timezone: TimeZone,
    /// When passes may apply what they find; `None` means always.
    pub window: Option<Window>,
    /// Who is told what happens by itself.
    pub notify: Vec<Receiver>,
    /// How wide lines may be where standard output is no terminal: the variable `COLUMNS`.
    pub columns: Option<usize>,
    child_environment: Environment,
}

impl Settings {
    /// Reads the process's environment and the file, for any command but the service.
    ///
    /// # Errors
    /// Every mistake there is, each a line that names the option and where its value came from.
    pub fn load(common: &CommonOptions) -> Result<Self, Vec<String>> {
        Self::resolve(common, &Environment::of_process())
    }

    /// The same with another environment.
    pub fn resolve(common: &CommonOptions, env: &Environment) -> Result<Self, Vec<String>> {
        // Mistakes in options of the service are of no interest to the other commands.
        let mut sources = Sources::read(common, &ServeOptions::default(), env);
        let settings = Self::of(&mut sources);
        sources.finish(settings)
    }

    /// What is not set has its default, and so has what is a mistake: the mistakes decide in the end.
    pub(super) fn of(sources: &mut Sources<'_>) -> Self {
        let docker_host = docker::resolve(sources);
        Self {
            apps: sources.path("apps").or_else(|| std::path::absolute("apps").ok()).unwrap_or_default(),
            data: sources.path("data").or_else(|| default_data(sources)).unwrap_or_default(),
            child_environment: sources.env.for_children(&docker_host),
            columns: sources.env.get("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok()),
            docker_host,
            dbus: bus(sources),
            log: sources.parse("log", log_filter).unwrap_or_else(|| "info".into()),
            log_format: sources.parse("log-format", log_format).unwrap_or(LogFormat::Text),
            health_timeout: sources.parse("health-timeout", positive).unwrap_or(Duration::from_secs(60)),
            settle: sources.parse("settle", duration).unwrap_or(Duration::from_secs(5)),
            keep: sources.parse("keep", duration).unwrap_or(Duration::from_secs(7 * 24 * 3600)),
            cleanup: sources.parse("cleanup", switch).unwrap_or(false),
            pull_timeout: sources.parse("pull-timeout", positive).unwrap_or(Duration::from_secs(30 * 60)),
            concurrency: sources.parse("concurrency", concurrency).unwrap_or(4),
            version_lookup: !sources.parse("no-version-lookup", switch).unwrap_or(false),
            timezone: sources.parse("timezone", zone).unwrap_or_else(TimeZone::system),
            window: sources.parse("window", str::parse),
            notify: super::notify::receivers(sources),
        }
    }

    /// The whole environment of a `docker compose` child; see [`Environment::for_children`].
    pub fn child_environment(&self) -> &BTreeMap<OsString, OsString> {
        self.child_environment.variables()
    }

    /// The Docker CLI's configuration file, which may hold logins to registries; it need not exist.
    pub fn docker_config(&self) -> PathBuf {
        super::docker::configuration_dir(&self.child_environment).unwrap_or_default().join("config.json")
    }

    /// Where programs are looked for; the children's `PATH`.
    pub fn search_path(&self) -> &OsStr {
        self.child_environment.get("PATH").unwrap_or_default()
    }
}

/// As other programs find it: a variable names the bus, or it is in the usual place.
fn bus(sources: &mut Sources<'_>) -> String {
    let chosen = sources.text("dbus");
    let own = if rustix::process::geteuid().is_root() { "system" } else { "user" };
    let variable = |name: &str| sources.env.get(name).map(|value| value.to_string_lossy().into_owned());
    match chosen.as_deref().unwrap_or(own) {
        "system" => variable("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|| SYSTEM_BUS.into()),
        "user" => variable("DBUS_SESSION_BUS_ADDRESS").unwrap_or_else(|| {
            let user = rustix::process::geteuid().as_raw();
            let dir = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{user}"));
            format!("unix:path={dir}/bus")
        }),
        address => address.to_owned(),
    }
}

fn default_data(sources: &mut Sources<'_>) -> Option<PathBuf> {
    // The XDG specification: a relative path is to be ignored.
    let state = sources.env.get("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || sources.env.get("HOME").map(|home| Path::new(home).join(".local/state"));
    let data = state.or_else(home).map(|state| state.join("restock"));
    if data.is_none() && sources.find("data").is_none() {
        sources.mistake("data", "has to be set where neither XDG_STATE_HOME nor HOME is");
    }
    data
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}. Write a time like 90s, 5m or 7d"))
}

fn positive(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err("it has to be longer than 0s".into()) } else { Ok(time) })
}

fn zone(name: &str) -> Result<TimeZone, &'static str> {
    TimeZone::get(name).map_err(|_| "no time zone that is known here; write one like Europe/Berlin or UTC")
}

fn concurrency(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_CONCURRENCY).contains(number));
    number.ok_or_else(|| format!("not a number from 1 to {MAX_CONCURRENCY}"))
}

fn log_filter(text: &str) -> Result<String, String> {
    let checked = tracing_subscriber::EnvFilter::try_new(text);
    checked.map(|_| text.to_owned()).map_err(|error| format!("not a tracing filter: {error}"))
}

fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("neither text nor json"),
    }
}

pub(super) fn switch(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("neither true nor false"),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
