//! Alive, and ready: two different things.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::auth::is_known;
use super::problem::Failure;
use super::state::{Found, Http};
use crate::usecases::{Host, Service};
use crate::views::{Check, Checks, Readiness};

/// How long the database is believed to be writable. Proving it writes to the disk, and anybody may ask.
const WRITABLE: Duration = Duration::from_secs(2);

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
pub async fn ready(State(http): State<Http>, headers: HeaderMap) -> Result<Response, Failure> {
    // Who cannot be known because the database is broken is told that it is.
    let known = is_known(&http, &headers).await.unwrap_or_else(|_| !http.access.is_enabled());
    let mut checks = http.readiness.checks(http.local()?).await;
    let ready = checks.engine.ok && checks.compose.ok && checks.database.ok && checks.apps.ok;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !known {
        for check in [&mut checks.engine, &mut checks.compose, &mut checks.database, &mut checks.apps] {
            *check = Check { ok: check.ok, ..Check::default() };
        }
    }
    Ok((status, axum::Json(Readiness { ready, checks })).into_response())
}

impl Found {
    async fn checks(&self, host: &Host) -> Checks {
        let look = || async {
            let (engine, compose, database, apps) =
                tokio::join!(host.engine.info(), host.compose(), self.database(&host.service), host.apps.check());
            Checks {
                engine: verdict(engine, |info| (Some(info.version), Some(info.api_version))),
                compose: verdict(compose, |found| (Some(found.version().to_string()), None)),
                database,
                apps: verdict(apps, |()| (None, None)),
            }
        };
        self.checks.run(Duration::ZERO, look).await
    }

    async fn database(&self, service: &Service) -> Check {
        let look = || async { verdict(service.store.check_writable().await, |()| (None, None)) };
        let found = self.database.run(WRITABLE, look).await;
        // What was wrong may have been put right.
        if found.ok { found } else { self.database.run(Duration::ZERO, look).await }
    }
}

/// What was found, with its own version and that of its API where it has them.
fn verdict<T>(found: Result<T, impl ToString>, versions: impl FnOnce(T) -> (Option<String>, Option<String>)) -> Check {
    match found.map(versions) {
        Ok((version, api_version)) => Check { ok: true, version, api_version, reason: None },
        Err(reason) => Check { reason: Some(reason.to_string()), ..Check::default() },
    }
}
