//! The one error of the use cases: a request that is refused, or work that could not be done.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::adapters::apps_dir::AppDirError;
use crate::adapters::command::CommandError;
use crate::adapters::compose::{ConfigError, LocateError, Redactor, readable};
use crate::adapters::engine::EngineError;
use crate::adapters::lock::LockError;
use crate::adapters::store::StoreError;
use crate::domain::evidence::FailedContainer;
pub use crate::domain::failure::{Code, Kind};
use crate::domain::job::{JobError, Outcome, ServiceChange};

/// A failure, with what a client, a person and a log need to know about it. Nothing in it is secret.
#[derive(Debug, Clone)]
pub struct Error {
    /// Most often that of the code.
    pub kind: Kind,
    /// Stable, for programs.
    pub code: Code,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    pub app: Option<String>,
    pub service: Option<String>,
    pub command: Option<String>,
    pub stderr: Option<String>,
    /// The containers that did not work.
    pub containers: Vec<FailedContainer>,
    /// Seconds to wait before another try.
    pub retry_after: Option<u64>,
    /// The job that stands in the way, or that failed.
    pub job: Option<String>,
    /// How work that ran and did not succeed ended, and what it tried.
    pub attempt: Option<Attempt>,
    /// The error of the part that failed; its text is in `message`.
    pub source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The end of an update that was applied and did not succeed.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub outcome: Outcome,
    pub services: Vec<ServiceChange>,
    /// What the owner should see to all the same.
    pub warnings: Vec<String>,
}

