//! What happens by itself: a pass, its schedule, and the images it is to leave out.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::failures::{BrokenApp, Conflict, NotFound, Unavailable, Upstream};
use super::keys::{NoKeys, ServiceKey, UpdateAllKeys};
use super::params::{Body, Named, NoBody, Query, Wishes};
use super::problem::{Failure, json_of};
use super::reply::{answer, detached};
use super::state::Http;
use super::stream::ServerEvent;
use crate::domain::job::Job;
use crate::domain::report::PassReport;
use crate::usecases::auto_update::{PassOptions, ScheduleView, Scope, Skipping};

/// One pass over everything that a policy marks. Errors are in the report and stop nobody else.
#[utoipa::path(post, path = "", tag = "auto-update", params(Wishes, UpdateAllKeys),
    responses(
        (status = 200, description = "The report; or the job's events, where the client accepts them",
            content((PassReport = "application/json"), (ServerEvent = "text/event-stream"))),
        (status = 202, description = "The job, where the client would not wait", body = Job,
            headers(("Location" = String, description = "Where the job is"))),
        Conflict, Upstream, Unavailable))]
pub async fn pass(
    State(http): State<Http>,
    Query(keys): Query<UpdateAllKeys>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Failure> {
    let rollback = keys.rollback;
    let host = http.local()?.clone();
    if keys.dry_run {
        let report = detached(async move { host.dry_pass(&Scope::Everything).await }).await?;
        return Ok(json_of(&report));
    }
    answer(host, &headers, move |host| async move {
        host.start_pass(PassOptions { rollback, scope: Scope::Everything }).await
    })
    .await
}

/// What runs by itself, and when next.
#[utoipa::path(get, path = "", tag = "auto-update",
    responses((status = 200, description = "The schedules", body = ScheduleView)))]
pub async fn schedule(State(http): State<Http>, _: Query<NoKeys>) -> Result<Response, Failure> {
    Ok(json_of(&http.restock.service.schedule().await?))
}

/// The body of `POST /api/apps/{name}/skip`; without one, all services that have something newer.
#[derive(Deserialize, ToSchema)]
#[schema(as = WhichService)]
#[serde(deny_unknown_fields)]
pub struct Which {
    service: Option<String>,
}

/// The images of an app that passes leave out.
#[utoipa::path(get, path = "", tag = "auto-update",
    responses((status = 200, description = "The images", body = Skipping), NotFound, Unavailable))]
pub async fn skipping(Named { host, name }: Named, _: Query<NoKeys>) -> Result<Response, Failure> {
    Ok(json_of(&host.skipping(&name).await?))
}

/// Leaves out what the registry has now, until it has another. Without a body: of all services with something newer.
#[utoipa::path(post, path = "", tag = "auto-update", request_body = Option<Which>,
    responses((status = 200, description = "The images", body = Skipping), NotFound, Conflict, BrokenApp, Unavailable))]
pub async fn skip(
    Named { host, name }: Named,
    _: Query<NoKeys>,
    Body(which): Body<Which>,
) -> Result<Response, Failure> {
    let service = which.and_then(|which| which.service);
    Ok(json_of(&host.skip(&name, service.as_deref()).await?))
}

/// Leaves nothing out any more: of one service, or of all.
#[utoipa::path(delete, path = "", tag = "auto-update", params(ServiceKey),
    responses((status = 200, description = "What is left", body = Skipping), NotFound, Unavailable))]
pub async fn end_skip(
    Named { host, name }: Named,
    Query(key): Query<ServiceKey>,
    _: NoBody,
) -> Result<Response, Failure> {
    Ok(json_of(&host.end_skip(&name, key.service.as_deref()).await?))
}
