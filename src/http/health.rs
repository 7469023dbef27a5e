//! Alive, and ready: two different things.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::router::Http;

/// The process lives: 200 with an empty body, whatever else is wrong.
pub async fn health() -> StatusCode {
    StatusCode::OK
}

/// Everything that an update needs is there: 200; or 503 and what is missing.
pub async fn ready(State(http): State<Http>) -> Response {
    let restock = &http.restock;
    let (engine, compose, database) =
        tokio::join!(restock.engine.info(), restock.compose(), restock.store.check_writable());
    let checks = [
        ("engine", engine.map(|info| json!(info)).map_err(|error| error.to_string())),
        (
            "compose",
            compose.map(|found| json!({"version": found.version().to_string()})).map_err(|error| error.to_string()),
        ),
        ("database", database.map(|()| json!({})).map_err(|error| error.to_string())),
    ];
    let ready = checks.iter().all(|(_, check)| check.is_ok());
    let report: serde_json::Map<_, _> =
        checks.into_iter().map(|(name, check)| (name.to_owned(), verdict(check))).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(json!({ "ready": ready, "checks": report }))).into_response()
}

fn verdict(check: Result<Value, String>) -> Value {
    match check {
        Ok(mut facts) => {
            facts["ok"] = true.into();
            facts
        }
        Err(reason) => json!({ "ok": false, "reason": reason }),
    }
}
