//! `/api/apps`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as ResponseBody;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio_stream::wrappers::UnboundedReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::failures::{BrokenApp, Conflict, NotFound, TimedOut, TooMany, Unavailable, Upstream};
use super::keys::{Force, LogKeys, NoKeys, UpdateAllKeys, UpdateKeys};
use super::params::{Body, Named, NoBody, Query, Reply, Wishes};
use super::problem::{Failure, json_of};
use super::reply::{answer, detached};
use super::state::Http;
use super::stream::ServerEvent;
use crate::domain::check::AppStatus;
use crate::domain::job::{Job, JobResult};
use crate::domain::policy::Policy;
use crate::error::{Code, Error};
use crate::usecases::freshness::Ask;
use crate::usecases::jobs::Ticket;
use crate::usecases::known_projects::Trust;
use crate::usecases::policies::AppPolicy;
use crate::usecases::update_options::UpdateOptions;
use crate::usecases::{Host, Restock};
use crate::views::{AppOutcome, AppView, OneOutcome, Problem};

/// All apps, by name. One that is broken stays among them with its error. Answered from memory.
#[utoipa::path(get, path = "", tag = "apps", params(IfNoneMatch), responses(
    (status = 200, description = "The apps", body = [AppView], headers(("ETag" = String, description = "Changes with the list"))),
    (status = 304, description = "The list is the one that the client has"),
    Unavailable))]
pub async fn list(State(http): State<Http>, _: Query<NoKeys>, headers: HeaderMap) -> Result<Response, Failure> {
    let look = http.local()?.seen_apps(Trust::Known).await?;
    let from = (look.serial, reached(&headers));
    let written = match http.apps.current(&from, Duration::MAX) {
        Some(written) => written,
        None => {
            let apps = AppView::all(&look, from.1.as_deref());
            http.apps.write(from, &apps)?
        }
    };
    Ok(written.answer(&headers))
}

/// The header with what the client has.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "tells the document what `Kept` reads")]
pub struct IfNoneMatch {
    /// The `ETag` of the list that the client has.
    #[param(rename = "If-None-Match", required = false)]
    if_none_match: String,
}

/// One app.
#[utoipa::path(get, path = "", tag = "apps",
    responses((status = 200, description = "The app", body = AppView), NotFound, Unavailable))]
pub async fn one(Named { host, name }: Named, _: Query<NoKeys>, headers: HeaderMap) -> Result<Response, Failure> {
    let look = host.seen_app(&name).await?;
    let reached = reached(&headers);
    Ok(json_of(&look.app(&name).map(|seen| AppView::of(seen, &look, reached.as_deref()))))
}

/// The host that a request was for, which has been judged before.
fn reached(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(header::HOST)?.to_str().ok()?.to_owned())
}

/// The app called `update`, which the route that updates all must not hide.
#[utoipa::path(get, path = "", tag = "apps",
    responses((status = 200, description = "The app", body = AppView), NotFound, Unavailable))]
pub async fn one_called_update(
    State(http): State<Http>,
    query: Query<NoKeys>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    one(Named::new(&http, "update")?, query, headers).await
}

/// Updates an app: pulls, recreates what has a new image, proves it, and takes it back when it does not work. Joins an
/// update of the app that runs already. The update goes on when the client goes away.
#[utoipa::path(post, path = "", tag = "apps",
    params(Wishes, UpdateKeys),
    responses(
        (status = 200, description = "What was updated; or the job's events, the result last, where the client accepts them",
            content((JobResult = "application/json"), (ServerEvent = "text/event-stream"))),
        (status = 202, description = "The job, where the client would not wait", body = Job,
            headers(("Location" = String, description = "Where the job is"))),
        NotFound, Conflict, BrokenApp, Upstream, Unavailable, TimedOut))]
pub async fn update(
    Named { host, name }: Named,
    Query(keys): Query<UpdateKeys>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Failure> {
    let options = UpdateOptions { no_rollback: !keys.rollback, services: keys.service, prepared: None };
    let dry_run = keys.dry_run;
    answer(host, &headers, move |host| {
        let (name, options) = (name.clone(), options.clone());
        async move { start(&host, &name, options, dry_run).await }
    })
    .await
}

/// Brings back the images that ran before the last update. Data is not rolled back.
#[utoipa::path(post, path = "", tag = "apps",
    params(Wishes),
    responses(
        (status = 200, description = "What runs again; or the job's events, the result last, where the client accepts them",
            content((JobResult = "application/json"), (ServerEvent = "text/event-stream"))),
        (status = 202, description = "The job, where the client would not wait", body = Job,
            headers(("Location" = String, description = "Where the job is"))),
        NotFound, Conflict, BrokenApp, Upstream, Unavailable, TimedOut))]
