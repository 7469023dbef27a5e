//! Requests of others that are passed on to the engine, and its answers, without being held or understood.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response};

use super::client::Engine;
use super::connection::Carried;
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
    /// A body goes under a type that is chosen here: the engine would read what a client calls a form before the query.
    ///
    /// # Errors
    /// Only where the engine gave no answer at all.
    pub async fn pass<E>(
        &self,
        passed: Passed,
        body: Option<(&'static str, impl Stream<Item = Result<Bytes, E>> + Send + 'static)>,
    ) -> Result<Response<Carried>, EngineError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let (body_type, body) = match body {
            Some((body_type, body)) => (Some(body_type), bollard::body_try_stream(body.map_err(io::Error::other))),
            None => (None, bollard::body_full(Bytes::new())),
        };
        let request = Request::builder().method(&passed.method).uri(&passed.path).body(body);
        let mut request =
            request.map_err(|error| EngineError::Protocol { what: passed.path.clone(), reason: error.to_string() })?;
        *request.headers_mut() = passed.headers;
        if let Some(body_type) = body_type {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(body_type));
        }
        let answer = self.wire.carry(request);
        if !passed.is_quick {
            return answer.await;
        }
        tokio::time::timeout(HEAD_DEADLINE, answer).await.unwrap_or(Err(EngineError::Timeout { after: HEAD_DEADLINE }))
    }
}
