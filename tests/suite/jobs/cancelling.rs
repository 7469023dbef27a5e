use serde_json::json;

use crate::world::{WEB, World, image_id};

#[tokio::test]
async fn a_job_that_pulls_can_be_cancelled_and_leaves_everything_as_it_was() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "leave_a_grandchild; hang");
    let restock = world.restock().await;
    let waiting = tokio::spawn(restock.post("/api/apps/web/update").into_future());
    world.docker.called("web", "pull").await;
    let id = restock.get("/api/jobs").await.ok()[0]["id"].as_str().unwrap().to_owned();
    let job = restock.delete(&format!("/api/jobs/{id}")).await.ok();
    assert_eq!((&job["state"], &job["outcome"]), (&json!("finished"), &json!("cancelled")));
    assert_eq!(job["error"]["code"], "cancelled");
    waiting.await.unwrap().problem(409, "cancelled");
    assert_eq!(world.docker.verbs("web"), ["config", "pull"]);
    assert_eq!(world.engine.container("web-web-1").unwrap().image_id, image_id(&format!("{WEB} old")));
    assert!(world.engine.requests().iter().all(|request| request.starts_with("GET ")));
    world.docker.all_ended().await;
    // The app is free again.
    world.docker.on("web", "pull", "");
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "updated");
}

#[tokio::test]
async fn a_job_that_has_finished_cannot_be_cancelled() {
    let world = World::with_web();
    let restock = world.restock().await;
    let id = restock.post("/api/apps/web/update").await.ok()["job"].as_str().unwrap().to_owned();
    let problem = restock.delete(&format!("/api/jobs/{id}")).await.problem(409, "not_cancellable");
    assert!(problem["detail"].as_str().unwrap().contains("finished"), "{problem}");
    assert_eq!(restock.get(&format!("/api/jobs/{id}")).await.ok()["outcome"], "unchanged");
}

#[tokio::test]
async fn cancelling_twice_is_as_good_as_once() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "trap 'sleep 0.2; exit 1' TERM; hang & wait");
    let restock = world.restock().await;
    let id = restock.start_update("web").await;
    world.docker.called("web", "pull").await;
    let path = format!("/api/jobs/{id}");
    let (one, two) = tokio::join!(restock.delete(&path).into_future(), restock.delete(&path).into_future());
    assert_eq!((&one.ok()["outcome"], &two.ok()["outcome"]), (&json!("cancelled"), &json!("cancelled")));
}

#[tokio::test]
async fn a_job_that_waits_for_an_image_can_be_cancelled() {
    let world = World::new();
    for app in ["a", "b"] {
        world.app(app).service("web", "registry.test/shared:1").running();
    }
    let restock = world.restock().await;
    restock.post("/api/apps/update").await.ok();
    world.docker.on("a", "pull", "wait_for a");
    let a = restock.start_update("a").await;
    crate::world::until("the second pull of a", || (world.docker.verbs("a").len() == 4).then_some(())).await;
    let b = restock.start_update("b").await;
    let cancelled = restock.delete(&format!("/api/jobs/{b}")).await.ok();
    assert_eq!(cancelled["outcome"], "cancelled");
    world.docker.allow("a");
    restock.finished(&a).await;
}
