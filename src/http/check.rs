//! `/api/check`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::apps::Which;
use super::failures::{NotFound, Unavailable};
use super::keys::NoKeys;
use super::params::{Body, Query, Wishes};
use super::problem::Failure;
use super::reply::answer;
use super::state::Http;
use super::stream::ServerEvent;
use crate::domain::job::Job;
use crate::views::CheckAnswer;

/// Asks the registries anew about all apps, or about those that the body names; nothing is pulled. Done means that
/// versions and sizes are known as well. Joins a check that runs already and is about these.
#[utoipa::path(post, path = "", tag = "apps", params(Wishes), request_body = Option<Which>,
    responses(
        (status = 200, description = "What was found; or the job's events, the result last, where the client accepts them",
            content((CheckAnswer = "application/json"), (ServerEvent = "text/event-stream"))),
        (status = 202, description = "The job, where the client would not wait", body = Job,
            headers(("Location" = String, description = "Where the job is"))),
        NotFound, Unavailable))]
pub async fn check(
    State(http): State<Http>,
    _: Query<NoKeys>,
    headers: HeaderMap,
    Body(which): Body<Which>,
) -> Result<Response, Failure> {
    let host = http.local()?.clone();
    let names = which.map(|which| http.restock.bare_names(&which.apps)).transpose()?;
    answer(host, &headers, move |host| {
        let names = names.clone();
        async move { host.start_check(names.as_deref()).await }
    })
    .await
}
