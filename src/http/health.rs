//! Alive, and ready: two different things.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::auth::is_known;
use super::router::Http;
use crate::views::{Check, Checks, Readiness};

/// The process lives: 200 with an empty body, whatever else is wrong.
#[utoipa::path(get, path = "", tag = "service", responses((status = 200, description = "Alive")))]
pub async fn health() -> StatusCode {
    StatusCode::OK
}

/// Everything that an update needs is there: 200; or 503 and what is missing. Open, so that a supervisor needs no login;
/// versions and reasons are for those who have one.
#[utoipa::path(get, path = "", tag = "service",
    responses(
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Something is missing", body = Readiness)))]
pub async fn ready(State(http): State<Http>, headers: HeaderMap) -> Response {
    // Who cannot be known because the database is broken is told that it is.
    let known = is_known(&http, &headers).await.unwrap_or_else(|_| !http.access.is_enabled());
    let restock = &http.restock;
    let (engine, compose, database) =
        tokio::join!(restock.engine.info(), restock.compose(), restock.store.check_writable());
    let mut checks = Checks {
        engine: verdict(engine, |info| (Some(info.version), Some(info.api_version))),
        compose: verdict(compose, |found| (Some(found.version().to_string()), None)),
        database: verdict(database, |()| (None, None)),
    };
    let ready = checks.engine.ok && checks.compose.ok && checks.database.ok;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !known {
        for check in [&mut checks.engine, &mut checks.compose, &mut checks.database] {
            *check = Check { ok: check.ok, ..Check::default() };
        }
    }
    (status, axum::Json(Readiness { ready, checks })).into_response()
}

/// What was found, with its own version and that of its API where it has them.
fn verdict<T>(found: Result<T, impl ToString>, versions: impl FnOnce(T) -> (Option<String>, Option<String>)) -> Check {
    match found.map(versions) {
        Ok((version, api_version)) => Check { ok: true, version, api_version, reason: None },
        Err(reason) => Check { reason: Some(reason.to_string()), ..Check::default() },
    }
}
