//! `/api/jobs`.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::failures::{Conflict, NotFound};
use super::keys::NoKeys;
use super::params::{Name, NoBody, Query};
use super::problem::{Failure, json_of};
use super::state::Http;
use super::stream::{Resume, ServerEvent, job_stream, last_event_id};
use crate::adapters::store::HistoryFilter;
use crate::domain::job::Job;
use crate::error::Error;

/// How many finished jobs the list shows besides those that run.
const FINISHED: usize = 50;

/// The jobs that run, here and in other processes, and the last ones that ended; newest first.
#[utoipa::path(get, path = "", tag = "jobs", responses((status = 200, description = "The jobs", body = [Job])))]
pub async fn list(State(http): State<Http>, _: Query<NoKeys>) -> Result<Response, Failure> {
    let service = &http.restock.service;
    let mut jobs = service.jobs.running();
    let elsewhere = service.store.running().await.map_err(Error::from)?;
    // One that another task has just taken up was in neither list, were it asked for again.
    let known: BTreeSet<_> = jobs.iter().map(|job| job.id.clone()).collect();
    jobs.extend(elsewhere.into_iter().filter(|job| !known.contains(&job.id)));
    let filter = HistoryFilter { limit: FINISHED, ..HistoryFilter::default() };
    jobs.extend(service.store.history(&filter).await.map_err(Error::from)?);
    jobs.sort_by(|a: &Job, b: &Job| b.id.cmp(&a.id));
    jobs.dedup_by(|a, b| a.id == b.id);
    Ok(json_of(&jobs))
}

/// One job, whether it runs or has ended.
#[utoipa::path(get, path = "", tag = "jobs", responses((status = 200, description = "The job", body = Job), NotFound))]
pub async fn one(State(http): State<Http>, id: Name, _: Query<NoKeys>) -> Result<Response, Failure> {
    Ok(json_of(&http.restock.service.job(&id.job()?).await?))
}

/// Cancels a job that has not touched anything, and answers when it has ended.
#[utoipa::path(delete, path = "", tag = "jobs",
    responses((status = 200, description = "The job, cancelled", body = Job), NotFound, Conflict))]
pub async fn cancel(State(http): State<Http>, id: Name, _: Query<NoKeys>, _: NoBody) -> Result<Response, Failure> {
    let id = id.job()?;
    http.restock.service.cancel_job(&id).await?;
    if let Some(handle) = http.restock.service.jobs.find(&id) {
        return Ok(json_of(&handle.finished().await));
    }
    Ok(json_of(&http.restock.service.job(&id).await?))
}

/// The events of one job, from its start or from where the client left; the result is the last one.
#[utoipa::path(get, path = "", tag = "jobs", params(Resume),
    responses(
        (status = 200, description = "The events", body = ServerEvent, content_type = "text/event-stream"),
        NotFound))]
pub async fn events(
    State(http): State<Http>,
    id: Name,
    _: Query<NoKeys>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let job = http.restock.service.job(&id.job()?).await?;
    Ok(job_stream(http.restock.service.clone(), job.id, last_event_id(&headers)))
}
