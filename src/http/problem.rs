//! Failures as problem documents (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::{Code, Error, Kind};
use crate::views::Problem;

/// A detail or a path longer than this is cut: a failure explains itself in less, and nobody gets a name of 30 kB back.
const LONGEST: usize = 2000;

/// What follows may be a hook's secret.
const HOOKS: &str = "/api/hooks/";

/// A failure on its way to the client: [`render`](super::render::render) gives it its body.
#[derive(Debug, Clone)]
pub struct Failure(pub Box<Problem>);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.kind == Kind::Internal {
            tracing::error!(code = %error.code, %error, "a request failed");
        }
        Self(Box::new(Problem::from(&error)))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(seconds) = self.0.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The first [`LONGEST`] characters of a text.
pub fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A path as logs and problem documents show it: without a hook's secret, and not longer than anybody needs.
pub fn shown(path: &str) -> String {
    match path.strip_prefix(HOOKS).and_then(|hook| hook.split_once('/')) {
        Some((hook, _)) => cut(format!("{HOOKS}{hook}/…")),
        None => cut(path.to_owned()),
    }
}

/// A body of JSON.
pub fn json_of(value: &impl Serialize) -> Response {
    axum::Json(value).into_response()
}

/// The answer where nothing is.
pub fn nothing_at(path: &str) -> Failure {
    let path: String = shown(path).chars().take(200).collect();
    Error::new(Code::NoSuchRoute, format!("there is nothing at {path}")).into()
}

/// The answer to a body that is too large.
pub fn too_large() -> Failure {
    let error = Error::new(Code::BodyTooLarge, "the request's body is too large");
    let mut problem = Problem::from(&error);
    problem.status = StatusCode::PAYLOAD_TOO_LARGE.as_u16();
    problem.title = "Payload too large".into();
    problem.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_hook_is_shown() {
        assert_eq!(shown("/api/hooks/registry/geheim"), "/api/hooks/registry/…");
        assert_eq!(shown("/api/hooks/registry/geheim/more"), "/api/hooks/registry/…");
        for path in ["/api/hooks/registry", "/api/apps/hooks/update", "/"] {
            assert_eq!(shown(path), path);
        }
    }
}