pub async fn roll_back(
    Named { host, name }: Named,
    _: Query<NoKeys>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Failure> {
    answer(host, &headers, move |host| {
        let name = name.clone();
        async move { host.start_rollback(&name).await }
    })
    .await
}

/// Starts the app's containers.
#[utoipa::path(post, path = "", tag = "apps",
    params(Wishes),
    responses(
        (status = 200, description = "Done; or the job's events, the result last, where the client accepts them",
            content((JobResult = "application/json"), (ServerEvent = "text/event-stream"))),
        (status = 202, description = "The job, where the client would not wait", body = Job,
            headers(("Location" = String, description = "Where the job is"))),
        NotFound, Conflict, BrokenApp, Upstream, Unavailable, TimedOut))]
pub async fn up(
    Named { host, name }: Named,
    _: Query<NoKeys>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Failure> {
    answer(host, &headers, move |host| {
        let name = name.clone();
        async move { host.start_up(&name).await }
    })
    .await
}

/// Stops and removes the app's containers.
#[utoipa::path(post, path = "", tag = "apps",
    params(Wishes),
    responses(
        (status = 200, description = "Done; or the job's events, the result last, where the client accepts them",
            content((JobResult = "application/json"), (ServerEvent = "text/event-stream"))),
        (status = 202, description = "The job, where the client would not wait", body = Job,
            headers(("Location" = String, description = "Where the job is"))),
        NotFound, Conflict, BrokenApp, Upstream, Unavailable, TimedOut))]
pub async fn down(
    Named { host, name }: Named,
    _: Query<NoKeys>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Failure> {
    answer(host, &headers, move |host| {
        let name = name.clone();
        async move { host.start_down(&name).await }
    })
    .await
}

/// The body of what is done to several apps.
#[derive(Deserialize, ToSchema)]
#[schema(as = WhichApps)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Their names.
    pub(super) apps: Vec<String>,
}

/// Updates all apps, or those that the body names: one result for each, in the order of the names. One failure stops
/// none of the others.
#[utoipa::path(post, path = "", tag = "apps", params(Wishes, UpdateAllKeys), request_body = Option<Which>,
    responses(
        (status = 200, description = "A result or a problem for each", body = [AppOutcome]),
        (status = 202, description = "The jobs, where the client would not wait", body = [AppOutcome]),
        Unavailable))]
pub async fn update_all(
    State(http): State<Http>,
    Query(keys): Query<UpdateAllKeys>,
    headers: HeaderMap,
    Body(which): Body<Which>,
) -> Result<Response, Failure> {
    let options = UpdateOptions { no_rollback: !keys.rollback, services: BTreeSet::new(), prepared: None };
    let dry_run = keys.dry_run;
    let restock = http.restock.clone();
    let names = match which {
        Some(which) => which.apps,
        None => {
            http.local()?.apps.list().await.map_err(Error::from)?.into_iter().map(|app| app.name.to_string()).collect()
        }
    };
    let asynchronous = Reply::of(&headers) == Reply::Async;
    let concurrency = restock.service.limits.concurrency.max(1);
    let updates = names.into_iter().enumerate().map(move |(place, name)| {
        let (restock, options) = (restock.clone(), options.clone());
        async move {
            let outcome = if asynchronous {
                start_one(restock, &name, options, dry_run).await
            } else {
                update_one(restock, &name, options, dry_run).await
            };
            (place, AppOutcome { app: name, outcome })
        }
    });
    // Unordered, so that one slow app does not keep the others from their turn.
    let all = futures_util::stream::iter(updates).buffer_unordered(concurrency).collect::<Vec<_>>();
    // Detached as each of them is: who goes away does not stop the ones that wait for their turn.
    let mut all = detached(async move { Ok(all.await) }).await?;
    all.sort_by_key(|(place, _)| *place);
    let all: Vec<AppOutcome> = all.into_iter().map(|(_, result)| result).collect();
    let status = if asynchronous { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, axum::Json(all)).into_response())
}

