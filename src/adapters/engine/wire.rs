//! HTTP to the engine: over its unix socket, or plain TCP.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bollard::BollardRequest;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::error::{EngineError, with_causes};

/// How long the head of an answer may take. Stopping a container answers only when it has stopped.
pub(super) const HEAD_DEADLINE: Duration = Duration::from_secs(120);
/// Answers that are read whole are lists and inspections; a thousand containers make about 2 MiB.
const MAX_BODY: usize = 64 << 20;

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerHost {
    Unix(PathBuf),
    /// Host and port, without TLS.
    Tcp(String),
}

/// A `DOCKER_HOST` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerHostError {
    #[error("`{0}` is not supported: use unix:///path or tcp://host:port")]
    Scheme(String),
    #[error("`{0}` has no host and port")]
    Address(String),
}

impl FromStr for DockerHost {
    type Err = DockerHostError;
    fn from_str(text: &str) -> Result<Self, DockerHostError> {
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(DockerHostError::Address(text.to_owned()));
            }
            return Ok(Self::Unix(path.into()));
        }
        let address = text
            .strip_prefix("tcp://")
            .or_else(|| text.strip_prefix("http://"))
            .ok_or_else(|| DockerHostError::Scheme(text.to_owned()))?
            .trim_end_matches('/');
        let authority = address.parse::<hyper::http::uri::Authority>();
        if authority.is_ok_and(|authority| authority.port().is_some()) {
            Ok(Self::Tcp(address.to_owned()))
        } else {
            Err(DockerHostError::Address(text.to_owned()))
        }
    }
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

type Body = <BollardRequest as BodyOf>::Body;

/// Names the body of bollard's requests, which bollard itself does not.
trait BodyOf {
    type Body;
}

impl<B> BodyOf for hyper::Request<B> {
    type Body = B;
}

/// How long a connection to a remote engine may be silent before it is asked whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A connection pool to one engine. Cheap to clone.
#[derive(Clone)]
pub struct Wire {
    host: DockerHost,
    unix: Arc<Client<hyperlocal::UnixConnector, Body>>,
    tcp: Arc<Client<HttpConnector, Body>>,
}

impl Wire {
    /// A pool that connects when it is first used.
    pub fn new(host: DockerHost) -> Self {
        let builder = || {
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_idle_timeout(Duration::from_secs(30)).pool_timer(hyper_util::rt::TokioTimer::new());
            builder
        };
        let unix = Arc::new(builder().build(hyperlocal::UnixConnector));
        let mut connector = HttpConnector::new();
        // An engine whose machine lost its power never says so.
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE));
        connector.set_keepalive_retries(Some(3));
        let tcp = Arc::new(builder().build(connector));
        Self { host, unix, tcp }
    }

    /// Where this wire leads.
    pub fn host(&self) -> &DockerHost {
        &self.host
    }

    /// Sends a request whose URI is only a path and a query; the body of the answer is not read.
    pub async fn send(&self, request: BollardRequest) -> Result<Response<Incoming>, EngineError> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        parts.uri = match &self.host {
            DockerHost::Unix(socket) => hyperlocal::Uri::new(socket, &path).into(),
            DockerHost::Tcp(address) => {
                format!("http://{address}{path}").parse().map_err(|error| self.protocol(&path, error))?
            }
        };
        parts.headers.entry(hyper::header::HOST).or_insert(hyper::header::HeaderValue::from_static("docker"));
        let request = hyper::Request::from_parts(parts, body);
        let answer = async {
            match &self.host {
                DockerHost::Unix(_) => self.unix.request(request).await,
                DockerHost::Tcp(_) => self.tcp.request(request).await,
            }
        };
        answer
            .await
            .map_err(|error| EngineError::Unreachable { host: self.host.to_string(), reason: with_causes(&error) })
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

    fn protocol(&self, path: &str, error: impl fmt::Display) -> EngineError {
        EngineError::Protocol { what: path.to_owned(), reason: error.to_string() }
    }
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
    fn hosts_are_sockets_or_plain_addresses() {
        for host in ["unix:///run/docker.sock", "tcp://127.0.0.1:2375", "tcp://[::1]:2375"] {
            assert_eq!(host.parse::<DockerHost>().unwrap().to_string(), host);
        }
        for host in ["ssh://x", "unix://relative", "tcp://", "tcp://nowhere", "", "/run/docker.sock"] {
            assert!(host.parse::<DockerHost>().is_err(), "{host}");
        }
    }
}
