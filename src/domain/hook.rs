//! Commands of an app's owner that run around an update.

use std::time::Duration;

use serde::Serialize;

use super::app::ServiceName;

/// How long a hook may take that says nothing about it.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The hooks of an app, in the order in which they run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hooks {
    /// Run right before the first container is touched; one that fails stops the update.
    pub before: Vec<Hook>,
    /// Run when the new containers have proved themselves; one that fails is told and takes nothing back.
    pub after: Vec<Hook>,
}

/// One command in a running container of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    pub service: ServiceName,
    /// The program in the container and its arguments.
    pub command: Vec<String>,
    pub timeout: Duration,
}
