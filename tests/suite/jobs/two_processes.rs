//! Two Restocks on the same data, as the service and a command: they share locks and history, and nothing else.

use serde_json::json;

use crate::world::{Service, World};

/// One of them pulls until the test lets it go on.
async fn held() -> (World, Service, Service, String) {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "wait_for pull");
    let (one, other) = (world.restock().await, world.restock().await);
    let job = one.start_update("web").await;
    world.docker.called("web", "pull").await;
    (world, one, other, job)
}

#[tokio::test]
async fn an_update_joins_the_one_of_the_other_process() {
    let (world, one, other, job) = held().await;
    assert_eq!(other.start_update("web").await, job);
    let waiting = tokio::spawn(other.post("/api/apps/web/update").into_future());
    world.docker.allow("pull");
    let result = waiting.await.unwrap().ok();
    assert_eq!((&result["job"], &result["outcome"]), (&json!(job), &json!("updated")));
    assert_eq!(world.docker.verbs("web"), ["config", "pull", "up"]);
    one.finished(&job).await;
    assert_eq!(other.post("/api/apps/web/update").await.ok()["outcome"], "unchanged");
}

#[tokio::test]
async fn another_action_is_409_that_names_the_job_of_the_other_process() {
    let (world, one, other, job) = held().await;
    for action in ["rollback", "down"] {
        assert_eq!(other.post(&format!("/api/apps/web/{action}")).await.problem(409, "busy")["job"], job);
    }
    let problem = other.delete(&format!("/api/jobs/{job}")).await.problem(409, "not_cancellable");
    assert!(problem["detail"].as_str().unwrap().contains("another process"), "{problem}");
    world.docker.allow("pull");
    one.finished(&job).await;
}

#[tokio::test]
async fn a_job_of_the_other_process_is_seen_watched_and_remembered() {
    let (world, one, other, job) = held().await;
    assert_eq!(other.get(&format!("/api/jobs/{job}")).await.ok()["state"], "running");
    assert_eq!(other.get("/api/jobs").await.ok()[0]["id"], job);
    let watched = other.get(&format!("/api/jobs/{job}/events")).events().await;
    world.docker.allow("pull");
    let last = watched.rest().await.pop().unwrap();
    assert_eq!((last.event.as_str(), &last.data["outcome"]), ("result", &json!("updated")));
    one.finished(&job).await;
    assert_eq!(other.get("/api/history").await.ok()[0]["id"], job);
}

#[tokio::test]
async fn an_update_of_the_other_process_is_told_by_every_status() {
    let (world, one, other, job) = held().await;
    let container = world.engine.container("web-web-1").unwrap().id;
    let path = format!("/api/docker/local/containers/{container}/image_status");
    for restock in [&one, &other] {
        assert_eq!(restock.get("/api/apps/web/status").await.ok()["services"][0]["status"], "processing");
        assert_eq!(restock.get(&path).await.ok()["Status"], "processing");
    }
    world.docker.allow("pull");
    one.finished(&job).await;
    assert_ne!(other.get("/api/apps/web/status").await.ok()["services"][0]["status"], "processing");
}

#[tokio::test]
async fn the_other_process_can_roll_back_what_the_first_has_done() {
    let (world, one, other, job) = held().await;
    world.docker.allow("pull");
    one.finished(&job).await;
    assert_eq!(other.post("/api/apps/web/rollback").await.ok()["outcome"], "rolled_back");
}

#[tokio::test]
async fn both_at_once_are_one_update() {
    let world = World::with_new_web();
    let (one, other) = (world.restock().await, world.restock().await);
    let requests: Vec<_> = [&one, &other]
        .repeat(5)
        .iter()
        .map(|restock| tokio::spawn(restock.post("/api/apps/web/update").into_future()))
        .collect();
    for request in requests {
        request.await.unwrap().ok();
    }
    assert_eq!(world.docker.verbs("web").iter().filter(|verb| *verb == "up").count(), 1);
}

#[tokio::test]
async fn a_start_beside_a_running_process_settles_nothing_of_it() {
    let (world, one, other, job) = held().await;
    other.host.settle_all().await;
    other.idle().await;
    world.docker.allow("pull");
    assert_eq!(one.finished(&job).await["outcome"], "updated");
}
