//! What Docker's routes change of images in use is in the history, with who did it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Options, Service, WEB, World, image_id, soon};

const KEYS: &str = "0123456789abcdef-1\n0123456789abcdef-2 images\n";

async fn with_keys(world: &World) -> Service {
    world.restock_with(Options { keys: KEYS, ..Options::default() }).await
}

/// The history, once it has so many entries: an entry comes soon after the answer.
async fn history(restock: &Service, entries: usize) -> Vec<Value> {
    soon("the history", async {
        loop {
            let history = restock.get("/api/history").header("x-api-key", "0123456789abcdef-1").await.ok();
            let history = history.as_array().unwrap().clone();
            if history.len() >= entries {
                return history;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_tag_that_replaces_an_image_of_an_app_is_told_with_the_key_that_did_it() {
    let world = World::with_web();
    world.engine.publish("other:1", "other");
    let restock = with_keys(&world).await;
    let tag = restock.post("/images/other:1/tag?repo=registry.test/web&tag=1");
    assert_eq!(tag.header("x-api-key", "0123456789abcdef-2").await.status, 201);
    let history = history(&restock, 1).await;
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
    let changes: Vec<_> = history(&restock, 3)
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
    // The last change is recorded last, and is the only one.
    assert_eq!(restock.delete("/images/registry.test/web:1").await.status, 200);
    let history = history(&restock, 1).await;
    assert_eq!((history.len(), &history[0]["result"]["services"][0]["to"]), (1, &json!("")), "{history:?}");
}

#[tokio::test]
async fn an_update_that_uses_the_image_is_waited_for() {
    let world = World::with_web();
    world.engine.publish("other:1", "other");
    let restock = world.restock().await;
    let job = held_update(&world, &restock).await;
    let tag = tokio::spawn(restock.post("/images/other:1/tag?repo=registry.test/web&tag=1").send());
    tokio::task::yield_now().await;
    assert!(!world.engine.requests().iter().any(|request| request.contains("/tag")));
    world.docker.allow("go");
    assert_eq!(restock.finished(&job).await["outcome"], "unchanged");
    assert_eq!(crate::world::soon("the tag", tag).await.unwrap().status(), 201);
}

/// Begins an update that stays in its pull until the test allows `go`; it holds the images of the app.
async fn held_update(world: &World, restock: &Service) -> String {
    world.docker.on("web", "pull", "wait_for go");
    // The first update does not know its references before it has read them; the second locks them at once.
    world.docker.allow("go");
    restock.post("/api/apps/web/update").await.ok();
    std::fs::remove_file(world.path("allowed/go")).unwrap();
    let job = restock.start_update("web").await;
    crate::world::until("two pulls", || {
        (world.docker.verbs("web").iter().filter(|verb| *verb == "pull").count() == 2).then_some(())
    })
    .await;
    world.engine.requests();
    job
}

#[tokio::test]
async fn no_load_removal_or_prune_takes_an_image_away_from_an_update() {
    let world = World::with_web();
    let restock = world.restock().await;
    let job = held_update(&world, &restock).await;
    let waiting = [
        restock.delete("/images/registry.test/web:1"),
        restock.delete(&format!("/images/{}", image_id(&format!("{WEB} old")))),
        restock.post("/images/load").body(format!("{WEB} loaded")),
        restock.post("/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D"),
    ];
    let waiting = waiting.map(|request| tokio::spawn(request.send()));
    // What the update does not use is not waited for.
    world.engine.publish("other:1", "other");
    assert_eq!(restock.delete("/images/other:1").await.status, 200);
    restock.post("/images/prune").await;
    for request in world.engine.requests() {
        let read = request.starts_with("GET ") || request.contains("other:1") || request == "POST /images/prune";
        // A load has begun: its names come at its end.
        assert!(read || request == "POST /images/load", "{request}");
    }
    assert_eq!(world.engine.things(|things| things.names[WEB].clone()), image_id(&format!("{WEB} old")));
    world.docker.allow("go");
    restock.finished(&job).await;
    for request in waiting {
        soon("an answer", request).await.unwrap();
    }
}
