//! The small answers of the API.

use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;
use crate::domain::check::{AppStatus, CheckReport};
use crate::domain::freshness::Status;
use crate::domain::job::{JobId, JobResult};

/// What a route says that has only begun or ended something.
#[derive(Debug, Serialize, ToSchema)]
pub struct Word {
    /// `ok` for what is done, `updating` for what has begun.
    pub status: &'static str,
}

/// Whether automatic updates are on now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Toggled {
    pub auto_update: bool,
}

/// Who may ask.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuthStatus {
    /// Whether a session or a key is needed.
    pub enabled: bool,
}

/// A container's freshness in Portainer's shape.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContainerFreshness {
    #[serde(rename = "Status")]
    pub status: Status,
    #[serde(rename = "Message")]
    pub message: String,
}

/// Whether everything is there that an update needs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    pub ready: bool,
    pub checks: Checks,
}

/// What an update needs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Checks {
    pub engine: Check,
    pub compose: Check,
    pub database: Check,
    /// The apps directory can be read.
    pub apps: Check,
}

/// One thing that an update needs: there, or why not.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Check {
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a check of several apps found.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckAnswer {
    pub job: JobId,
    /// How many apps were asked about.
    pub asked: usize,
    /// How many of them have something newer.
    pub outdated: usize,
    /// Of how many it could not be found out.
    pub failed: usize,
    /// One answer for each, by name.
    pub apps: Vec<AppStatus>,
}

impl CheckAnswer {
    /// The answer to who waited for a check.
    pub fn of(job: &JobId, report: &CheckReport) -> Self {
        let CheckReport { asked, outdated, failed, apps } = report.clone();
        Self { job: job.clone(), asked, outdated, failed, apps }
    }
}

/// One app's part of an update of several.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppOutcome {
    pub app: String,
    #[serde(flatten)]
    pub outcome: OneOutcome,
}

/// What became of one app.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OneOutcome {
    Ended(JobResult),
    /// Where the client would not wait.
    Started {
        job: JobId,
        /// Where the job is.
        location: String,
    },
    Failed(Box<Problem>),
}
