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
    restock.host.service.stopping.cancel();
    assert!(soon("the end", body.next()).await.is_none());
    world.docker.all_ended().await;
}

#[tokio::test]
async fn readers_that_never_read_hold_bounded_memory_and_are_bounded() {
    let world = World::with_web();
    // 40 MB in long lines, of which nobody reads one; then it stays open.
    let flood = "i=0; while [ $i -lt 1000 ]; do printf '%040000d\\n' $i; i=$((i + 1)); done; touch flooded; hang";
    world.docker.on("web", "logs", flood);
    let restock = world.restock().await;
    let first = restock.get("/api/apps/web/logs?follow=true").send().await;
    crate::world::until("the flood", || world.path("apps/web/flooded").exists().then_some(())).await;
    world.docker.on("web", "logs", "echo 'web-1  | one'; hang");
    let mut others = Vec::new();
    for _ in 1..16 {
        let other = restock.get("/api/apps/web/logs?follow=true").send().await;
        assert_eq!(other.status(), 200);
        others.push(other);
    }
    let refused = restock.get("/api/apps/web/logs?follow=true").await;
    refused.problem(429, "too_many_readers");
    assert!(refused.headers.contains_key("retry-after"));
    drop(others);
    world.docker.on("web", "logs", "echo 'web-1  | one'; exit 0");
    soon("room for a reader", async {
        while restock.get("/api/apps/web/logs").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    // What was kept for the first is less than what was written, and it ends with the service.
    restock.host.service.stopping.cancel();
    let mut kept = 0;
    let mut body = first.into_body().into_data_stream();
    while let Some(line) = soon("the end", body.next()).await {
        kept += line.unwrap().len();
    }
    assert!(kept > 1 << 20 && kept <= 8 << 20, "{kept}");
    world.docker.all_ended().await;
}
