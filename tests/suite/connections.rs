//! The program's own listener, with more connections than it may have files.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::world::{World, soon};

/// A service, and its address. It may open as many files as `limit`, options of `ulimit`, says.
async fn serve(world: &World, limit: &str) -> (Child, String) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit {limit} && exec \"$0\" serve --listen 127.0.0.1:0 --settle 0s")]);
    command.arg(env!("CARGO_BIN_EXE_restock")).env_clear().env("PATH", world.path("bin"));
    command.env("HOME", world.path("home")).env("RESTOCK_APPS", world.path("apps"));
    command.env("RESTOCK_DATA", world.path("data"));
    command.env("RESTOCK_DOCKER_HOST", format!("unix://{}", world.path("engine.sock").display()));
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = soon("the address", async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it goes on");
            if let Some((_, rest)) = line.split_once("listen=") {
                return rest.split_whitespace().next().unwrap().to_owned();
            }
        }
    });
    let address = address.await;
    // What it logs from here on has to go somewhere.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, address)
}

/// The answer to a request over a connection of its own.
async fn ask(address: &str, request: &str) -> String {
    let mut stream = soon("a connection", TcpStream::connect(address)).await.unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(request, stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn connections_that_say_nothing_stop_nothing() {
    let files = restock::adapters::files::raise_limit();
    assert!(files > 4000, "this test needs a hard limit of open files above 4,000; it is {files}");
    // A soft limit, as systemd gives it, and a hard one.
    for limit in ["-S -n 1024", "-n 1024"] {
        let world = World::with_new_web();
        let (_child, address) = serve(&world, limit).await;
        let mut idle = Vec::new();
        for n in 0..1100 {
            let mut stream = soon("a connection", TcpStream::connect(&address)).await.unwrap();
            if n % 2 == 0 {
                // Where it had to make room already, the other end is gone.
                let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHos").await;
            }
            idle.push(stream);
        }
        for request in ["GET /health", "GET /api/apps"] {
            let answer = ask(&address, request).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{limit}: {request}: {answer}");
        }
        let updated = ask(&address, "POST /api/apps/web/update").await;
        assert!(updated.contains("\"outcome\":\"updated\""), "{limit}: {updated}");
    }
}

#[tokio::test]
async fn a_request_may_have_as_many_headers_as_the_engine_takes_and_names_one_host() {
    let world = World::with_web();
    let (_child, address) = serve(&world, "-S -n 1024").await;
    let many: String = (0..900).map(|n| format!("\r\nX-Meta-{n}: {n}")).collect();
    let answer = ask(&address, &format!("GET /health HTTP/1.1{many}\r\nX-Rest:")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = ask(&address, "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Rest:").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad_host"), "{answer}");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad_host"), "{answer}");
}
