//! A web server that answers as a test tells it and remembers what it was asked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

const TLS_HANDSHAKE: u8 = 0x16;

/// The digest of [`INDEX`].
pub fn index_digest() -> String {
    format!("sha256:{:x}", Sha256::digest(INDEX))
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a readable header"))
    }

    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    pub fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }
}

/// What the server says.
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
    delay: Duration,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::empty(), delay: Duration::ZERO }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The index, with the field that carries its digest.
    pub fn index() -> Self {
        Self::plain_index().with("docker-content-digest", index_digest())
    }

    /// The index from a registry that does not say the digest.
    pub fn plain_index() -> Self {
        Self::status(200).with("content-type", INDEX_TYPE).body(INDEX)
    }

    pub fn wants_basic() -> Self {
        Self::status(401).with("www-authenticate", r#"Basic realm="Registry""#)
    }

    pub fn wants_token(realm: &str) -> Self {
        let challenge = format!(r#"Bearer realm="{realm}",service="fake",scope="repository:user/image:pull""#);
        Self::status(401).with("www-authenticate", challenge)
    }

    pub fn token(token: &str) -> Self {
        Self::status(200).body(format!(r#"{{"token":"{token}","expires_in":300}}"#))
    }
}

type Handler = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// The server. It ends with the test's runtime.
pub struct Fake {
    pub address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone)]
struct Server {
    handler: Handler,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// Plain http on 127.0.0.1.
    pub async fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), handler).await
    }

    /// Plain http on another address of this machine.
    pub async fn start_at(address: IpAddr, handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (seen, router) = router(handler);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, scheme: "http", seen }
    }

    /// https on 127.0.0.1.
    pub async fn start_tls(
        config: rustls::ServerConfig,
        handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (seen, router) = router(handler);
        let listener = TlsListener { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, scheme: "https", seen }
    }

    /// The name of the registry in references.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// How many requests for a path, which may be only its beginning, arrived with a method.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method && seen.path.starts_with(path)).count()
    }

    pub fn manifest_requests(&self, method: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method && seen.is_manifest()).count()
    }
}

fn router(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> (Arc<Mutex<Vec<Seen>>>, Router) {
    let seen = Arc::default();
    let server = Server { handler: Arc::new(handler), seen: Arc::clone(&seen) };
    (seen, Router::new().fallback(answer).with_state(server))
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: to_bytes(body, 1024 * 1024).await.expect("a body"),
    };
    let answer = (server.handler)(&seen);
    server.seen.lock().expect("no panic").push(seen);
    tokio::time::sleep(answer.delay).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(answer.body).expect("an answer")
}

/// Accepts connections one after another, which is enough for tests. To plain http it answers as servers in Go do.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (mut stream, address) = self.listener.accept().await.expect("a connection");
            let mut first = [0];
            if stream.peek(&mut first).await.is_ok() && first != [TLS_HANDSHAKE] {
                let _ = stream
                    .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
                    .await;
                continue;
            }
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
