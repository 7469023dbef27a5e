//! Bodies on their way: whole, cut by either side, and without an engine.

use std::io;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;

use super::raw::RawEngine;
use crate::world::{World, soon};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
const PULL: &str = "/v1.41/images/create?fromImage=x&tag=1";

#[tokio::test]
async fn the_engine_gets_what_was_understood_and_no_key() {
    let world = World::new();
    let restock = world.restock().await;
    let mut engine = RawEngine::instead_of(&world).await;
    let pull = restock
        .post("/v1.41/images/create?fromImage=h:5000%2Fx;fromImage=y&tag=1")
        .header("x-registry-auth", "bG9naW4=")
        .header("x-meta-note", "n")
        .header("x-api-key", "0123456789abcdef")
        .header("authorization", "Bearer 0123456789abcdef")
        .header("cookie", "restock_session=x")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("fromImage=evil");
    assert_eq!(pull.await.status, 400, "the engine takes no semicolon");
    let pull = restock.post("/v1.41/images/create?fromImage=h:5000%2Fx&tag=1").header("x-registry-auth", "bG9naW4=");
    let pull = pull.header("x-meta-note", "n").header("x-api-key", "0123456789abcdef").header("cookie", "a=b");
    let pull = pull.header("content-type", "application/x-www-form-urlencoded").body("fromImage=evil").send();
    let asked = async {
        let mut connection = engine.request().await;
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nApi-Version: 1.41\r\n\r\n").await;
        connection.head
    };
    let (answer, head) = tokio::join!(pull, asked);
    assert_eq!(answer.headers()["api-version"], "1.41");
    assert!(head.starts_with("POST /v1.41/images/create?fromImage=h%3A5000%2Fx&tag=1 HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("x-registry-auth: bg9naw4=") && head.contains("x-meta-note: n"), "{head}");
    for word in ["0123456789abcdef", "cookie", "form"] {
        assert!(!head.contains(word), "{head}");
    }
}

#[tokio::test]
async fn without_an_engine_the_answer_is_503_in_its_shape() {
    let world = World::new();
    let restock = world.restock().await;
    world.engine.go_away().await;
    for (method, path) in [("GET", "/_ping"), ("GET", "/v1.41/images/json"), ("POST", PULL), ("DELETE", "/images/x")] {
        let reply = restock.request(method, path).await;
        assert_eq!((reply.status, &reply.headers["content-type"]), (503, &"application/json".parse().unwrap()));
        assert!(reply.json()["message"].as_str().unwrap().contains("cannot be reached"), "{path}");
    }
}

#[tokio::test]
async fn messages_pass_as_they_come_and_an_engine_that_dies_ends_them_with_an_error() {
    let world = World::new();
    let restock = world.restock().await;
    let mut engine = RawEngine::instead_of(&world).await;
    let (answer, mut connection) = tokio::join!(restock.post(PULL).send(), async {
        let mut connection = engine.request().await;
        connection.write(CHUNKED).await;
        connection.chunk("{\"status\":\"one\"}\r\n").await;
        connection
    });
    let mut body = answer.into_body();
    // The engine is in the middle of its answer, and still what it said is here.
    let first = soon("a message", body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "{\"status\":\"one\"}\r\n");
    connection.chunk("{\"status\":\"two\"}\r\n{\"stat").await;
    drop(connection);
    let rest = soon("the end", body.collect()).await.unwrap().to_bytes();
    let messages = serde_json::Deserializer::from_slice(&rest).into_iter::<Value>().collect::<Result<Vec<_>, _>>();
    let messages = messages.unwrap();
    assert_eq!((messages.len(), &messages[0]), (2, &json!({"status": "two"})));
    let error = messages[1]["error"].as_str().unwrap();
    assert!(error.contains("broke off") && messages[1]["errorDetail"]["message"] == error, "{messages:?}");
    world_lives(&world, engine, &restock).await;
}

async fn world_lives(world: &World, engine: RawEngine, restock: &crate::world::Service) {
    engine.vanish().await;
    world.engine.come_back();
    restock.get("/images/json").await.ok();
}

#[tokio::test]
async fn an_archive_that_breaks_off_is_no_whole_archive() {
    let world = World::new();
    let restock = world.restock().await;
    let mut engine = RawEngine::instead_of(&world).await;
    let (answer, connection) = tokio::join!(restock.get("/images/x/get").send(), async {
        let mut connection = engine.request().await;
        connection.write(&CHUNKED.replace("json", "x-tar")).await;
        connection.chunk("half of a tar").await;
        connection
    });
    assert_eq!(answer.headers()["content-type"], "application/x-tar");
    let mut body = answer.into_body();
    assert_eq!(soon("bytes", body.frame()).await.unwrap().unwrap().into_data().unwrap(), "half of a tar");
    drop(connection);
    assert!(soon("the end", body.collect()).await.is_err());
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_work_at_the_engine() {
    let world = World::new();
    let restock = world.restock().await;
    let mut engine = RawEngine::instead_of(&world).await;
    // While it waits for the first word, and in the middle.
    let early = tokio::spawn(restock.post(PULL).send());
    let mut connection = engine.request().await;
    early.abort();
    connection.ended().await;
    for path in ["/images/x/get", "/images/get?names=x"] {
        let (answer, mut connection) = tokio::join!(restock.get(path).send(), async {
            let mut connection = engine.request().await;
            connection.write(CHUNKED).await;
            connection.chunk("{}\r\n").await;
            connection
        });
        drop(answer);
        connection.ended().await;
    }
    let (answer, mut connection) = tokio::join!(restock.post(PULL).send(), async {
        let mut connection = engine.request().await;
        connection.write(CHUNKED).await;
        connection.chunk("{}\r\n").await;
        connection
    });
    drop(answer);
    connection.ended().await;
}

/// A part of an archive that is longer than what is held back of its end.
fn part() -> Bytes {
    format!("first part{}", ".".repeat(32 << 10)).into()
}

#[tokio::test]
async fn an_upload_passes_while_it_comes_and_ends_with_its_client() {
    let world = World::new();
    let restock = world.restock().await;
    let mut engine = RawEngine::instead_of(&world).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
    let body = Body::from_stream(ReceiverStream::new(receiver));
    let load = tokio::spawn(restock.post("/images/load?quiet=1").body(body).send());
    sender.send(Ok(part())).await.unwrap();
    sender.send(Ok(part())).await.unwrap();
    let mut connection = engine.request().await;
    assert!(connection.head.to_lowercase().contains("content-type: application/x-tar"), "{}", connection.head);
    while !String::from_utf8_lossy(&connection.rest).contains("first part") {
        assert!(connection.read().await);
    }
    sender.send(Err(io::Error::other("the client is gone"))).await.unwrap();
    connection.ended().await;
    assert!(!String::from_utf8_lossy(&connection.rest).ends_with("0\r\n\r\n"), "the engine must not take it for whole");
    let answer = soon("an answer", load).await.unwrap();
    assert_eq!(answer.status(), 400);
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&said).unwrap(), json!({"message": "the request's body broke off"}));
}

#[tokio::test]
async fn a_body_that_breaks_off_after_the_engine_began_to_answer_is_the_client_s_as_well() {
    let world = World::new();
    let restock = world.restock().await;
    let mut engine = RawEngine::instead_of(&world).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
    let body = Body::from_stream(ReceiverStream::new(receiver));
    let load = tokio::spawn(restock.post("/images/load").body(body).send());
    sender.send(Ok(part())).await.unwrap();
    sender.send(Ok(part())).await.unwrap();
    let mut connection = engine.request().await;
    connection.write(CHUNKED).await;
    connection.chunk("{\"status\":\"one\"}\r\n").await;
    let answer = soon("an answer", load).await.unwrap();
    sender.send(Err(io::Error::other("a bad chunk"))).await.unwrap();
    connection.ended().await;
    drop(connection);
    let said = soon("the end", answer.into_body().collect()).await.unwrap().to_bytes();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("the request's body broke off") && !said.contains("engine"), "{said}");
}

