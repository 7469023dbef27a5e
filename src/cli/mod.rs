//! The command line: one function a verb; tables and bars for people, JSON for programs.

mod apps;
mod auto_update;
mod check;
mod exit;
mod history;
mod listen;
mod notify;
mod output;
mod package_files;
mod progress;
mod serve;
mod signals;
mod start;
mod table;
mod update;
mod watch;
mod words;

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::Timestamp;

use crate::config::{CommonOptions, ServeOptions, Settings};
use crate::domain::job::{Kind, Outcome};
use crate::domain::policy::Policy;

/// Updates Docker Compose apps, proves that the new containers work, and takes the update back when they do not.
#[derive(Parser)]
#[command(name = "restock", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    common: CommonOptions,
    /// Print JSON, as the API answers it.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Every option is also a variable (--health-timeout is RESTOCK_HEALTH_TIMEOUT) and a key of the file \
                          that --config names, else of /etc/restock/restock.yaml. Flags win over variables, variables over the file.\n\
                          Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage, 3 rolled back; 10 updates are available (`check \
                          --exit-code`).";

/// How long a command waits at its end for people to be told.
const LAST_WORDS: Duration = Duration::from_secs(5);

#[derive(Subcommand)]
enum Command {
    /// Run the service: REST API, page and schedule
    #[command(after_help = "Example:\n  restock serve --apps /srv/apps --schedule '30 4 * * *'")]
    Serve(ServeOptions),
    /// List the apps with state and freshness
    #[command(after_help = "Example:\n  restock apps --json")]
    Apps,
    /// Ask the registries for newer images; pulls nothing, changes nothing
    #[command(after_help = "Example:\n  restock check --exit-code web db")]
    Check(CheckArgs),
    /// Update apps, prove them, and take back what does not work
    #[command(
        override_usage = "restock update [OPTIONS] <APP>...\n       restock update [OPTIONS] --all",
        after_help = "Examples:\n  restock update web db\n  restock update --all --dry-run"
    )]
    Update(UpdateArgs),
    /// Go back to the images that ran before the last update
    #[command(after_help = "Example:\n  restock rollback web")]
    Rollback {
        /// The app
        app: String,
    },
    /// Run one pass over everything that a policy marks
    #[command(after_help = "Example:\n  restock auto-update --dry-run")]
    AutoUpdate(AutoUpdateArgs),
    /// Show or set the policy of an app
    #[command(after_help = "Example:\n  restock policy web registry")]
    Policy(PolicyArgs),
    /// Show who is told what happens by itself, and try it
    #[command(after_help = "Example:\n  restock notify --test")]
    Notify(NotifyArgs),
    /// Show what was done, when, and with what outcome
    #[command(after_help = "Example:\n  restock history web --limit 5")]
    History(HistoryArgs),
    /// Print the API's description (OpenAPI 3.1)
    #[command(after_help = "Example:\n  restock openapi >restock.json")]
    Openapi,
    /// Print a script that completes commands in a shell
    #[command(after_help = "Example:\n  restock completions bash >/etc/bash_completion.d/restock")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages and completions, as a package has them
    #[command(hide = true)]
    PackageFiles {
        /// The package's root
        root: std::path::PathBuf,
    },
}

/// What `restock check` takes.
#[derive(Args)]
struct CheckArgs {
    /// The apps; all when none is named
    #[arg(value_name = "APP")]
    names: Vec<String>,
    /// Exit with 10 when updates are available
    #[arg(long)]
    exit_code: bool,
}

/// What `restock update` takes.
#[derive(Args)]
struct UpdateArgs {
    /// The apps
    #[arg(value_name = "APP", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
    /// Update all apps
    #[arg(long)]
    all: bool,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Leave a failed update as it is
    #[arg(long)]
    no_rollback: bool,
}

/// What `restock auto-update` takes.
#[derive(Args)]
struct AutoUpdateArgs {
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Whether to take back what fails
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    rollback: bool,
}

/// What `restock policy` takes.
#[derive(Args)]
struct PolicyArgs {
    /// The app
    app: String,
    /// What holds from now on, above the app's file and labels; without it the policy is only shown
    policy: Option<Wanted>,
}

