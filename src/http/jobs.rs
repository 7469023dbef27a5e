//! `/api/jobs`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::params::{Name, Query};
use super::problem::{Failure, json_of};
use super::router::Http;
use super::stream::{job_stream, last_event_id};
use crate::adapters::store::HistoryFilter;
use crate::domain::job::Job;
use crate::error::Error;

/// How many finished jobs the list shows besides those that run.
const FINISHED: usize = 50;

/// The jobs that run, here and in other processes, and the last ones that ended; newest first.
pub async fn list(State(http): State<Http>, query: Query) -> Result<Response, Failure> {
    query.only(&[])?;
    let restock = &http.restock;
    let mut jobs = restock.jobs.running();
    let elsewhere = restock.store.running().await.map_err(Error::from)?;
    jobs.extend(elsewhere.into_iter().filter(|job| restock.jobs.find(&job.id).is_none()));
    let filter = HistoryFilter { app: None, limit: FINISHED, before: None };
    jobs.extend(restock.store.history(&filter).await.map_err(Error::from)?);
    jobs.sort_by(|a: &Job, b: &Job| b.id.cmp(&a.id));
    jobs.dedup_by(|a, b| a.id == b.id);
    Ok(json_of(&jobs))
}

pub async fn one(State(http): State<Http>, id: Name, query: Query) -> Result<Response, Failure> {
    query.only(&[])?;
    Ok(json_of(&http.restock.job(&id.job()?).await?))
}

/// Cancels a job that has not touched anything, and answers when it has ended.
pub async fn cancel(State(http): State<Http>, id: Name, query: Query) -> Result<Response, Failure> {
    query.only(&[])?;
    let id = id.job()?;
    http.restock.cancel_job(&id).await?;
    if let Some(handle) = http.restock.jobs.find(&id) {
        return Ok(json_of(&handle.finished().await));
    }
    Ok(json_of(&http.restock.job(&id).await?))
}

/// The events of one job, from its start or from where the client left; the result is the last one.
pub async fn events(State(http): State<Http>, id: Name, query: Query, headers: HeaderMap) -> Result<Response, Failure> {
    query.only(&[])?;
    let job = http.restock.job(&id.job()?).await?;
    Ok(job_stream(http.restock.clone(), job.id, last_event_id(&headers)))
}
