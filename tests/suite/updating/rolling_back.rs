use std::time::Duration;

use restock::adapters::lock::Locks;
use serde_json::json;

use crate::world::{Life, Service, WEB, World, image_id};

fn old() -> String {
    image_id(&format!("{WEB} old"))
}

/// An app that has been updated.
async fn updated() -> (World, Service) {
    let world = World::with_new_web();
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.ok();
    world.engine.requests();
    (world, restock)
}

#[tokio::test]
async fn a_rollback_brings_back_what_ran_before_the_last_update() {
    let (world, restock) = updated().await;
    // The tag has moved on since.
    world.engine.publish(WEB, "web newer");
    let result = restock.post("/api/apps/web/rollback").await.ok();
    assert_eq!(result["outcome"], "rolled_back");
    assert_eq!(
        (&result["services"][0]["from"], &result["services"][0]["to"]),
        (&json!(image_id("web new")), &json!(old()))
    );
    assert!(result["warnings"][0].as_str().unwrap().contains("data is not rolled back"), "{result}");
    assert_eq!(world.engine.container("web-web-1").unwrap().image_id, old());
    assert_eq!(world.engine.things(|things| things.names[WEB].clone()), old(), "a manual `up` keeps it");
    restock.post("/api/apps/web/rollback").await.problem(409, "nothing_to_roll_back");
}

#[tokio::test]
async fn a_rollback_works_after_a_restart_of_the_service() {
    let (world, restock) = updated().await;
    drop(restock);
    let restock = world.restock().await;
    restock.post("/api/apps/web/rollback").await.ok();
    assert_eq!(world.engine.container("web-web-1").unwrap().image_id, old());
}

#[tokio::test]
async fn nothing_to_roll_back_to_is_409() {
    let world = World::with_web();
    let restock = world.restock().await;
    restock.post("/api/apps/web/rollback").await.problem(409, "nothing_to_roll_back");
    assert!(world.docker.all_calls().is_empty());
}

#[tokio::test]
async fn an_image_that_is_gone_for_good_is_409_and_nothing_is_touched() {
    let (world, restock) = updated().await;
    world.engine.things(|things| things.images.remove(&old()));
    let problem = restock.post("/api/apps/web/rollback").await.problem(409, "image_gone");
    assert!(problem["detail"].as_str().unwrap().contains(&old()), "{problem}");
    assert_eq!(world.engine.container("web-web-1").unwrap().image_id, image_id("web new"));
    assert_eq!(world.docker.verbs("web").iter().filter(|verb| *verb == "up").count(), 1);
}

#[tokio::test]
async fn a_rollback_that_does_not_work_is_taken_back() {
    let (world, restock) = updated().await;
    world.engine.things(|things| things.images.insert(old(), Life::Exits(1)));
    let problem = restock.post("/api/apps/web/rollback").await.problem(500, "rollback_failed");
    assert_eq!(problem["outcome"], "failed");
    let container = world.engine.container("web-web-1").unwrap();
    assert_eq!((container.image_id, container.state.as_str()), (image_id("web new"), "running"));
}

#[tokio::test]
async fn an_update_moves_on_again_after_a_rollback() {
    let (world, restock) = updated().await;
    restock.post("/api/apps/web/rollback").await.ok();
    world.engine.publish(WEB, "web newer");
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "updated");
    restock.post("/api/apps/web/rollback").await.ok();
    assert_eq!(world.engine.container("web-web-1").unwrap().image_id, old());
}

#[tokio::test]
async fn up_and_down_are_what_their_owner_would_type() {
    let world = World::new();
    world.app("web").service("web", WEB).absent();
    world.engine.publish(WEB, "web");
    let restock = world.restock().await;
    assert_eq!(restock.post("/api/apps/web/up").await.ok()["outcome"], "done");
    assert_eq!(restock.get("/api/apps/web").await.ok()["state"], "running");
    assert_eq!(restock.post("/api/apps/web/down").await.ok()["outcome"], "done");
    assert_eq!(restock.get("/api/apps/web").await.ok()["state"], "absent");
    let calls = world.docker.calls("web");
    for call in ["compose --progress json up -d", "compose --profile * --progress json down"] {
        assert!(calls.iter().any(|known| known == call), "{calls:#?}");
    }
    world.docker.on("web", "up", "fail 1 'port is already allocated'");
    let problem = restock.post("/api/apps/web/up").await.problem(500, "command_failed");
    assert!(problem["detail"].as_str().unwrap().contains("port is already allocated"), "{problem}");
}

/// `up` pulls what is missing, and nobody else may give the reference another meaning meanwhile.
#[tokio::test]
async fn up_is_the_only_writer_of_its_images() {
    let world = World::with_web();
    world.docker.on("web", "up", "wait_for up");
    let restock = world.restock().await;
    let up = tokio::spawn(restock.post("/api/apps/web/up").into_future());
    world.docker.called("web", "up").await;
    let (locks, images) = (Locks::new(&world.path("data")), [WEB.to_owned()].into());
    assert!(
        locks.images(&restock::domain::host::HostName::local(), &images, Duration::ZERO).await.is_err(),
        "somebody else could write"
    );
    world.docker.allow("up");
    assert_eq!(up.await.unwrap().ok()["outcome"], "done");
    let _other = locks.images(&restock::domain::host::HostName::local(), &images, Duration::ZERO).await.unwrap();
    assert_eq!(restock.post("/api/apps/web/down").await.ok()["outcome"], "done");
}
