//! Failures as problem documents (RFC 9457).

use std::any::Any;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::follow::shown;
use super::{docker, images};
use crate::adapters::task;
use crate::error::{Code, Error, Kind};
use crate::views::Problem;

/// A detail or a path longer than this is cut: a failure explains itself in less, and nobody gets a name of 30 kB back.
const LONGEST: usize = 2000;

/// A failure on its way to the client: [`render`] gives it its body.
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

/// Writes the body of failures, which need to know the request's path.
pub async fn render(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let dialect = dialect(&path, request.headers());
    let mut response = next.run(request).await;
    let Some(Failure(mut problem)) = response.extensions_mut().remove::<Failure>() else {
        return response;
    };
    problem.detail = cut(problem.detail);
    let (content_type, body) = match dialect {
        Dialect::Words => ("text/plain; charset=utf-8", format!("{}\n", problem.detail).into_response()),
        Dialect::Engine => ("application/json", as_the_engine(&problem).into_response()),
        Dialect::Problem => {
            problem.instance = Some(shown(&path));
            problem.request_id = task::request().map(|id| id.to_string());
            ("application/problem+json", json_of(&problem))
        }
    };
    let mut rendered = (response.status(), body).into_response();
    // Headers such as `Allow` stay; the empty body's length and type do not.
    let kept =
        response.headers().iter().filter(|(name, _)| !matches!(**name, header::CONTENT_LENGTH | header::CONTENT_TYPE));
    rendered.headers_mut().extend(kept.map(|(name, value)| (name.clone(), value.clone())));
    rendered.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    *rendered.extensions_mut() = std::mem::take(response.extensions_mut());
    rendered
}

/// The first [`LONGEST`] characters of a text.
pub fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// How a failure is told.
enum Dialect {
    Problem,
    /// Plain, as the docker-image-watcher API does.
    Words,
    /// As the Docker Engine does.
    Engine,
}

/// What the clients of a path understand. Those of the docker-image-watcher API may ask for JSON.
fn dialect(path: &str, headers: &HeaderMap) -> Dialect {
    if docker::is_engine_path(path) {
        return Dialect::Engine;
    }
    let mut accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let json =
        accepted.any(|accepted| accepted.contains("application/json") || accepted.contains("application/problem+json"));
    if speaks_words(path) && !json { Dialect::Words } else { Dialect::Problem }
}

/// The CLI shows this one text.
fn as_the_engine(problem: &Problem) -> String {
    let hint = problem.hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default();
    format!("{}\n", serde_json::json!({ "message": format!("{}{hint}", problem.detail) }))
}

/// The paths of the docker-image-watcher API, whose clients expect plain words.
pub fn speaks_words(path: &str) -> bool {
    ["/api/images", "/api/groups"].iter().any(|prefix| path.starts_with(prefix))
}

/// A body of JSON.
pub fn json_of(value: &impl Serialize) -> Response {
    axum::Json(value).into_response()
}

/// The answer where no route is.
pub async fn unknown_route(request: Request) -> Failure {
    if let Some(failure) = images::no_such_action(request.uri().path()) {
        return failure;
    }
    nothing_at(request.uri().path())
}

/// The same for a path.
pub fn nothing_at(path: &str) -> Failure {
    let path: String = shown(path).chars().take(200).collect();
    Error::new(Code::NoSuchRoute, format!("there is nothing at {path}")).into()
}

/// The answer where a route has other methods; axum adds `Allow`.
pub async fn wrong_method(request: Request) -> Failure {
    let message = match speaks_words(request.uri().path()) {
        true => "method not allowed".to_owned(),
        false => format!("{} is not allowed here", request.method()),
    };
    let error = Error::new(Code::MethodNotAllowed, message).hint("the header `Allow` names the methods that are");
    let mut problem = Problem::from(&error);
    problem.status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
    problem.title = "Method not allowed".into();
    problem.into()
}

/// The answer when a handler panicked: a defect, told without its details.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    tracing::error!(panic = task::words(panic.as_ref()), "a request handler panicked");
    Failure(Box::new(Problem::from(&Error::new(Code::Defect, "the request could not be handled")))).into_response()
}

/// The answer to a body that is too large.
pub fn too_large() -> Failure {
    let error = Error::new(Code::BodyTooLarge, "the request's body is too large");
    let mut problem = Problem::from(&error);
    problem.status = StatusCode::PAYLOAD_TOO_LARGE.as_u16();
    problem.title = "Payload too large".into();
    problem.into()
}
