//! An engine of bytes: it takes one connection at a time, and the test says what comes over it.

use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::world::{World, soon};

pub struct RawEngine {
    listener: Option<UnixListener>,
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
        Self { listener: Some(UnixListener::bind(&socket).unwrap()), socket }
    }

    /// The next request: its head is read.
    pub async fn request(&self) -> Connection {
        let (stream, _) = soon("a connection", self.listener.as_ref().unwrap().accept()).await.unwrap();
        let mut connection = Connection { stream, rest: Vec::new(), head: String::new() };
        let end = loop {
            if let Some(at) = connection.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(connection.read().await, "no whole head");
        };
        connection.head = String::from_utf8(connection.rest.drain(..end).collect()).unwrap();
        connection
    }

    /// Nobody listens any more.
    pub fn vanish(&mut self) {
        self.listener = None;
        std::fs::remove_file(&self.socket).unwrap();
    }
}

impl Connection {
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
        while self.read().await {
            self.rest.clear();
        }
    }
}
