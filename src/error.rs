//! The one error of the use cases: a request that is refused, or work that could not be done.

use std::fmt;

use crate::adapters::apps_dir::AppDirError;
use crate::adapters::command::CommandError;
use crate::adapters::compose::{ConfigError, LocateError, Redactor, readable};
use crate::adapters::engine::EngineError;
use crate::adapters::lock::LockError;
use crate::adapters::store::StoreError;
use crate::domain::evidence::FailedContainer;
use crate::domain::job::{JobError, Outcome, ServiceChange};

/// What sort of failure it is. Mapped to an HTTP status here and to an exit code by the command line, nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    BrokenApp,
    TooMany,
    Upstream,
    Unavailable,
    TimedOut,
    Internal,
}

impl Kind {
    /// The HTTP status a client gets.
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::BrokenApp => 422,
            Self::TooMany => 429,
            Self::Upstream => 502,
            Self::Unavailable => 503,
            Self::TimedOut => 504,
            Self::Internal => 500,
        }
    }

    /// A few words for the problem document's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid request",
            Self::Unauthenticated => "Authentication required",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::Conflict => "Conflict",
            Self::BrokenApp => "The app's files are invalid",
            Self::TooMany => "Too many attempts",
            Self::Upstream => "A registry refused or failed",
            Self::Unavailable => "Not available",
            Self::TimedOut => "Timed out",
            Self::Internal => "The action failed",
        }
    }
}

/// The title for a status that was kept with a job.
pub fn title_of(status: u16) -> &'static str {
    let kinds = [
        Kind::Invalid,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::Conflict,
        Kind::BrokenApp,
        Kind::TooMany,
        Kind::Upstream,
        Kind::Unavailable,
        Kind::TimedOut,
    ];
    kinds.into_iter().find(|kind| kind.status() == status).unwrap_or(Kind::Internal).title()
}

/// A failure, with what a client, a person and a log need to know about it. Nothing in it is secret.
#[derive(Debug, Clone)]
pub struct Error {
    pub kind: Kind,
    /// Stable, for programs.
    pub code: &'static str,
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
    /// A failure of `kind` with its stable `code`.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
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
        }
    }

    /// Whether the same may succeed later without anybody changing what was asked for.
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
            code: self.code.to_owned(),
            message: self.message.clone(),
            hint: self.hint.clone(),
            service: self.service.clone(),
            command: self.command.clone(),
            stderr: self.stderr.clone(),
            containers: self.containers.clone(),
            status: self.kind.status(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<AppDirError> for Error {
    fn from(error: AppDirError) -> Self {
        match &error {
            AppDirError::NoSuchApp(name) => Self::new(Kind::NotFound, "no_such_app", error.to_string())
                .hint("an app is a directory with a Compose file in the apps directory")
                .app(name),
            AppDirError::Directory { .. } => {
                Self::new(Kind::Unavailable, "apps_directory_unreadable", error.to_string())
                    .hint("mount or create the directory, let this user read it, or pass another one with --apps")
            }
            AppDirError::Hangs(_) => Self::new(Kind::Unavailable, "directory_hangs", error.to_string())
                .hint("look at the disk or the network mount behind it; as soon as it answers, so does Restock"),
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::Unreachable { .. } => Self::new(Kind::Unavailable, "engine_unreachable", message)
                .hint("start the Docker engine, or pass its address with --docker-host"),
            EngineError::Forbidden { .. } => Self::new(Kind::Unavailable, "engine_unreachable", message)
                .hint("run Restock as root or as a user of the group that owns the socket, most often `docker`"),
            EngineError::Timeout { .. } => Self::new(Kind::Unavailable, "engine_timeout", message),
            EngineError::Status { status, .. } => {
                Self::new(Kind::Internal, "engine_refused", format!("the Docker engine refused ({status}): {message}"))
            }
            EngineError::Protocol { .. } => Self::new(Kind::Internal, "engine_protocol", message),
        }
    }
}

impl From<LocateError> for Error {
    fn from(error: LocateError) -> Self {
        Self::new(Kind::Unavailable, "compose_unavailable", error.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::new(Kind::Internal, "database", error.to_string())
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        let (kind, code) = match error {
            LockError::Busy { .. } => (Kind::Conflict, "busy"),
            LockError::File { .. } => (Kind::Internal, "lock"),
            LockError::Hangs(_) => (Kind::Unavailable, "directory_hangs"),
        };
        Self::new(kind, code, error.to_string())
    }
}

/// Why `docker compose config` gave no project, for the app's owner.
pub fn config_error(error: &ConfigError, redactor: &Redactor) -> Error {
    match error {
        ConfigError::Command(command @ CommandError::Exit { stderr, .. }) => {
            let said = redactor.clean(&readable(stderr));
            let reason = said.lines().last().unwrap_or("it is invalid").to_owned();
            Error::new(Kind::BrokenApp, "invalid_compose_file", format!("the Compose file is invalid: {reason}"))
                .hint("correct the Compose file; `docker compose config` shows the same message")
                .said(command, redactor)
        }
        ConfigError::Command(command) => command_error(command, redactor),
        ConfigError::Model(error) => Error::new(Kind::Internal, "compose_protocol", error.to_string()),
    }
}

/// Why a command did not run or did not end, apart from what its exit code says.
pub fn command_error(error: &CommandError, redactor: &Redactor) -> Error {
    let (kind, code) = match error {
        CommandError::NotFound { .. } => (Kind::Unavailable, "compose_unavailable"),
        CommandError::Timeout { .. } => (Kind::TimedOut, "timed_out"),
        CommandError::Cancelled { .. } => (Kind::Conflict, "cancelled"),
        CommandError::Exit { stderr, .. } if engine_gone(stderr) => (Kind::Unavailable, "engine_unreachable"),
        _ => (Kind::Internal, "command_failed"),
    };
    Error::new(kind, code, error.to_string()).said(error, redactor)
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
}
