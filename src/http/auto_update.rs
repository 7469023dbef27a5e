//! What happens by itself: a pass, its schedule, and the images it is to leave out.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::params::{Body, Name, Query};
use super::problem::{Failure, json_of};
use super::reply::{answer, detached};
use super::router::Http;
use crate::usecases::auto_update::{PassOptions, Scope};

/// One pass over everything that a policy marks.
pub async fn pass(State(http): State<Http>, query: Query, headers: HeaderMap) -> Result<Response, Failure> {
    let query = query.only(&["dry_run", "rollback"])?;
    let rollback = query.flag("rollback", true)?;
    if query.flag("dry_run", false)? {
        let restock = http.restock.clone();
        let report = detached(async move { restock.dry_pass(&Scope::Everything).await }).await?;
        return Ok(json_of(&report));
    }
    answer(&http, &headers, move |restock| async move {
        restock.start_pass(PassOptions { rollback, scope: Scope::Everything }).await
    })
    .await
}

/// What runs by itself, and when next.
pub async fn schedule(State(http): State<Http>, query: Query) -> Result<Response, Failure> {
    query.only(&[])?;
    Ok(json_of(&http.restock.schedule().await?))
}

/// The body of `POST /api/apps/{name}/skip`; without one, all services that have something newer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    service: Option<String>,
}

/// The images of an app that passes leave out.
pub async fn skipping(State(http): State<Http>, name: Name, query: Query) -> Result<Response, Failure> {
    query.only(&[])?;
    Ok(json_of(&http.restock.skipping(&name.0).await?))
}

/// Leaves out what the registry has now, until it has another.
pub async fn skip(
    State(http): State<Http>,
    name: Name,
    query: Query,
    Body(which): Body<Which>,
) -> Result<Response, Failure> {
    query.only(&[])?;
    let service = which.and_then(|which| which.service);
    Ok(json_of(&http.restock.skip(&name.0, service.as_deref()).await?))
}

/// Leaves nothing out any more: of one service, or of all.
pub async fn end_skip(State(http): State<Http>, name: Name, query: Query) -> Result<Response, Failure> {
    let query = query.only(&["service"])?;
    let service: Option<String> = query.value("service", "a service")?;
    Ok(json_of(&http.restock.end_skip(&name.0, service.as_deref()).await?))
}
