//! A failure, as clients see it: a problem document (RFC 9457).

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::evidence::FailedContainer;
use crate::domain::job::{Job, Outcome, ServiceChange};
use crate::error::{Attempt, Error};

/// `application/problem+json`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// A name for the sort of problem; not an address to look up.
    #[serde(rename = "type")]
    pub type_: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[schema(schema_with = super::codes::schema)]
    pub code: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// The containers that did not work, as they were before anything was taken back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<FailedContainer>,
    /// Seconds to wait, as in the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The request that failed, as in the header `X-Request-Id`; of a job's failure the request that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// How an update that ran and did not succeed ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<bool>,
    /// What such an update tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<ServiceChange>>,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let attempt = error.attempt.as_ref();
        Self {
            type_: format!("urn:restock:problem:{}", error.code),
            title: error.kind.title().to_owned(),
            status: error.kind.status(),
            detail: error.message.clone(),
            instance: None,
            code: error.code.word().to_owned(),
            hint: error.hint.clone(),
            app: error.app.clone(),
            service: error.service.clone(),
            command: error.command.clone(),
            stderr: error.stderr.clone(),
            containers: error.containers.clone(),
            retry_after: error.retry_after,
            job: error.job.clone(),
            request_id: None,
            outcome: attempt.map(|attempt| attempt.outcome),
            updated: attempt.map(|_| false),
            services: attempt.map(|Attempt { services, .. }| services.clone()),
        }
    }
}

impl Problem {
    /// The problem as one of several results, which all have the same keys to go by.
    pub fn among_results(self) -> Self {
        Self {
            outcome: self.outcome.or(Some(Outcome::Failed)),
            updated: self.updated.or(Some(false)),
            services: self.services.or_else(|| Some(Vec::new())),
            ..self
        }
    }

    /// The failure of a job that has ended; `None` for one that succeeded.
    pub fn of_job(job: &Job) -> Option<Self> {
        let error = job.error.as_ref()?;
        let attempt = job.result.as_ref();
        Some(Self {
            type_: format!("urn:restock:problem:{}", error.code),
            title: error.kind.title().to_owned(),
            status: error.kind.status(),
            detail: error.message.clone(),
            instance: None,
            code: error.code.clone(),
            hint: error.hint.clone(),
            app: Some(job.target.name().to_owned()),
            service: error.service.clone(),
            command: error.command.clone(),
            stderr: error.stderr.clone(),
            containers: error.containers.clone(),
            retry_after: None,
            job: Some(job.id.to_string()),
            request_id: job.request_id.clone(),
            outcome: attempt.map(|attempt| attempt.outcome),
            updated: attempt.map(|attempt| attempt.updated),
            services: attempt.map(|attempt| attempt.services.clone()),
        })
    }
}