#[tokio::test]
async fn an_engine_that_dies_during_an_upload_is_told() {
    let world = World::new();
    let restock = world.restock().await;
    let mut engine = RawEngine::instead_of(&world).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
    let body = Body::from_stream(ReceiverStream::new(receiver));
    let load = tokio::spawn(restock.post("/images/load").body(body).send());
    sender.send(Ok(part())).await.unwrap();
    sender.send(Ok(part())).await.unwrap();
    drop(engine.request().await);
    assert_eq!(soon("an answer", load).await.unwrap().status(), 503);
}

#[tokio::test]
async fn pulls_of_one_reference_run_side_by_side_and_each_tells_its_progress() {
    let world = World::new();
    let restock = world.restock().await;
    let mut engine = RawEngine::instead_of(&world).await;
    let mut pulls = Vec::new();
    // None ends before all have begun and told something.
    for _ in 0..3 {
        let (answer, mut connection) = tokio::join!(restock.post(PULL).send(), async {
            let mut connection = engine.request().await;
            connection.write(CHUNKED).await;
            connection
        });
        connection.chunk("{\"status\":\"one\"}\r\n").await;
        let mut body = answer.into_body();
        let first = soon("a message", body.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "{\"status\":\"one\"}\r\n");
        pulls.push((body, connection));
    }
    for (body, mut connection) in pulls {
        connection.write("0\r\n\r\n").await;
        soon("the end", body.collect()).await.unwrap();
    }
}
