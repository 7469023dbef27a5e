//! The bodies of failures: problem documents, plain words, or what the engine would say.

use std::any::Any;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::docker;
use super::problem::{Failure, cut, json_of, shown};
use crate::adapters::task;
use crate::error::{Code, Error};
use crate::views::Problem;

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
