//! A connection to the engine for one request.
//!
//! None is kept for the next: on a socket of this machine a new one costs some 50 µs, and one that was kept may have
//! gone away when it is needed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::BollardRequest;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use hyper::Response;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::error::with_causes;
use super::host::DockerHost;
use crate::adapters::task;

/// How long an engine may take to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection to a remote engine may be silent before it is asked whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How often it is asked before it counts as gone.
const KEEPALIVE_RETRIES: u32 = 3;

type RequestBody = <BollardRequest as BodyOf>::Body;

/// Names the body of bollard's requests, which bollard itself does not.
trait BodyOf {
    type Body;
}

impl<B> BodyOf for hyper::Request<B> {
    type Body = B;
}

/// Moves the bytes of a connection whenever it is polled; ends with the connection.
type Movement = BoxFuture<'static, ()>;

/// A connection that has carried nothing yet.
pub(super) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    movement: Movement,
}

impl Connection {
    /// Connects to an engine.
    pub(super) async fn open(host: &DockerHost) -> io::Result<Self> {
        let open = async {
            match host {
                DockerHost::Unix(path) => Self::over(UnixStream::connect(path).await?).await.map_err(io::Error::other),
                DockerHost::Tcp(address) => {
                    let stream = TcpStream::connect(address.as_str()).await?;
                    keep_alive(&stream)?;
                    Self::over(stream).await.map_err(io::Error::other)
                }
            }
        };
        let late = || {
            let text = format!("it accepted no connection within {} s", CONNECT_DEADLINE.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, text)
        };
        tokio::time::timeout(CONNECT_DEADLINE, open).await.unwrap_or_else(|_| Err(late()))
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, String> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
        // What ends a connection early reaches the request or the answer's body, whichever is under way.
        Ok(Self { sender, movement: connection.map(drop).boxed() })
    }

    /// Sends the request; the connection then moves by itself.
    pub(super) async fn send(self, request: BollardRequest) -> Result<Response<Incoming>, String> {
        let Self { mut sender, movement } = self;
        task::spawn("engine connection", movement);
        sender.send_request(request).await.map_err(words)
    }

    /// Sends the request; whoever reads the answer moves the connection.
    pub(super) async fn carry(self, request: BollardRequest) -> Result<Response<Carried>, String> {
        let Self { mut sender, movement } = self;
        let mut movement = Some(movement);
        let mut answer = std::pin::pin!(sender.send_request(request).map_err(words));
        let answer = std::future::poll_fn(|context| {
            advance(&mut movement, context);
            answer.as_mut().poll(context)
        });
        Ok(answer.await?.map(|body| Carried { movement, body }))
    }
}

fn advance(movement: &mut Option<Movement>, context: &mut Context<'_>) {
    if movement.as_mut().is_some_and(|movement| movement.poll_unpin(context).is_ready()) {
        *movement = None;
    }
}

/// An answer's body that carries its connection along.
///
/// A connection with a task of its own hands each chunk over to the reader's task, which mostly means to wake another
/// thread: for an image's archive, in chunks of 32 KiB, that costs more than the copying. Dropping the body closes the
/// connection.
pub struct Carried {
    movement: Option<Movement>,
    body: Incoming,
}

impl Body for Carried {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        // First, because to ask for a frame is what lets the connection read one.
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        advance(&mut this.movement, context);
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An engine whose machine lost its power never says so.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    stream.set_nodelay(true)
}

fn words(error: impl std::error::Error) -> String {
    with_causes(&error)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

    /// An answer that is carried, and the engine's end of its connection.
    async fn carried() -> (Carried, UnixStream) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let engine = UnixListener::bind(&path).unwrap();
        let answer = async {
            let (mut stream, _) = engine.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            stream.write_all(HEAD).await.unwrap();
            stream
        };
        let ask = async {
            let request = hyper::Request::get("/").body(bollard::body_full(Bytes::new())).unwrap();
            let connection = Connection::open(&DockerHost::Unix(path)).await.unwrap();
            connection.carry(request).await.unwrap().into_body()
        };
        tokio::join!(ask, answer)
    }

    #[tokio::test]
    async fn what_comes_later_wakes_the_reader() {
        let (mut body, mut engine) = carried().await;
        let late = async {
            for piece in [&b"3\r\nabc\r\n"[..], b"2\r\nde\r\n", b"0\r\n\r\n"] {
                tokio::task::yield_now().await;
                engine.write_all(piece).await.unwrap();
            }
        };
        let (read, ()) = tokio::join!(BodyExt::collect(&mut body), late);
        assert_eq!(read.unwrap().to_bytes(), "abcde");
    }

    #[tokio::test]
    async fn an_engine_that_breaks_off_is_an_error_and_not_the_end() {
        let (mut body, mut engine) = carried().await;
        engine.write_all(b"3\r\nabc\r\n").await.unwrap();
        drop(engine);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_wants_closes_its_connection() {
        let (body, mut engine) = carried().await;
        drop(body);
        assert_eq!(engine.read(&mut [0; 16]).await.unwrap(), 0);
    }
}