/// A policy to set.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wanted {
    /// Ask the registry, and update when it has a newer image
    Registry,
    /// Update when the image on this machine is newer; pull nothing
    Local,
    /// Leave the app alone
    Disabled,
    /// Let the app's file and labels speak
    Unset,
}

impl Wanted {
    fn policy(self) -> Option<Policy> {
        match self {
            Self::Registry => Some(Policy::Registry),
            Self::Local => Some(Policy::Local),
            Self::Disabled => Some(Policy::Disabled),
            Self::Unset => None,
        }
    }
}

/// What `restock notify` takes.
#[derive(Args)]
struct NotifyArgs {
    /// Send a message to each receiver
    #[arg(long)]
    test: bool,
}

/// What `restock history` takes.
#[derive(Args)]
struct HistoryArgs {
    /// The app; all when none is named
    app: Option<String>,
    /// How many entries
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Only this kind: update, rollback, up, down, auto_update, …
    #[arg(long, value_parser = words::read::<Kind>)]
    kind: Option<Kind>,
    /// Only what ended like this: updated, unchanged, rolled_back, failed, …
    #[arg(long, value_parser = words::read::<Outcome>)]
    outcome: Option<Outcome>,
    /// Only what ended since then: a time, as 2026-01-31T04:30:00Z, or a while ago, as 7d
    #[arg(long, value_parser = words::since)]
    since: Option<Timestamp>,
}

/// Below the help of each command, which has its own options only.
const GLOBAL: &str = "Options of every command: restock --help";

/// The definition of the command line, where help shows the options of every command once: with the program itself.
fn definition() -> clap::Command {
    let mut cli = Cli::command();
    // Gives commands the options of every command.
    cli.build();
    cli.mut_subcommands(|command| {
        let example = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
        let command = command.after_help(format!("{example}{GLOBAL}"));
        command.mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg })
    })
}

impl Cli {
    /// The command that the arguments of the process ask for; ends the process where they are wrong or ask for help.
    pub fn of_process() -> Self {
        let mut cli = definition();
        let matches = cli.get_matches_mut();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut cli).exit())
    }

    /// Runs the command to its end.
    pub async fn run(self) -> ExitCode {
        match &self.command {
            Command::Serve(options) => return serve::serve(&self.common, options).await,
            Command::PackageFiles { root } => return package_files::write(root),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut Self::command(), "restock", &mut script);
                output::say(String::from_utf8_lossy(&script).trim_end());
                return ExitCode::SUCCESS;
            }
            Command::Openapi => {
                output::json(&crate::http::openapi());
                return ExitCode::SUCCESS;
            }
            _ => {}
        }
        let settings = match Settings::load(&self.common) {
            Ok(settings) => settings,
            Err(mistakes) => return output::usage(&mistakes),
        };
        start::log(&settings, self.common.log.is_none());
        settings.columns.into_iter().for_each(table::limit_to);
        let restock = match start::restock(&settings).await {
            Ok(restock) => restock,
            Err(error) => return output::failed(&error, self.json),
        };
        let code = match &self.command {
            Command::Serve(_) | Command::Openapi | Command::Completions { .. } | Command::PackageFiles { .. } => {
                ExitCode::FAILURE
            }
            Command::Apps => apps::apps(&restock, self.json).await,
            Command::Check(args) => check::check(&restock, args, self.json).await,
            Command::Update(args) => update::update(&restock, args, self.json).await,
            Command::Rollback { app } => update::roll_back(&restock, app, self.json).await,
            Command::AutoUpdate(args) => auto_update::auto_update(&restock, args, self.json).await,
            Command::Policy(args) => auto_update::policy(&restock, args, self.json).await,
            Command::Notify(args) => notify::notify(&restock, args.test, self.json).await,
            Command::History(args) => history::history(&restock, args, self.json).await,
        };
        if matches!(self.command, Command::Update(_) | Command::Rollback { .. } | Command::AutoUpdate(_)) {
            restock.service.deliver_before_exit(LAST_WORDS).await;
        }
        code
    }
}

#[cfg(test)]
mod help_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn update_wants_apps_or_all_and_not_both() {
        assert!(Cli::try_parse_from(["restock", "update"]).is_err());
        assert!(Cli::try_parse_from(["restock", "update", "web", "--all"]).is_err());
        assert!(Cli::try_parse_from(["restock", "update", "web", "--dry-run"]).is_ok());
    }
}
