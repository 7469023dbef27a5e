//! The command line: its commands, options and help.

use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::Timestamp;

use super::words;
use crate::config::{CommonOptions, ServeOptions};
use crate::domain::job::{Kind, Outcome};
use crate::domain::policy::Policy;

/// Updates Docker Compose apps, proves that the new containers work, and takes the update back when they do not.
#[derive(Parser)]
#[command(name = "restock", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub(super) common: CommonOptions,
    /// Print JSON, as the API answers it.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

const AFTER_HELP: &str = "Every option is also a variable (--health-timeout is RESTOCK_HEALTH_TIMEOUT) and a key of the file \
                          that --config names, else of /etc/restock/restock.yaml. Flags win over variables, variables over the file.\n\
                          Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage, 3 rolled back; 10 updates are available (`check \
                          --exit-code`).";

#[derive(Subcommand)]
pub(super) enum Command {
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
        root: PathBuf,
    },
}

/// What `restock check` takes.
#[derive(Args)]
pub(super) struct CheckArgs {
    /// The apps; all when none is named
    #[arg(value_name = "APP")]
    pub(super) names: Vec<String>,
    /// Exit with 10 when updates are available
    #[arg(long)]
    pub(super) exit_code: bool,
}

/// What `restock update` takes.
#[derive(Args)]
pub(super) struct UpdateArgs {
    /// The apps
    #[arg(value_name = "APP", required_unless_present = "all", conflicts_with = "all")]
    pub(super) names: Vec<String>,
    /// Update all apps
    #[arg(long)]
    pub(super) all: bool,
    /// Only show what would change
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Leave a failed update as it is
    #[arg(long)]
    pub(super) no_rollback: bool,
}

/// What `restock auto-update` takes.
#[derive(Args)]
pub(super) struct AutoUpdateArgs {
    /// Only show what would change
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Whether to take back what fails
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub(super) rollback: bool,
}

/// What `restock policy` takes.
#[derive(Args)]
pub(super) struct PolicyArgs {
    /// The app
    pub(super) app: String,
    /// What holds from now on, above the app's file and labels; without it the policy is only shown
    pub(super) policy: Option<Wanted>,
}

/// A policy to set.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Wanted {
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
    pub(super) fn policy(self) -> Option<Policy> {
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
pub(super) struct NotifyArgs {
    /// Send a message to each receiver
    #[arg(long)]
    pub(super) test: bool,
}

/// What `restock history` takes.
#[derive(Args)]
pub(super) struct HistoryArgs {
    /// The app; all when none is named
    pub(super) app: Option<String>,
    /// How many entries
    #[arg(long, default_value_t = 20)]
    pub(super) limit: usize,
    /// Only this kind: update, rollback, up, down, auto_update, …
    #[arg(long, value_parser = words::read::<Kind>)]
    pub(super) kind: Option<Kind>,
    /// Only what ended like this: updated, unchanged, rolled_back, failed, …
    #[arg(long, value_parser = words::read::<Outcome>)]
    pub(super) outcome: Option<Outcome>,
    /// Only what ended since then: a time, as 2026-01-31T04:30:00Z, or a while ago, as 7d
    #[arg(long, value_parser = words::since)]
    pub(super) since: Option<Timestamp>,
}

/// Below the help of each command, which has its own options only.
const GLOBAL: &str = "Options of every command: restock --help";

/// The definition of the command line, where help shows the options of every command once: with the program itself.
pub(super) fn definition() -> clap::Command {
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
}

#[cfg(test)]
#[path = "help_tests.rs"]
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
