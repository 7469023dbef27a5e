//! An engine of bytes: the test says what comes over each connection. Its lists it answers by itself, as empty.

use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::world::{World, soon};

pub struct RawEngine {
    requests: mpsc::Receiver<Connection>,
    accepting: JoinHandle<()>,
    socket: PathBuf,
}

pub struct Connection {
    stream: UnixStream,
    /// What has been read beyond the request's head.
    pub rest: Vec<u8>,
    pub head: String,
}

impl RawEngine {
    /// Takes the place of the world's engine.
    pub async fn instead_of(world: &World) -> Self {
        world.engine.go_away().await;
        let socket = world.path("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (sender, requests) = mpsc::channel(8);
        let accepting = tokio::spawn(async move {
            loop {
                let mut connection = Connection::read_head(listener.accept().await.unwrap().0).await;
                if connection.head.starts_with("GET /images/json ")
                    || connection.head.starts_with("GET /containers/json")
                {
                    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]").await;
                } else if connection.head.starts_with("GET /images/") && connection.head.contains("/json HTTP") {
                    connection
                        .write("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                        .await;
                } else {
                    sender.send(connection).await.unwrap();
                }
            }
        });
        Self { requests, accepting, socket }
    }

    /// The next request: its head is read.
    pub async fn request(&mut self) -> Connection {
        soon("a request", self.requests.recv()).await.unwrap()
    }

    /// Nobody listens any more.
    pub async fn vanish(self) {
        self.accepting.abort();
        assert!(self.accepting.await.unwrap_err().is_cancelled());
        std::fs::remove_file(&self.socket).unwrap();
    }
}

impl Connection {
    async fn read_head(stream: UnixStream) -> Self {
        let mut connection = Self { stream, rest: Vec::new(), head: String::new() };
        let end = loop {
            if let Some(at) = connection.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(connection.read().await, "no whole head");
        };
        connection.head = String::from_utf8(connection.rest.drain(..end).collect()).unwrap();
        connection
    }

    pub async fn write(&mut self, text: &str) {
        soon("a write", self.stream.write_all(text.as_bytes())).await.unwrap();
    }

    /// One chunk of a chunked body.
    pub async fn chunk(&mut self, text: &str) {
        self.write(&format!("{:x}\r\n{text}\r\n", text.len())).await;
    }

    /// Reads more into `rest`; false at the end.
    pub async fn read(&mut self) -> bool {
        soon("bytes", self.stream.read_buf(&mut self.rest)).await.is_ok_and(|read| read > 0)
    }

    /// Waits until the other end is gone.
    pub async fn ended(&mut self) {
        while self.read().await {}
    }
}
