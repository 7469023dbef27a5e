//! Serves the routes until the service is told to stop.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Answering, Connections, Place};
use super::router::router;
use super::state::Http;
use crate::adapters::task;

/// How long a request's head may take, from the connection's beginning or the end of the last answer. So it is also how
/// long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The engine takes any number of headers below 1 MiB, hyper by itself 100. Room for them is taken for each request.
const MAX_HEADERS: usize = 1000;
/// How long to wait after the machine refused a connection: it has no files left, or no memory.
const REFUSED: Duration = Duration::from_millis(200);
/// How long a connection that has to end may take to write what it has left.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// What the service listens on.
pub enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// Answers requests, over at most `most` connections at once, until `http.restock.service.stopping` fires and the answers under
/// way are written.
pub async fn serve(http: Http, listener: Listener, most: usize) {
    let server = Server {
        stopping: http.restock.service.stopping.clone(),
        routes: router(http),
        connections: Connections::new(most),
        tasks: TaskTracker::new(),
    };
    tokio::select! {
        () = server.accept_all(&listener) => {}
        () = server.stopping.cancelled() => {}
    }
    drop(listener);
    server.tasks.close();
    server.tasks.wait().await;
}

struct Server {
    stopping: CancellationToken,
    routes: Router,
    connections: Arc<Connections>,
    tasks: TaskTracker,
}

impl Server {
    async fn accept_all(&self, listener: &Listener) {
        loop {
            // First a place, then the connection: one that cannot be served stays in the system's queue.
            let place = self.connections.place().await;
            let accepted = match listener {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                    // An answer is written whole; waiting for more to send only delays it.
                    let _ = stream.set_nodelay(true);
                    self.carry(stream, Some(peer), place);
                }),
                Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| self.carry(stream, None, place)),
            };
            match accepted {
                Err(error) if !is_of_one_connection(&error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    tokio::time::sleep(REFUSED).await;
                }
                _ => {}
            }
        }
    }

    /// Serves one connection, in a task of its own.
    fn carry<S>(&self, stream: S, peer: Option<SocketAddr>, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (routes, stopping) = (TowerToHyperService::new(self.routes.clone()), self.stopping.clone());
        let carried = async move {
            let service = service_fn(|request: hyper::Request<Incoming>| {
                let answering = place.answering();
                let mut request = request.map(Body::new);
                if let Some(peer) = peer {
                    request.extensions_mut().insert(ConnectInfo(peer));
                }
                let answer = routes.call(request);
                async move { answer.await.map(|response| response.map(|body| Answer { body, _answering: answering })) }
            });
            let mut connection = http1::Builder::new();
            connection.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(MAX_HEADERS);
            let mut connection = std::pin::pin!(connection.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                // What ends a connection early is the client's doing.
                _ = connection.as_mut() => return,
                () = place.slot.close.cancelled() => {}
                () = stopping.cancelled() => {}
            }
            connection.as_mut().graceful_shutdown();
            while tokio::time::timeout(LAST_BYTES, connection.as_mut()).await.is_err() {
                // It is not waited for the rest of a head.
                if place.slot.idle_since().is_some_and(|since| since.elapsed() >= LAST_BYTES) {
                    return;
                }
            }
        };
        task::background("connection", self.tasks.track_future(carried));
    }
}

/// Returns whether the client was gone before its connection was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// An answer's body; while it is there its connection is not idle.
struct Answer {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
