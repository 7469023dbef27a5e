//! How a request that starts a job is answered.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::params::Reply;
use super::problem::{Failure, json_of};
use super::stream::job_stream;
use crate::adapters::task;
use crate::domain::job::{Job, JobResult};
use crate::error::{Code, Error};
use crate::usecases::Host;
use crate::usecases::jobs::Ticket;
use crate::views::{CheckAnswer, Problem};

/// Starts or joins a job and answers as the client wishes. The job goes on when the client goes away.
pub async fn answer<S, F>(host: Arc<Host>, headers: &HeaderMap, start: S) -> Result<Response, Failure>
where
    S: Fn(Arc<Host>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Ticket, Error>> + Send + 'static,
{
    match Reply::of(headers) {
        Reply::Wait => {
            let job = detached(async move { host.service.run_to_end(|| start(host.clone())).await }).await?;
            ended(&job)
        }
        Reply::Async => {
            let ticket = detached(start(host.clone())).await?;
            let job = host.service.job(ticket.id()).await?;
            let location = format!("/api/jobs/{}", job.id);
            let headers = [
                (header::LOCATION, location.as_str()),
                (header::HeaderName::from_static("preference-applied"), "respond-async"),
            ];
            Ok((StatusCode::ACCEPTED, headers, axum::Json(&job)).into_response())
        }
        Reply::Stream => {
            let ticket = detached(start(host.clone())).await?;
            Ok(job_stream(host.service.clone(), ticket.id().clone(), None))
        }
    }
}

/// Runs work that must not end with the request's connection.
pub async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let worked = task::spawn("detached request", work).await;
    worked.unwrap_or_else(|panic| Err(Error::new(Code::Defect, format!("the work broke off: {panic}"))))
}

fn ended(job: &Job) -> Result<Response, Failure> {
    match Problem::of_job(job) {
        Some(problem) => Err(problem.into()),
        None => Ok(match &job.result {
            // A pass answers with its report, in podman's shape.
            Some(JobResult { report: Some(report), .. }) => json_of(report),
            Some(JobResult { check: Some(report), .. }) => json_of(&CheckAnswer::of(&job.id, report)),
            result => json_of(result),
        }),
    }
}
