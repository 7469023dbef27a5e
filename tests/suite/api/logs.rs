use futures_util::StreamExt;

use crate::world::{World, soon};

#[tokio::test]
async fn logs_are_the_lines_that_compose_prints() {
    let world = World::with_web();
    world.docker.on("web", "logs", "printf 'web-1  | one\\nweb-1  | t\\377o\\n'; exit 0");
    let restock = world.restock().await;
    let reply = restock.get("/api/apps/web/logs?tail=7").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "web-1  | one\nweb-1  | t\u{fffd}o\n"));
    assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
    let call = world.docker.calls("web").pop().unwrap();
    assert!(call.contains("logs") && call.contains("--tail 7") && !call.contains("--follow"), "{call}");
}

#[tokio::test]
async fn followed_logs_come_as_they_are_written_and_end_with_the_reader() {
    let world = World::with_web();
    world.docker.on("web", "logs", "echo 'web-1  | one'; hang");
    let restock = world.restock().await;
    let response = restock.get("/api/apps/web/logs?follow=true").send().await;
    let mut body = response.into_body().into_data_stream();
    assert_eq!(soon("a line", body.next()).await.unwrap().unwrap(), "web-1  | one\n");
    drop(body);
    world.docker.all_ended().await;
}

#[tokio::test]
async fn followed_logs_end_with_the_service() {
    let world = World::with_web();
    world.docker.on("web", "logs", "echo 'web-1  | one'; hang");
    let restock = world.restock().await;
    let response = restock.get("/api/apps/web/logs?follow=true").send().await;
    let mut body = response.into_body().into_data_stream();
    soon("a line", body.next()).await.unwrap().unwrap();
    restock.restock.stopping.cancel();
    assert!(soon("the end", body.next()).await.is_none());
    world.docker.all_ended().await;
}
