//! Compose's verbs: one method, one command; beside every option the reason for it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::locate::{LocateError, Locator, Program};
use super::model::{Model, ModelError};
use crate::adapters::command::{Command, CommandError};
use crate::domain::app::ServiceName;
use crate::domain::plan::Selection;

/// Reading files takes milliseconds; a project that `include`s from a git repository takes longer.
const CONFIG_DEADLINE: Duration = Duration::from_secs(60);
/// How long containers may take to be created, stopped by their grace periods, and started after what they depend on.
const UP_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// Compose, ready to be run.
#[derive(Debug, Clone)]
pub struct Compose {
    program: Arc<Program>,
    locator: Locator,
}

/// Which app, with which profiles.
#[derive(Debug, Clone)]
pub struct ProjectCall {
    pub dir: PathBuf,
    /// Profiles to switch on besides those the project itself switches on.
    pub profiles: Vec<String>,
}

/// Why `config` gave no project.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl Compose {
    /// Finds Compose, or says what is missing.
    pub async fn find(locator: &Locator) -> Result<Self, LocateError> {
        Ok(Self { program: locator.program().await?, locator: locator.clone() })
    }

    /// The version that was found.
    pub fn version(&self) -> super::locate::Version {
        self.program.version
    }

    /// `config --format json`: what the project contains. Does not contact the engine.
    pub async fn config(&self, call: &ProjectCall) -> Result<Model, ConfigError> {
        let command = self.command(call, &["config", "--format", "json"]);
        let output = command.run(CONFIG_DEADLINE, &CancellationToken::new(), |_| {}).await?;
        Ok(Model::parse(&output.stdout)?)
    }

    /// `pull`: fetches what the references mean now. Safe to end at any time.
    pub async fn pull(
        &self,
        call: &ProjectCall,
        services: &[ServiceName],
        deadline: Duration,
        cancel: &CancellationToken,
        on_line: impl FnMut(&str),
    ) -> Result<(), CommandError> {
        // A service that is built here has nothing to pull; without this its failure would fail the command.
        let command =
            self.with_progress(call, &["pull", "--ignore-buildable"]).args(services.iter().map(ServiceName::as_str));
        command.run(deadline, cancel, on_line).await.map(drop)
    }

    /// `up -d`: makes what runs follow the file. `lock` stays held for as long as the child lives.
    ///
    /// `--yes` and `--renew-anon-volumes` are never given: both lose data. Neither is `--remove-orphans`.
    pub async fn up(
        &self,
        call: &ProjectCall,
        selection: &Selection,
        lock: Stdio,
        on_line: impl FnMut(&str),
    ) -> Result<(), CommandError> {
        // The comparison was made with what is here: nothing may be pulled or built after it.
        self.change(call, &["up", "-d", "--no-build", "--pull", "never"], selection, lock, on_line).await
    }

    /// `up -d` as a person types it: what is missing is pulled or built.
    pub async fn start(&self, call: &ProjectCall, lock: Stdio, on_line: impl FnMut(&str)) -> Result<(), CommandError> {
        self.change(call, &["up", "-d"], &Selection::Project, lock, on_line).await
    }

    /// Makes containers follow the file without starting any.
    pub async fn create(
        &self,
        call: &ProjectCall,
        selection: &Selection,
        lock: Stdio,
        on_line: impl FnMut(&str),
    ) -> Result<(), CommandError> {
        let verb: &[&str] = match selection {
            Selection::Project => &["create", "--no-build", "--pull", "never"],
            // `create` has no `--no-deps`; `up --no-start` does the same and has it.
            Selection::Only(_) => &["up", "--no-start", "--no-build", "--pull", "never"],
        };
        self.change(call, verb, selection, lock, on_line).await
    }

    /// `down`: removes the project's containers and networks; volumes stay.
    pub async fn down(&self, call: &ProjectCall, lock: Stdio, on_line: impl FnMut(&str)) -> Result<(), CommandError> {
        self.change(call, &["down"], &Selection::Project, lock, on_line).await
    }

    /// `exec`: runs a command of the app's owner in a running container of `service`. What it prints on standard output
    /// is dropped, but for the last line where that has to explain why the command could not be run.
    ///
    /// Ended at `deadline`, it may go on inside the container: the engine offers no way to end it there.
    pub async fn exec(
        &self,
        call: &ProjectCall,
        service: &ServiceName,
        command: &[String],
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<(), CommandError> {
        // There is no terminal to hand on.
        let command = self.command(call, &["exec", "-T", service.as_str()]).args(command);
        let mut last = String::new();
        let ran = command.run_lines(deadline, cancel, |line| line.clone_into(&mut last)).await;
        ran.map_err(|error| with_words(error, last))
    }

    /// Fetches one image by name or digest, with the credentials of the Docker CLI.
    pub async fn pull_image(&self, reference: &str, deadline: Duration) -> Result<(), CommandError> {
        let command = Command::new(&self.program.docker, self.locator.env()).args(["pull", "--quiet", "--", reference]);
        command.run(deadline, &CancellationToken::new(), |_| {}).await.map(drop)
    }

    /// The logs of a project's containers, a line at a time, until they end or `cancel` fires.
    pub async fn logs(
        &self,
        call: &ProjectCall,
        tail: u32,
        follow: bool,
        cancel: &CancellationToken,
        mut on_line: impl FnMut(&str),
    ) -> Result<(), CommandError> {
        let tail = tail.to_string();
        let mut args = vec!["logs", "--no-color", "--timestamps", "--tail", &tail];
        if follow {
            args.push("--follow");
        }
        let deadline = if follow { Duration::from_secs(24 * 3600) } else { CONFIG_DEADLINE };
        self.command(call, &args).run_lines(deadline, cancel, &mut on_line).await
    }

    async fn change(
        &self,
        call: &ProjectCall,
        verb: &[&str],
        selection: &Selection,
        lock: Stdio,
        on_line: impl FnMut(&str),
    ) -> Result<(), CommandError> {
        let mut command = self.with_progress(call, verb).stdin(lock).outlives_its_caller();
        if let Selection::Only(services) = selection {
            command = command.args(["--no-deps"]).args(services.iter().map(ServiceName::as_str));
        }
        // No cancelling: a Compose that is ended in the middle of `up` leaves half a project.
        command.run(UP_DEADLINE, &CancellationToken::new(), on_line).await.map(drop)
    }

    fn with_progress(&self, call: &ProjectCall, verb: &[&str]) -> Command {
        let style = if self.program.version.has_json_progress() { "json" } else { "plain" };
        self.command(call, &[&["--progress", style], verb].concat())
    }

    fn command(&self, call: &ProjectCall, args: &[&str]) -> Command {
        let env = self.locator.env();
        let command = match &self.program.plugin {
            Some(plugin) => Command::new(plugin, env),
            None => Command::new(&self.program.docker, env).args(["compose"]),
        };
        let profiles = call.profiles.iter().flat_map(|profile| ["--profile", profile]);
        // No `-f`: with it Compose would not add override files by itself.
        command.args(profiles).args(args).dir(&call.dir)
    }
}

/// A program that is missing in the container, or is none, the engine tells of on standard output.
fn with_words(error: CommandError, last: String) -> CommandError {
    match error {
        CommandError::Exit { command, code: code @ (126 | 127), stderr } if stderr.is_empty() => {
            CommandError::Exit { command, code, stderr: last }
        }
        other => other,
    }
}

impl ProjectCall {
    /// The app in `dir`, with the profiles it switches on itself.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), profiles: Vec::new() }
    }

    /// The same app with more profiles.
    pub fn with_profiles(&self, profiles: impl IntoIterator<Item = String>) -> Self {
        let mut call = self.clone();
        call.profiles.extend(profiles);
        call
    }
}
