//! The end of the service: streams end, work that has begun does not.

use restock::http::{Listener, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{World, soon};

async fn request(stream: &mut TcpStream, line: &str) {
    let text = format!("{line} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads until `end` has come.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    soon(end, async {
        while !String::from_utf8_lossy(&read).contains(end) {
            let mut chunk = [0; 4096];
            let length = stream.read(&mut chunk).await.unwrap();
            assert_ne!(length, 0, "it ended without `{end}`: {}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&chunk[..length]);
        }
    })
    .await;
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_stop_ends_streams_answers_what_was_asked_and_takes_nothing_new() {
    let world = World::with_new_web();
    world.docker.on("web", "up", "wait_for up");
    let restock = world.restock().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(serve(restock.http.clone(), Listener::Tcp(listener), 16));

    let mut events = TcpStream::connect(address).await.unwrap();
    request(&mut events, "GET /api/events").await;
    let mut update = TcpStream::connect(address).await.unwrap();
    request(&mut update, "POST /api/apps/web/update").await;
    world.docker.called("web", "up").await;
    read_to(&mut events, "event: step").await;

    restock.host.service.stopping.cancel();
    let mut rest = String::new();
    soon("the end of the events", events.read_to_string(&mut rest)).await.unwrap();
    restock.post("/api/apps/web/down").await.problem(503, "shutting_down");
    assert!(!served.is_finished(), "an answer is still owed");
    world.docker.allow("up");
    let answer = read_to(&mut update, "\"updated\"").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(update);
    soon("the end of the service", served).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_job_s_own_stream_ends_too() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "wait_for pull");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    let mut stream = restock.get(&format!("/api/jobs/{job}/events")).events().await;
    stream.next_called("job").await;
    restock.host.service.stopping.cancel();
    stream.rest().await;
    world.docker.allow("pull");
    restock.finished(&job).await;
}

#[tokio::test]
async fn drained_means_that_no_job_runs() {
    let world = World::with_new_web();
    world.docker.on("web", "up", "wait_for up");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "up").await;
    restock.host.service.stopping.cancel();
    let drained = tokio::spawn({
        let restock = restock.host.clone();
        async move { restock.service.jobs.drained().await }
    });
    world.docker.allow("up");
    soon("the end of every job", drained).await.unwrap();
    assert_eq!(restock.get(&format!("/api/jobs/{job}")).await.ok()["outcome"], "updated");
}
