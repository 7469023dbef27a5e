//! The program itself, with a listener of its own.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{World, soon, until};

/// `restock serve` in a world.
pub struct Program {
    pub address: String,
    log: Arc<Mutex<Vec<Value>>>,
    _child: Child,
}

impl Program {
    /// Starts it with further options. It may open as many files as `limit`, options of `ulimit`, says.
    pub async fn serve(world: &World, limit: &str, options: &[&str]) -> Self {
        let mut command = Command::new("/bin/sh");
        let serve = "serve --listen 127.0.0.1:0 --settle 0s --log-format json";
        command.args(["-c", &format!("ulimit {limit} && exec \"$0\" {serve} \"$@\"")]);
        command.arg(env!("CARGO_BIN_EXE_restock")).args(options).env_clear().env("PATH", world.path("bin"));
        command.env("HOME", world.path("home")).env("RESTOCK_APPS", world.path("apps"));
        command.env("RESTOCK_DATA", world.path("data"));
        command.env("RESTOCK_DOCKER_HOST", format!("unix://{}", world.path("engine.sock").display()));
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn({
            let log = log.clone();
            async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    log.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
                }
            }
        });
        let address = || {
            let log = log.lock().unwrap();
            log.iter().find_map(|line: &Value| Some(line["listen"].as_str()?.to_owned()))
        };
        let address = until("the address", address).await;
        Self { address, log, _child: child }
    }

    /// The answer to a request over a connection of its own; `head` is its first line without the version, and headers.
    pub async fn ask(&self, head: &str) -> String {
        let mut stream = soon("a connection", TcpStream::connect(&self.address)).await.unwrap();
        let (line, headers) =
            head.split_once("\r\n").map_or((head, String::new()), |(line, rest)| (line, format!("{rest}\r\n")));
        let request = format!("{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(head, stream.read_to_string(&mut answer)).await.unwrap();
        answer
    }

    /// The lines of the log so far; those that are not JSON as texts.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }
}
