//! HTTP to the engine: over its unix socket, or plain TCP.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use bollard::BollardRequest;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Response};
use serde_json::Value;

use super::connection::{Carried, Connection};
use super::error::{EngineError, with_causes};
use super::host::DockerHost;

/// How long the head of an answer may take that the engine has at hand.
pub(super) const HEAD_DEADLINE: Duration = Duration::from_secs(120);
/// Answers that are read whole are lists and inspections; a thousand containers make about 2 MiB.
const MAX_BODY: usize = 64 << 20;

/// The way to one engine. Cheap to clone.
#[derive(Clone)]
pub struct Wire {
    host: DockerHost,
}

impl Wire {
    /// A way that is first gone when something is sent.
    pub fn new(host: DockerHost) -> Self {
        Self { host }
    }

    /// Where this wire leads.
    pub fn host(&self) -> &DockerHost {
        &self.host
    }

    /// Sends a request, of whose URI path and query count; the body of the answer is not read.
    pub async fn send(&self, request: BollardRequest) -> Result<Response<Incoming>, EngineError> {
        self.open().await?.send(addressed(request)).await.map_err(|reason| self.unreachable(reason))
    }

    /// As `send`, for an answer that may be long: it comes as fast as it is read, and only then.
    pub(super) async fn carry(&self, request: BollardRequest) -> Result<Response<Carried>, EngineError> {
        self.open().await?.carry(addressed(request)).await.map_err(|reason| self.unreachable(reason))
    }

    async fn open(&self) -> Result<Connection, EngineError> {
        Connection::open(&self.host).await.map_err(|error| self.not_opened(&error))
    }

    fn not_opened(&self, error: &std::io::Error) -> EngineError {
        match error.kind() {
            ErrorKind::PermissionDenied => EngineError::Forbidden { host: self.host.to_string() },
            _ => self.unreachable(with_causes(error)),
        }
    }

    /// Asks for JSON and reads it whole, within `deadline`.
    pub async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        deadline: Duration,
    ) -> Result<Value, EngineError> {
        let work = async {
            let request = hyper::Request::builder()
                .method(method)
                .uri(path)
                .header(hyper::header::CONTENT_TYPE, "application/json")
                .body(bollard::body_full(body.map(Value::to_string).unwrap_or_default().into()))
                .map_err(|error| self.protocol(path, error))?;
            let response = self.send(request).await?;
            let status = response.status();
            let body = http_body_util::Limited::new(response.into_body(), MAX_BODY).collect().await;
            let bytes = body.map_err(|error| self.protocol(path, error))?.to_bytes();
            if !status.is_success() {
                return Err(EngineError::Status { status: status.as_u16(), message: message_of(&bytes) });
            }
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            serde_json::from_slice(&bytes).map_err(|error| self.protocol(path, error))
        };
        tokio::time::timeout(deadline, work).await.unwrap_or(Err(EngineError::Timeout { after: deadline }))
    }

    fn unreachable(&self, reason: String) -> EngineError {
        EngineError::Unreachable { host: self.host.to_string(), reason }
    }

    fn protocol(&self, path: &str, error: impl fmt::Display) -> EngineError {
        EngineError::Protocol { what: path.to_owned(), reason: error.to_string() }
    }
}

/// The request as it goes to a server itself: only path and query, and a host, though an engine does not care which.
fn addressed(mut request: BollardRequest) -> BollardRequest {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = path.into();
    request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("docker"));
    request
}

/// The engine says errors as `{"message": "…"}`; a proxy in between may say anything.
fn message_of(body: &[u8]) -> String {
    let said =
        serde_json::from_slice::<Value>(body).ok().and_then(|value| value["message"].as_str().map(str::to_owned));
    said.unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_not_be_opened_is_told_from_an_engine_that_is_down() {
        let wire = Wire::new(DockerHost::Unix("/run/docker.sock".into()));
        assert!(matches!(wire.not_opened(&ErrorKind::PermissionDenied.into()), EngineError::Forbidden { .. }));
        for kind in [ErrorKind::NotFound, ErrorKind::ConnectionRefused] {
            assert!(matches!(wire.not_opened(&kind.into()), EngineError::Unreachable { .. }), "{kind}");
        }
    }
}
