//! Requests of others that are passed on to the engine, and its answers, without being held or understood.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response};

use super::client::Engine;
use super::error::EngineError;
use super::wire::HEAD_DEADLINE;

/// The head of a request for the engine.
#[derive(Debug)]
pub struct Passed {
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    /// Whether the engine has the answer at hand. Otherwise the wait is the client's own, and ends when it goes away.
    pub is_quick: bool,
}

impl Engine {
    /// Passes a request on; gives the answer as soon as its head is here. Dropping either ends it at the engine.
    ///
    /// # Errors
    /// Only where the engine gave no answer at all.
    pub async fn pass<E>(
        &self,
        passed: Passed,
        body: Option<impl Stream<Item = Result<Bytes, E>> + Send + 'static>,
    ) -> Result<Response<Incoming>, EngineError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let wrong =
            |error: hyper::http::Error| EngineError::Protocol { what: passed.path.clone(), reason: error.to_string() };
        let request = Request::builder().method(&passed.method).uri(&passed.path);
        let mut request = match body {
            Some(body) => request.body(bollard::body_try_stream(body.map_err(io::Error::other))),
            None => request.body(bollard::body_full(Bytes::new())),
        }
        .map_err(wrong)?;
        *request.headers_mut() = passed.headers;
        // Images come as archives; see there what the engine would make of a form.
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
        let answer = self.wire.send(request);
        if !passed.is_quick {
            return answer.await;
        }
        tokio::time::timeout(HEAD_DEADLINE, answer).await.unwrap_or(Err(EngineError::Timeout { after: HEAD_DEADLINE }))
    }
}
