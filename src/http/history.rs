//! `/api/history`: finished jobs, newest first.

use axum::extract::State;
use axum::response::Response;

use super::failures::{NotFound, Unavailable};
use super::keys::HistoryKeys;
use super::params::{Named, Query};
use super::problem::{Failure, json_of};
use super::state::Http;
use crate::adapters::store::HistoryFilter;
use crate::domain::job::Job;
use crate::error::Error;

/// What was done, newest first.
#[utoipa::path(get, path = "", tag = "jobs", operation_id = "history", params(HistoryKeys),
    responses((status = 200, description = "Finished jobs", body = [Job])))]
pub async fn all(State(http): State<Http>, Query(keys): Query<HistoryKeys>) -> Result<Response, Failure> {
    page(&http, None, keys).await
}

/// What was done with an app, newest first. One that has been removed keeps its history.
#[utoipa::path(get, path = "", tag = "jobs", operation_id = "history_of_app", params(HistoryKeys),
    responses((status = 200, description = "Finished jobs", body = [Job]), NotFound, Unavailable))]
pub async fn of_app(
    State(http): State<Http>,
    Named { host, name }: Named,
    Query(keys): Query<HistoryKeys>,
) -> Result<Response, Failure> {
    let found = host.apps.find(&name).await;
    let name = host.name.qualify(&name);
    if let Err(error) = found {
        let past = HistoryFilter { app: Some(name.clone()), limit: 1, ..HistoryFilter::default() };
        if http.restock.service.store.history(&past).await.map_err(Error::from)?.is_empty() {
            return Err(Error::from(error).into());
        }
    }
    page(&http, Some(name), keys).await
}

async fn page(http: &Http, app: Option<String>, keys: HistoryKeys) -> Result<Response, Failure> {
    let HistoryKeys { limit, before, kind, outcome, since } = keys;
    let filter = HistoryFilter { app, limit, before, kind, outcome, since };
    let jobs = http.restock.service.store.history(&filter).await.map_err(Error::from)?;
    Ok(json_of(&jobs))
}
