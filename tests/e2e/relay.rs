//! Stands between Restock and an engine, one request a connection: it may answer in the engine's place, and keep an
//! answer back so that the program can be killed at that very moment.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::case::Case;

/// What becomes of a request.
#[derive(Clone)]
pub enum Act {
    Pass,
    /// The engine is not asked.
    Answer(Value),
    /// The engine is not asked, and nobody answers.
    Swallow,
    /// The engine does it, and nobody answers.
    LoseAnswer,
}

type Choose = dyn Fn(&str) -> Act + Send + Sync;

/// A socket beside the engine's.
pub struct Relay {
    socket: PathBuf,
    choose: Arc<Mutex<Arc<Choose>>>,
    held: Receiver<()>,
}

impl Relay {
    /// Lets everything pass for now.
    pub fn start(case: &Case) -> Self {
        let socket = case.root.path().join("relay.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let engine = PathBuf::from(case.world.docker_host.strip_prefix("unix://").unwrap());
        let choose: Arc<Mutex<Arc<Choose>>> = Arc::new(Mutex::new(Arc::new(|_: &str| Act::Pass)));
        let (tell, held) = channel();
        let chosen = choose.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (choose, engine, tell) = (chosen.lock().unwrap().clone(), engine.clone(), tell.clone());
                std::thread::spawn(move || drop(serve(client, &engine, &*choose, &tell)));
            }
        });
        Self { socket, choose, held }
    }

    /// From now on does with each request, `METHOD /path?query`, what `choose` says.
    pub fn choose(&self, choose: impl Fn(&str) -> Act + Send + Sync + 'static) {
        *self.choose.lock().unwrap() = Arc::new(choose);
    }

    /// Lets the engine say that it is Podman.
    pub fn pretend_podman(&self, case: &Case) {
        let said = case.docker(&["version", "--format", "{{json .Server}}"]);
        let mut version: Value = serde_json::from_str(&said).unwrap();
        version["Components"] = json!([{"Name": "Podman Engine", "Version": "4.3.1"}]);
        self.choose(move |asked| match asked {
            "GET /version" => Act::Answer(version.clone()),
            _ => Act::Pass,
        });
    }

    /// Waits until an answer is kept back.
    pub fn wait_until_held(&self) {
        self.held.recv_timeout(std::time::Duration::from_secs(90)).expect("a request that is kept back");
    }

    /// Its address, for `--docker-host`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

fn serve(mut client: UnixStream, engine: &Path, choose: &Choose, tell: &Sender<()>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head);
    let asked = text.lines().next().unwrap_or_default().rsplit_once(' ').map(|(asked, _)| asked.to_owned());
    match choose(&asked.unwrap_or_default()) {
        Act::Answer(value) => {
            let body = value.to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            write!(client, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
        Act::Swallow => hold(&mut client, tell),
        Act::LoseAnswer => {
            let mut engine = UnixStream::connect(engine)?;
            engine.write_all(&head)?;
            // Some of the answer: the engine has done it.
            engine.read_exact(&mut byte)?;
            hold(&mut client, tell)
        }
        Act::Pass => {
            let mut engine = UnixStream::connect(engine)?;
            engine.write_all(&head)?;
            let (mut from_client, mut to_engine) = (client.try_clone()?, engine.try_clone()?);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_engine);
                to_engine.shutdown(Shutdown::Write)
            });
            std::io::copy(&mut engine, &mut client)?;
            client.shutdown(Shutdown::Both)
        }
    }
}

/// Until the client is gone.
fn hold(client: &mut UnixStream, tell: &Sender<()>) -> std::io::Result<()> {
    // Nobody may be interested any more.
    let _ = tell.send(());
    std::io::copy(client, &mut std::io::sink()).map(drop)
}
