//! `/api/history`: finished jobs, newest first.

use axum::extract::State;
use axum::response::Response;

use super::params::{Name, Query};
use super::problem::{Failure, json_of};
use super::router::Http;
use crate::adapters::store::HistoryFilter;
use crate::domain::job::JobId;
use crate::error::Error;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1000;

pub async fn all(State(http): State<Http>, query: Query) -> Result<Response, Failure> {
    page(&http, None, query).await
}

/// An app that has been removed keeps its history.
pub async fn of_app(State(http): State<Http>, name: Name, query: Query) -> Result<Response, Failure> {
    let found = http.restock.apps.find(&name.0);
    if let Err(error) = found {
        let past = HistoryFilter { app: Some(name.0.clone()), limit: 1, before: None };
        if http.restock.store.history(&past).await.map_err(Error::from)?.is_empty() {
            return Err(Error::from(error).into());
        }
    }
    page(&http, Some(name.0), query).await
}

async fn page(http: &Http, app: Option<String>, query: Query) -> Result<Response, Failure> {
    let query = query.only(&["limit", "before"])?;
    let limit = query.value("limit", "a number")?.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let before = query.value::<JobId>("before", "the ID of a job")?;
    let jobs = http.restock.store.history(&HistoryFilter { app, limit, before }).await.map_err(Error::from)?;
    Ok(json_of(&jobs))
}
