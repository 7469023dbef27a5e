//! Requests to a Restock in this process, and what it answers.

use std::future::IntoFuture;
use std::pin::Pin;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use http_body_util::BodyExt;
use restock::domain::failure::Code;
use serde_json::Value;
use tower::ServiceExt;

use super::soon;
use super::stream::Events;

/// A request; awaiting it sends it and reads the whole answer.
pub struct Request {
    routes: Router,
    builder: axum::http::request::Builder,
    what: String,
    body: Body,
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    pub(super) fn new(routes: Router, method: &str, path: &str) -> Self {
        let builder = axum::http::Request::builder().method(method).uri(path).header("host", "localhost:8099");
        Self { routes, builder, what: format!("{method} {path}"), body: Body::empty() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        if name == "host" {
            self.builder.headers_mut().unwrap().remove("host");
        }
        self.builder = self.builder.header(name, value);
        self
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it, and reads the answer as a stream of events.
    pub async fn events(self) -> Events {
        let what = self.what.clone();
        let response = self.send().await;
        assert_eq!(response.status(), 200, "{what}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events::new(response.into_body().into_data_stream())
    }

    /// Sends it, and reads nothing yet.
    pub async fn send(self) -> axum::response::Response {
        let request = self.builder.body(self.body).unwrap();
        soon(&self.what, self.routes.oneshot(request)).await.unwrap()
    }
}

impl IntoFuture for Request {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let what = self.what.clone();
            let (head, body) = self.send().await.into_parts();
            let body = soon(&what, body.collect()).await.unwrap().to_bytes();
            Reply { status: head.status.as_u16(), headers: head.headers, body }
        })
    }
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body of an answer that has to be 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// A problem document, with everything that RFC 9457 and the contract ask of one.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{problem}");
        assert!(Code::ALL.iter().any(|known| known.word() == code), "`{code}` is not told");
        assert_eq!(problem["request_id"], self.headers["x-request-id"].to_str().unwrap());
        for member in ["type", "title", "detail", "instance"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {problem}");
        }
        problem
    }
}
