//! A database of the last version that knew one engine only.

use restock::domain::host::HostName;
use restock::usecases::settle::Left;
use serde_json::json;

use crate::world::{Options, WEB, World, image_id, repository};

/// A session that was begun when the database was made.
const COOKIE: &str = "restock_session=a4f60848cd51cabf68a069b49dc6df53076e870c47e7ae78924dd01209bc1b38";

#[tokio::test]
async fn history_settings_sessions_skips_and_an_open_job_survive() {
    let world = World::new();
    std::fs::create_dir_all(world.path("data")).unwrap();
    std::fs::copy(repository("fixtures/recorded/database/version-10.db"), world.path("data/restock.db")).unwrap();
    // What ran when its process died in the middle of the update of `shop`.
    world.app("web").service("web", WEB).running();
    world.app("shop").service("db", "registry.test/db:1").running();
    world.app("idle").service("x", "registry.test/x:1").running();
    world.engine.things(|things| drop(things.run("lone", "registry.test/lone:1").id.clone()));
    world.engine.publish("registry.test/db:1", "db new");

    let restock = world.restock_with(Options { login: Some(("me", "sesame")), ..Options::default() }).await;
    let get = |path: &str| restock.get(path).header("cookie", COOKIE);
    assert_eq!(restock.host.settle_all().await, Left::Nothing);
    let settled = get("/api/jobs/01M87V3AAKXMKASY7GTXWC8PXS").await.ok();
    assert_eq!(
        (&settled["outcome"], &settled["result"]["updated"]),
        (&json!("interrupted"), &json!(true)),
        "{settled}"
    );
    assert_eq!(world.engine.container("shop-db-1").unwrap().image_id, image_id("db new"));

    let history = get("/api/history").await.ok();
    let history: Vec<_> = history.as_array().unwrap().iter().map(|job| (&job["kind"], &job["outcome"])).collect();
    let past = ["update", "update", "container_update", "rollback", "update"].map(|kind| json!(kind));
    let outcomes = ["interrupted", "rolled_back", "updated", "rolled_back", "updated"].map(|outcome| json!(outcome));
    assert_eq!(history, past.iter().zip(&outcomes).collect::<Vec<_>>());
    let skips = get("/api/apps/web/skip").await.ok();
    assert!(skips.to_string().contains(&"a".repeat(64)), "{skips}");
    let schedule = get("/api/schedule").await.ok();
    assert_eq!((&schedule["apps"][0]["app"], &schedule["apps"][0]["schedule"]), (&json!("web"), &json!("30 4 * * *")));

    let store = &restock.host.service.store;
    assert_eq!(store.toggles("container").await.unwrap(), [("lone".to_owned(), "registry".to_owned())]);
    assert_eq!(store.bad_images("idle").await.unwrap().len(), 1);
    let moved = store.moved_back(&HostName::local()).await.unwrap();
    assert_eq!(moved["registry.test/x:1"].as_str(), image_id("registry.test/x:1 old"));
    assert_eq!(store.moved_back(&"nas".parse().unwrap()).await.unwrap().len(), 0);
}
