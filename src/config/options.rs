//! The flags. Each field is also a variable and a key of the file, by the same name; see [`super`].
//!
//! Values stay texts here: they are read in one place, whichever way they came.

use clap::Args;
use serde::Serialize;

/// Options of every command.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = "Common options")]
pub struct CommonOptions {
    /// YAML file with options; each key is the name of a flag
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<String>,
    /// The apps directory: each directory in it that holds a Compose file is an app [default: ./apps]
    #[arg(long, global = true, value_name = "DIR")]
    pub apps: Option<String>,
    /// Where the database and the locks are [default: $XDG_STATE_HOME/restock, else ~/.local/state/restock]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<String>,
    /// The Docker engine, unix:///path or tcp://host:port [default: $DOCKER_HOST, the current context, the usual socket]
    #[arg(long, global = true, value_name = "URL")]
    pub docker_host: Option<String>,
    /// The bus of the systemd that runs units of containers: system, user or an address [default: system for root, else user]
    #[arg(long, global = true, value_name = "BUS")]
    pub dbus: Option<String>,
    /// What is logged, a tracing filter: error, warn, info, debug, trace, restock=debug,… [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// How the log is written: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// How long an updated service may take to become healthy [default: 60s]
    #[arg(long, global = true, value_name = "TIME")]
    pub health_timeout: Option<String>,
    /// How long a service without a healthcheck must stay up [default: 5s]
    #[arg(long, global = true, value_name = "TIME")]
    pub settle: Option<String>,
    /// How long replaced images are kept for a rollback [default: 7d]
    #[arg(long, global = true, value_name = "TIME")]
    pub keep: Option<String>,
    /// Remove replaced images once they are no longer kept, if nothing else names or uses them
    #[arg(long, global = true)]
    pub cleanup: bool,
    /// How long pulling the images of one app may take [default: 30m]
    #[arg(long, global = true, value_name = "TIME")]
    pub pull_timeout: Option<String>,
    /// How many apps are worked on at once, 1 to 64 [default: 4]
    #[arg(long, global = true, value_name = "N")]
    pub concurrency: Option<String>,
    /// Ask no registry for the version, age and size of a newer image; each answer is two requests that Docker Hub counts as pulls
    #[arg(long, global = true)]
    pub no_version_lookup: bool,
    /// The time zone of schedule and window, like Europe/Berlin [default: the system's]
    #[arg(long, global = true, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// When scheduled updates may be applied, like "Sat-Sun 02:00-05:00" [default: always]
    #[arg(long, global = true, value_name = "WINDOW")]
    pub window: Option<String>,
}

/// Further options of the service.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServeOptions {
    /// Where to listen, host:port or unix:/path [default: 127.0.0.1:8099]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Turns authentication on: the name to log in with
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// File that holds the password; or set the variable RESTOCK_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<String>,
    /// Turns authentication on: file with one API key a line, `key` or `key scope[,scope]`
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<String>,
    /// Docker's image routes: off, read-only or full [default: read-only on loopback or behind authentication, else off]
    #[arg(long, value_name = "ACCESS")]
    pub docker_api: Option<String>,
    /// When to update what a policy marks: a cron expression [default: never]
    #[arg(long, value_name = "CRON")]
    pub schedule: Option<String>,
    /// Make up at the start for a scheduled pass that was due while the service did not run
    #[arg(long)]
    pub run_missed: bool,
    /// How long running jobs may take to reach a safe point when the service is stopped [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub shutdown_grace: Option<String>,
    /// A host name by which browsers may reach the service, besides localhost; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allowed_host: Vec<String>,
    /// Listen beyond this machine without authentication
    #[arg(long)]
    pub insecure_no_auth: bool,
}