async fn update_one(restock: Arc<Restock>, name: &str, options: UpdateOptions, dry_run: bool) -> OneOutcome {
    match restock.service.run_to_end(|| start_named(&restock, name, options.clone(), dry_run)).await {
        Ok(Job { error: None, result: Some(result), .. }) => OneOutcome::Ended(result),
        Ok(job) => failed(Problem::of_job(&job)),
        Err(error) => failed(Some(Problem::from(&error))),
    }
}

async fn start_one(restock: Arc<Restock>, name: &str, options: UpdateOptions, dry_run: bool) -> OneOutcome {
    match start_named(&restock, name, options, dry_run).await {
        Ok(ticket) => {
            let job = ticket.id().clone();
            OneOutcome::Started { location: format!("/api/jobs/{job}"), job }
        }
        Err(error) => failed(Some(Problem::from(&error))),
    }
}

/// The app is told beside the problem.
fn failed(problem: Option<Problem>) -> OneOutcome {
    let without = || Problem::from(&Error::new(Code::Defect, "the job ended without a result"));
    OneOutcome::Failed(Box::new(Problem { app: None, ..problem.unwrap_or_else(without).among_results() }))
}

/// Starts the update of an app that is named in its text form.
async fn start_named(restock: &Restock, name: &str, options: UpdateOptions, dry_run: bool) -> Result<Ticket, Error> {
    let (host, name) = restock.named(name)?;
    start(host, name, options, dry_run).await
}

async fn start(host: &Arc<Host>, name: &str, options: UpdateOptions, dry_run: bool) -> Result<Ticket, Error> {
    if dry_run { host.start_dry_run(name, options.services).await } else { host.start_update(name, options).await }
}

/// Whether newer images are there, asked of the registries; nothing is pulled.
#[utoipa::path(get, path = "", tag = "apps", params(Force),
    responses((status = 200, description = "The freshness", body = AppStatus), NotFound, BrokenApp, Unavailable))]
pub async fn status(Named { host, name }: Named, Query(keys): Query<Force>) -> Result<Response, Failure> {
    let ask = if keys.force { Ask::Force } else { Ask::IfStale };
    Ok(json_of(&host.check_app(&name, ask).await?))
}

/// The app's policy and who decided it.
#[utoipa::path(get, path = "", tag = "apps",
    responses((status = 200, description = "The policy", body = AppPolicy), NotFound, BrokenApp, Unavailable))]
pub async fn policy(Named { host, name }: Named, _: Query<NoKeys>) -> Result<Response, Failure> {
    Ok(json_of(&host.policy(&name).await?))
}

/// The body of `PUT /api/apps/{name}/auto-update`.
#[derive(Deserialize, ToSchema)]
#[schema(as = PolicySetting)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// `null` unsets it, so that `x-restock` or a label decides. Required, because a body without it must not unset.
    #[schema(required)]
    #[serde(deserialize_with = "Option::deserialize")]
    auto_update: Option<Policy>,
}

/// Sets the app's policy, which then wins over its file and its labels.
#[utoipa::path(put, path = "", tag = "apps", request_body = Setting,
    responses((status = 200, description = "The policy", body = AppPolicy), NotFound, BrokenApp, Unavailable))]
pub async fn set_policy(
    Named { host, name }: Named,
    _: Query<NoKeys>,
    Body(setting): Body<Setting>,
) -> Result<Response, Failure> {
    let wanted = setting.ok_or_else(|| Failure::from(Error::new(Code::BadJson, "the body must have `auto_update`")))?;
    Ok(json_of(&host.set_policy(&name, wanted.auto_update).await?))
}

/// The logs of an app's containers, as text.
#[utoipa::path(get, path = "", tag = "apps", params(LogKeys),
    responses((status = 200, description = "The lines", body = String), NotFound, BrokenApp, TooMany, Unavailable))]
pub async fn logs(Named { host, name }: Named, Query(keys): Query<LogKeys>) -> Result<Response, Failure> {
    let lines = host.logs(&name, keys.tail, keys.follow).await?;
    let body = ResponseBody::from_stream(
        UnboundedReceiverStream::new(lines).map(|line| Ok::<_, std::convert::Infallible>(line.text)),
    );
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}
