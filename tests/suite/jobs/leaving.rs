//! A client that goes away: the work it asked for goes on.

use serde_json::json;

use crate::world::World;

async fn leaves(verb: &str, accept: &str) {
    let world = World::with_new_web();
    world.docker.on("web", verb, "wait_for go");
    let restock = world.restock().await;
    let request = restock.post("/api/apps/web/update").header("accept", accept);
    let client = tokio::spawn(async move {
        let response = request.send().await;
        axum::body::to_bytes(response.into_body(), usize::MAX).await
    });
    world.docker.called("web", verb).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    world.docker.allow("go");
    restock.idle().await;
    let history = restock.get("/api/history").await.ok();
    assert_eq!((history.as_array().unwrap().len(), &history[0]["outcome"]), (1, &json!("updated")));
}

#[tokio::test]
async fn during_the_pull() {
    leaves("pull", "application/json").await;
}

#[tokio::test]
async fn during_up() {
    leaves("up", "application/json").await;
}

#[tokio::test]
async fn while_it_watched() {
    leaves("pull", "text/event-stream").await;
}
