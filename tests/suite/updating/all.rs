use std::time::Duration;

use serde_json::json;

use crate::world::{Options, World, until};

fn three() -> World {
    let world = World::new();
    for name in ["a", "b", "c"] {
        let image = format!("registry.test/{name}:1");
        world.app(name).service("web", &image).running();
        world.engine.publish(&image, &format!("{name} new"));
    }
    world
}

#[tokio::test]
async fn one_app_that_fails_does_not_stop_the_others() {
    let world = three();
    world.docker.on("b", "config", "fail 1 'yaml: line 1: no'");
    let restock = world.restock().await;
    let results = restock.post("/api/apps/update").await.ok();
    let told: Vec<_> = results.as_array().unwrap().iter().map(|result| result["app"].clone()).collect();
    assert_eq!(told, ["a", "b", "c"]);
    assert_eq!((&results[0]["outcome"], &results[2]["outcome"]), (&json!("updated"), &json!("updated")));
    assert_eq!((&results[1]["status"], &results[1]["code"]), (&json!(422), &json!("invalid_compose_file")));
}

#[tokio::test]
async fn only_those_that_are_named_are_updated_in_their_order() {
    let world = three();
    let restock = world.restock().await;
    let results = restock.post("/api/apps/update").body(r#"{"apps": ["c", "a"]}"#).await.ok();
    assert_eq!((&results[0]["app"], &results[1]["app"]), (&json!("c"), &json!("a")));
    assert!(world.docker.calls("b").is_empty());
    assert_eq!(restock.post("/api/apps/update").body(r#"{"apps": []}"#).await.ok(), json!([]));
}

#[tokio::test]
async fn no_more_than_allowed_are_worked_on_at_once() {
    let world = three();
    for app in ["a", "b", "c"] {
        world.docker.on(app, "pull", &format!("wait_for {app}"));
    }
    let restock = world.restock_with(Options { concurrency: 2, ..Options::default() }).await;
    let all = tokio::spawn(restock.post("/api/apps/update").into_future());
    world.docker.called("a", "pull").await;
    world.docker.called("b", "pull").await;
    assert!(world.docker.calls("c").is_empty());
    world.docker.allow("b");
    world.docker.called("c", "pull").await;
    world.docker.allow("c");
    world.docker.allow("a");
    let results = all.await.unwrap().ok();
    assert!(results.as_array().unwrap().iter().all(|result| result["outcome"] == "updated"), "{results}");
}

#[tokio::test]
async fn each_has_a_job_of_its_own_that_can_be_watched() {
    let world = three();
    let restock = world.restock().await;
    let reply = restock.post("/api/apps/update").header("prefer", "respond-async").await;
    assert_eq!(reply.status, 202);
    for started in reply.json().as_array().unwrap() {
        let id = started["job"].as_str().unwrap();
        assert_eq!(started["location"], format!("/api/jobs/{id}"));
        assert_eq!(restock.finished(id).await["outcome"], "updated");
    }
}

#[tokio::test]
async fn a_client_that_leaves_stops_none_of_them() {
    let world = three();
    world.docker.on("a", "pull", "wait_for a");
    let restock = world.restock_with(Options { concurrency: 1, ..Options::default() }).await;
    let all = tokio::spawn(restock.post("/api/apps/update").into_future());
    world.docker.called("a", "pull").await;
    all.abort();
    world.docker.allow("a");
    let image = |name: &str| world.engine.container(&format!("{name}-web-1")).unwrap().image_id;
    until("the last app", || (image("c") == crate::world::image_id("c new")).then_some(())).await;
    restock.idle().await;
    assert_eq!(restock.get("/api/history").await.ok().as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn apps_that_share_an_image_are_not_updated_at_the_same_time() {
    let world = World::new();
    for app in ["a", "b"] {
        world.app(app).service("web", "registry.test/shared:1").running();
    }
    let restock = world.restock().await;
    // The first time an app has to be resolved before it is known which images it uses, later it is known at once.
    for before_pull in [&["config"][..], &[]] {
        let done = world.docker.verbs("b").len();
        world.docker.on("a", "pull", "wait_for a");
        let a = restock.start_update("a").await;
        until("the pull of a", || (world.docker.verbs("a").len() == done + 2).then_some(())).await;
        let b = restock.start_update("b").await;
        until("what b does first", || (world.docker.verbs("b").len() == done + before_pull.len()).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(world.docker.verbs("b")[done..], *before_pull);
        world.docker.allow("a");
        for job in [a, b] {
            assert_eq!(restock.finished(&job).await["outcome"], "unchanged");
        }
        std::fs::remove_file(world.path("allowed/a")).unwrap();
    }
}
