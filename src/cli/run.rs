//! From a parsed command line to an exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;

use super::args::{Cli, Command};
use super::{apps, auto_update, check, history, notify, output, package_files, serve, start, table, update};
use crate::config::Settings;

/// How long a command waits at its end for people to be told.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Cli {
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