impl Error {
    /// A failure with its stable `code`, and of that code's kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            kind: code.kind(),
            code,
            message: message.into(),
            hint: None,
            app: None,
            service: None,
            command: None,
            stderr: None,
            containers: Vec::new(),
            retry_after: None,
            job: None,
            attempt: None,
            source: None,
        }
    }

    /// A failure that another error explains.
    pub fn of(code: Code, source: impl StdError + Send + Sync + 'static) -> Self {
        let message = source.to_string();
        Self { source: Some(Arc::new(source)), ..Self::new(code, message) }
    }

    /// Returns whether the same may succeed later without anybody changing what was asked for.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::TimedOut | Kind::BrokenApp)
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds how many seconds to wait before another try.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds the app it is about.
    pub fn app(mut self, app: impl fmt::Display) -> Self {
        self.app = Some(app.to_string());
        self
    }

    /// Adds the service it is about.
    pub fn service(mut self, service: impl fmt::Display) -> Self {
        self.service = Some(service.to_string());
        self
    }

    /// Adds the job it is about.
    pub fn job(mut self, job: impl fmt::Display) -> Self {
        self.job = Some(job.to_string());
        self
    }

    /// Adds what a command said, cleaned of secrets.
    pub fn said(mut self, error: &CommandError, redactor: &Redactor) -> Self {
        let (command, stderr) = match error {
            CommandError::Exit { command, stderr, .. }
            | CommandError::Signal { command, stderr, .. }
            | CommandError::Timeout { command, stderr, .. } => (command, Some(redactor.clean(&readable(stderr)))),
            CommandError::Cancelled { command } | CommandError::Output { command, .. } => (command, None),
            CommandError::NotFound { program } | CommandError::Spawn { program, .. } => (program, None),
        };
        self.command = Some(command.clone());
        self.stderr = stderr.filter(|said| !said.is_empty());
        self
    }

    /// Adds what is known of the containers that did not work.
    pub fn containers(mut self, containers: Vec<FailedContainer>) -> Self {
        self.containers = containers;
        self
    }

    /// The shape that is kept with a job.
    pub fn to_job_error(&self) -> JobError {
        JobError {
            code: self.code.word().to_owned(),
            message: self.message.clone(),
            hint: self.hint.clone(),
            service: self.service.clone(),
            command: self.command.clone(),
            stderr: self.stderr.clone(),
            containers: self.containers.clone(),
            kind: self.kind,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<AppDirError> for Error {
    fn from(error: AppDirError) -> Self {
        match &error {
            AppDirError::NoSuchApp(name) => {
                let app = name.clone();
                Self::of(Code::NoSuchApp, error)
                    .hint("an app is a directory with a Compose file in the apps directory")
                    .app(app)
            }
            AppDirError::Directory { .. } => Self::of(Code::AppsDirectoryUnreadable, error)
                .hint("mount or create the directory, let this user read it, or pass another one with --apps"),
            AppDirError::Hangs(_) => Self::of(Code::DirectoryHangs, error)
                .hint("look at the disk or the network mount behind it; as soon as it answers, so does Restock"),
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match &error {
            EngineError::Unreachable { .. } => Self::of(Code::EngineUnreachable, error)
                .hint("start the Docker engine, or pass its address with --docker-host"),
            EngineError::Forbidden { .. } => Self::of(Code::EngineUnreachable, error)
                .hint("run Restock as root or as a user of the group that owns the socket, most often `docker`"),
            EngineError::Timeout { .. } => Self::of(Code::EngineTimeout, error),
            EngineError::Status { status, .. } => {
                let message = format!("the Docker engine refused ({status}): {error}");
                Self { message, ..Self::of(Code::EngineRefused, error) }
            }
            EngineError::Protocol { .. } => Self::of(Code::EngineProtocol, error),
        }
    }
}

impl From<LocateError> for Error {
    fn from(error: LocateError) -> Self {
        Self::of(Code::ComposeUnavailable, error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::of(Code::Database, error)
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        let code = match error {
            LockError::Busy { .. } => Code::Busy,
            LockError::File { .. } => Code::Lock,
            LockError::Hangs(_) => Code::DirectoryHangs,
        };
        Self::of(code, error)
    }
}

/// Why `docker compose config` gave no project, for the app's owner.
pub fn config_error(error: &ConfigError, redactor: &Redactor) -> Error {
    match error {
        ConfigError::Command(command @ CommandError::Exit { stderr, .. }) => {
            let said = redactor.clean(&readable(stderr));
            let reason = said.lines().last().unwrap_or("it is invalid").to_owned();
            Error::new(Code::InvalidComposeFile, format!("the Compose file is invalid: {reason}"))
                .hint("correct the Compose file; `docker compose config` shows the same message")
                .said(command, redactor)
        }
        ConfigError::Command(command) => command_error(command, redactor),
        ConfigError::Model(error) => Error::new(Code::ComposeProtocol, error.to_string()),
    }
}

/// Why a command did not run or did not end, apart from what its exit code says.
pub fn command_error(error: &CommandError, redactor: &Redactor) -> Error {
    let code = match error {
        CommandError::NotFound { .. } => Code::ComposeUnavailable,
        CommandError::Timeout { .. } => Code::TimedOut,
        CommandError::Cancelled { .. } => Code::Cancelled,
        CommandError::Exit { stderr, .. } if engine_gone(stderr) => Code::EngineUnreachable,
        _ => Code::CommandFailed,
    };
    Error::new(code, error.to_string()).said(error, redactor)
}

fn engine_gone(stderr: &str) -> bool {
    crate::adapters::compose::pull_problem(stderr) == crate::adapters::compose::PullProblem::EngineGone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_open_the_engines_socket_is_not_told_to_start_it() {
        let error = Error::from(EngineError::Forbidden { host: "unix:///run/docker.sock".into() });
        let hint = error.hint.unwrap();
        assert!(hint.contains("group") && !hint.contains("start"), "{hint}");
    }

    #[test]
    fn the_error_of_the_part_that_failed_is_its_source() {
        let error = Error::from(EngineError::Forbidden { host: "unix:///x".into() }).app("web");
        let source = StdError::source(&error).and_then(|source| source.downcast_ref::<EngineError>());
        assert!(matches!(source, Some(EngineError::Forbidden { .. })));
        assert_eq!((error.code, error.kind), (Code::EngineUnreachable, Kind::Unavailable));
        assert!(StdError::source(&Error::new(Code::Busy, "x")).is_none());
    }
}
