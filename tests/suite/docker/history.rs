//! What Docker's routes change of images in use is in the history, with who did it.

use serde_json::{Value, json};

use crate::world::{Options, Service, WEB, World, image_id};

const KEYS: &str = "0123456789abcdef-1\n0123456789abcdef-2 images\n";

async fn with_keys(world: &World) -> Service {
    world.restock_with(Options { keys: KEYS, ..Options::default() }).await
}

async fn history(restock: &Service) -> Vec<Value> {
    let history = restock.get("/api/history").header("x-api-key", "0123456789abcdef-1").await.ok();
    history.as_array().unwrap().clone()
}

#[tokio::test]
async fn a_tag_that_replaces_an_image_of_an_app_is_told_with_the_key_that_did_it() {
    let world = World::with_web();
    world.engine.publish("other:1", "other");
    let restock = with_keys(&world).await;
    let tag = restock.post("/images/other:1/tag?repo=registry.test/web&tag=1");
    assert_eq!(tag.header("x-api-key", "0123456789abcdef-2").await.status, 201);
    let history = history(&restock).await;
    assert_eq!(history.len(), 1, "{history:?}");
    let job = &history[0];
    assert_eq!((&job["kind"], &job["app"], &job["state"]), (&"image_change".into(), &"web".into(), &"finished".into()));
    assert_eq!(job["by"], "key 2 (this machine)");
    let old = image_id(&format!("{WEB} old"));
    let change = json!({"service": "web", "from": old, "to": image_id("other"), "tag": WEB});
    assert_eq!(job["result"]["services"], json!([change]));
}

#[tokio::test]
async fn loads_pulls_and_removals_are_told_as_well() {
    let world = World::with_web();
    world.app("later").service("db", "registry.test/db:1").absent();
    let restock = world.restock().await;
    let loaded = restock.post("/images/load").body(format!("{WEB} loaded")).await;
    assert!(loaded.text().contains("Loaded image"));
    restock.post("/images/create?fromImage=registry.test/db&tag=1").await;
    assert_eq!(restock.delete("/images/registry.test/web:1").await.status, 200);
    let changes: Vec<_> = history(&restock)
        .await
        .into_iter()
        .map(|job| (job["app"].clone(), job["by"].clone(), job["result"]["services"][0].clone()))
        .collect();
    let here = Value::from("this machine");
    let db = json!({"service": "db", "from": [], "to": image_id("pulled"), "tag": "registry.test/db:1"});
    let old = image_id(&format!("{WEB} old"));
    assert_eq!(
        changes[2],
        ("web".into(), here.clone(), json!({"service": "web", "from": old, "to": image_id("loaded"), "tag": WEB}))
    );
    assert_eq!(changes[1], ("later".into(), here.clone(), db));
    assert_eq!(
        changes[0],
        ("web".into(), here, json!({"service": "web", "from": image_id("loaded"), "to": "", "tag": WEB}))
    );
}

#[tokio::test]
async fn what_nobody_uses_and_what_stays_the_same_is_not() {
    let world = World::with_web();
    world.engine.publish("other:1", "other");
    let restock = world.restock().await;
    assert_eq!(restock.post("/images/other:1/tag?repo=mine&tag=1").await.status, 201);
    assert_eq!(restock.post("/images/registry.test/web:1/tag?repo=registry.test/web&tag=1").await.status, 201);
    assert_eq!(restock.post("/images/nobody/tag?repo=registry.test/web&tag=1").await.status, 404);
    assert_eq!(restock.delete("/images/mine:1").await.status, 200);
    assert_eq!(history(&restock).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_update_that_uses_the_image_is_waited_for() {
    let world = World::with_web();
    world.engine.publish("other:1", "other");
    world.docker.on("web", "pull", "wait_for go");
    let restock = world.restock().await;
    // The first update does not know its references before it has read them; the second locks them at once.
    world.docker.allow("go");
    restock.post("/api/apps/web/update").await.ok();
    std::fs::remove_file(world.path("allowed/go")).unwrap();
    let job = restock.start_update("web").await;
    crate::world::until("two pulls", || {
        (world.docker.verbs("web").iter().filter(|verb| *verb == "pull").count() == 2).then_some(())
    })
    .await;
    let tag = tokio::spawn(restock.post("/images/other:1/tag?repo=registry.test/web&tag=1").send());
    tokio::task::yield_now().await;
    assert!(!world.engine.requests().iter().any(|request| request.contains("/tag")));
    world.docker.allow("go");
    assert_eq!(restock.finished(&job).await["outcome"], "unchanged");
    assert_eq!(crate::world::soon("the tag", tag).await.unwrap().status(), 201);
}
