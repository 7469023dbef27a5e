//! `/api/apps`.

use std::sync::Arc;

use axum::body::Body as ResponseBody;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;

use super::params::{Body, Name, Query, Reply};
use super::problem::{Failure, json_of};
use super::reply::{answer, detached};
use super::router::Http;
use crate::domain::policy::Policy;
use crate::error::{Error, Kind};
use crate::usecases::Restock;
use crate::usecases::freshness::Ask;
use crate::usecases::jobs::Ticket;
use crate::usecases::update_app::UpdateOptions;
use crate::views::{AppView, Problem};

/// As many lines as a person reads.
const DEFAULT_TAIL: u32 = 200;
const MAX_TAIL: u32 = 10_000;

pub async fn list(State(http): State<Http>, query: Query) -> Result<Response, Failure> {
    query.only(&[])?;
    let apps = http.restock.seen_apps().await?;
    Ok(json_of(&apps.iter().map(AppView::from).collect::<Vec<_>>()))
}

pub async fn one(State(http): State<Http>, name: Name, query: Query) -> Result<Response, Failure> {
    query.only(&[])?;
    Ok(json_of(&AppView::from(&http.restock.seen_app(&name.0).await?)))
}

pub async fn one_called_update(http: State<Http>, query: Query) -> Result<Response, Failure> {
    one(http, Name("update".into()), query).await
}

pub async fn update(
    State(http): State<Http>,
    name: Name,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = query.only(&["dry_run", "rollback", "service"])?;
    let (options, dry_run) = (update_options(&query)?, query.flag("dry_run", false)?);
    answer(&http, &headers, move |restock| {
        let (name, options) = (name.0.clone(), options.clone());
        async move { start(&restock, &name, options, dry_run).await }
    })
    .await
}

fn update_options(query: &Query) -> Result<UpdateOptions, Failure> {
    Ok(UpdateOptions { no_rollback: !query.flag("rollback", true)?, services: query.all("service")?, prepared: None })
}

pub async fn roll_back(
    State(http): State<Http>,
    name: Name,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    query.only(&[])?;
    answer(&http, &headers, move |restock| {
        let name = name.0.clone();
        async move { restock.start_rollback(&name).await }
    })
    .await
}

pub async fn up(State(http): State<Http>, name: Name, query: Query, headers: HeaderMap) -> Result<Response, Failure> {
    query.only(&[])?;
    answer(&http, &headers, move |restock| {
        let name = name.0.clone();
        async move { restock.start_up(&name).await }
    })
    .await
}

pub async fn down(State(http): State<Http>, name: Name, query: Query, headers: HeaderMap) -> Result<Response, Failure> {
    query.only(&[])?;
    answer(&http, &headers, move |restock| {
        let name = name.0.clone();
        async move { restock.start_down(&name).await }
    })
    .await
}

/// The body of `POST /api/apps/update`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    apps: Vec<String>,
}

/// All apps, or those named: one result for each, in the order of the names.
pub async fn update_all(
    State(http): State<Http>,
    query: Query,
    headers: HeaderMap,
    Body(which): Body<Which>,
) -> Result<Response, Failure> {
    let query = query.only(&["dry_run", "rollback"])?;
    let (options, dry_run) = (update_options(&query)?, query.flag("dry_run", false)?);
    let restock = http.restock.clone();
    let names = match which {
        Some(which) => which.apps,
        None => restock.apps.list().map_err(Error::from)?.into_iter().map(|app| app.name.to_string()).collect(),
    };
    let asynchronous = Reply::of(&headers) == Reply::Async;
    let concurrency = restock.limits.concurrency.max(1);
    let updates = names.into_iter().enumerate().map(move |(place, name)| {
        let (restock, options) = (restock.clone(), options.clone());
        async move {
            let outcome = if asynchronous {
                start_one(restock, &name, options, dry_run).await
            } else {
                update_one(restock, &name, options, dry_run).await
            };
            (place, with_app(name, outcome))
        }
    });
    // Unordered, so that one slow app does not keep the others from their turn.
    let all = futures_util::stream::iter(updates).buffer_unordered(concurrency).collect::<Vec<_>>();
    // Detached as each of them is: who goes away does not stop the ones that wait for their turn.
    let mut all = detached(async move { Ok(all.await) }).await?;
    all.sort_by_key(|(place, _)| *place);
    let all: Vec<Value> = all.into_iter().map(|(_, result)| result).collect();
    let status = if asynchronous { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, axum::Json(all)).into_response())
}

async fn update_one(
    restock: Arc<Restock>,
    name: &str,
    options: UpdateOptions,
    dry_run: bool,
) -> Result<Value, Problem> {
    let job = restock.run_to_end(|| start(&restock, name, options.clone(), dry_run)).await;
    let job = job.map_err(|error| Problem::from(&error))?;
    match Problem::of_job(&job) {
        Some(problem) => Err(problem),
        None => Ok(json!(job.result)),
    }
}

async fn start_one(restock: Arc<Restock>, name: &str, options: UpdateOptions, dry_run: bool) -> Result<Value, Problem> {
    let ticket = start(&restock, name, options, dry_run).await.map_err(|error| Problem::from(&error))?;
    Ok(json!({ "job": ticket.id(), "location": format!("/api/jobs/{}", ticket.id()) }))
}

async fn start(restock: &Arc<Restock>, name: &str, options: UpdateOptions, dry_run: bool) -> Result<Ticket, Error> {
    if dry_run {
        restock.start_dry_run(name, options.services).await
    } else {
        restock.start_update(name, options).await
    }
}

fn with_app(name: String, outcome: Result<Value, Problem>) -> Value {
    let mut value = outcome.unwrap_or_else(|problem| json!(problem));
    value["app"] = name.into();
    value
}

/// Whether newer images are there, asked of the registries.
pub async fn status(State(http): State<Http>, name: Name, query: Query) -> Result<Response, Failure> {
    let query = query.only(&["force"])?;
    let ask = if query.flag("force", false)? { Ask::Force } else { Ask::IfStale };
    Ok(json_of(&http.restock.check_app(&name.0, ask).await?))
}

/// The app's policy and who decided it.
pub async fn policy(State(http): State<Http>, name: Name, query: Query) -> Result<Response, Failure> {
    query.only(&[])?;
    Ok(json_of(&http.restock.policy(&name.0).await?))
}

/// The body of `PUT /api/apps/{name}/auto-update`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Required, because `null` unsets: a body without it must not.
    #[serde(deserialize_with = "Option::deserialize")]
    auto_update: Option<Policy>,
}

/// Sets the app's policy.
pub async fn set_policy(
    State(http): State<Http>,
    name: Name,
    query: Query,
    Body(setting): Body<Setting>,
) -> Result<Response, Failure> {
    query.only(&[])?;
    let wanted = setting
        .ok_or_else(|| Failure::from(Error::new(Kind::Invalid, "bad_json", "the body must have `auto_update`")))?;
    Ok(json_of(&http.restock.set_policy(&name.0, wanted.auto_update).await?))
}

/// The logs of an app's containers, as text.
pub async fn logs(State(http): State<Http>, name: Name, query: Query) -> Result<Response, Failure> {
    let query = query.only(&["tail", "follow"])?;
    let tail = query.value("tail", "a number of lines")?.unwrap_or(DEFAULT_TAIL).min(MAX_TAIL);
    let lines = http.restock.logs(&name.0, tail, query.flag("follow", false)?).await?;
    let body = ResponseBody::from_stream(ReceiverStream::new(lines).map(Ok::<_, std::convert::Infallible>));
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}
