//! Every way in which the engine can fail to answer.

use std::io;
use std::time::Duration;

use super::host::DockerHost;

/// Why the engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the Docker engine at {host} cannot be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("the Docker engine at {host} cannot be reached: this user may not use its socket")]
    Forbidden { host: String },
    #[error("the Docker engine did not answer within {} s", after.as_secs())]
    Timeout { after: Duration },
    #[error("{message}")]
    Status { status: u16, message: String },
    #[error("the Docker engine's answer to {what} could not be understood: {reason}")]
    Protocol { what: String, reason: String },
}

impl EngineError {
    /// Returns whether the engine said that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }

    /// Goes through bollard, from the wire to whoever asked; [`EngineError::of_bollard`] gives it back.
    pub(super) fn into_bollard(self) -> bollard::errors::Error {
        io::Error::other(self).into()
    }

    /// Reads an error of bollard about the engine at `host`.
    pub(super) fn of_bollard(error: bollard::errors::Error, host: &DockerHost) -> Self {
        use bollard::errors::Error;
        let unreachable =
            |error: &dyn std::error::Error| Self::Unreachable { host: host.to_string(), reason: with_causes(error) };
        match error {
            Error::DockerResponseServerError { status_code, message } => Self::Status { status: status_code, message },
            Error::JsonDataError { message, .. } => Self::Protocol { what: "a request".into(), reason: message },
            Error::JsonSerdeError { err } => Self::Protocol { what: "a request".into(), reason: err.to_string() },
            Error::IOError { err } => err.downcast::<Self>().unwrap_or_else(|other| unreachable(&other)),
            other => unreachable(&other),
        }
    }
}

/// An error's text with those of its causes, without repetitions.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
