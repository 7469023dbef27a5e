//! Services that an update has to leave alone: Compose would fail on them, or move them to an older image.

use serde_json::{Value, json};

use crate::registry::fake::{Answer, Fake, index_digest};
use crate::world::{World, image_id};

const SHARED: &str = "registry.test/redis:7";
const OWN: &str = "registry.test/shop:1";

/// Two apps follow [`SHARED`]; both got the new image, and the owner of `a` has gone back. `shop` has a service of its
/// own, whose image is newer here.
async fn one_went_back(redis: Value, settings: Value) -> (World, crate::world::Service) {
    let world = World::new();
    world.app("a").service("redis", SHARED).running();
    world.app("shop").service_with("redis", redis).service("web", OWN).key("x-restock", settings).running();
    world.engine.publish(SHARED, "redis new");
    let restock = world.restock().await;
    for app in ["a", "shop"] {
        assert_eq!(restock.post(&format!("/api/apps/{app}/update")).await.ok()["outcome"], "updated");
    }
    restock.post("/api/apps/a/rollback").await.ok();
    assert_eq!(world.engine.things(|things| things.names[SHARED].clone()), image_id(&format!("{SHARED} old")));
    world.engine.publish(OWN, "shop new");
    (world, restock)
}

fn runs(world: &World, container: &str) -> (String, String) {
    let container = world.engine.container(container).unwrap();
    (container.id, container.image_id)
}

#[tokio::test]
async fn a_pass_never_moves_a_service_to_the_older_image_that_another_app_went_back_to() {
    let (world, restock) = one_went_back(json!({"image": SHARED}), json!({"auto_update": "local"})).await;
    let before = runs(&world, "shop-redis-1");
    assert_eq!(before.1, image_id("redis new"));
    let done = restock.post("/api/auto-update").await.ok();
    let reports = done["reports"].as_array().unwrap().iter();
    let told: Vec<_> = reports.map(|report| json!([report["Unit"], report["Updated"]])).collect();
    assert_eq!(told, [json!(["shop/redis", "false"]), json!(["shop/web", "true"])], "{done}");
    assert_eq!(runs(&world, "shop-web-1").1, image_id("shop new"));
    assert_eq!(runs(&world, "shop-redis-1"), before, "untouched");
}

#[tokio::test]
async fn neither_does_an_update_of_what_is_not_pulled_when_it_is_here() {
    let redis = json!({"image": SHARED, "pull_policy": "missing"});
    let (world, restock) = one_went_back(redis, json!({})).await;
    let before = runs(&world, "shop-redis-1");
    let result = restock.post("/api/apps/shop/update").await.ok();
    assert_eq!(result["skipped"], json!([{"service": "redis", "reason": "moved_back"}]), "{result}");
    assert_eq!((&result["outcome"], &result["services"][0]["service"]), (&json!("updated"), &json!("web")));
    assert_eq!(runs(&world, "shop-redis-1"), before, "untouched");
    // Nor does going back again.
    restock.post("/api/apps/shop/rollback").await.ok();
    assert_eq!(runs(&world, "shop-redis-1"), before, "untouched");
}

#[tokio::test]
async fn what_would_have_to_follow_and_get_the_older_image_stops_the_update() {
    let redis = json!({"image": SHARED, "pull_policy": "missing", "network_mode": "service:web"});
    let (world, restock) = one_went_back(redis, json!({})).await;
    let before = [runs(&world, "shop-redis-1"), runs(&world, "shop-web-1")];
    let problem = restock.post("/api/apps/shop/update").await.problem(409, "image_moved");
    assert_eq!(problem["service"], "redis", "{problem}");
    assert_eq!([runs(&world, "shop-redis-1"), runs(&world, "shop-web-1")], before, "untouched");
}

/// An app of `web`, whose image is newer here, and a `worker` that was never built since its image got another name.
fn with_missing_worker(worker: Value) -> World {
    let world = World::new();
    world.app("shop").service("web", OWN).service_with("worker", worker).running();
    world.engine.things(|things| things.names.remove("registry.test/worker:2"));
    world.engine.publish(OWN, "shop new");
    // As Compose does, which ends with the first service whose image it lacks.
    let up = "case $args in *--no-deps*worker* | *never) fail 1 'No such image: registry.test/worker:2' ;; esac";
    world.docker.on("shop", "up", up);
    world
}

#[tokio::test]
async fn a_service_whose_image_is_missing_is_told_and_holds_up_neither_update_nor_rollback() {
    let world = with_missing_worker(json!({"image": "registry.test/worker:2", "build": {"context": "."}}));
    let restock = world.restock().await;
    let before = runs(&world, "shop-worker-1");
    let result = restock.post("/api/apps/shop/update").await.ok();
    assert_eq!((&result["outcome"], &result["services"][0]["service"]), (&json!("updated"), &json!("web")));
    assert_eq!(result["skipped"], json!([{"service": "worker", "reason": "image_missing"}]), "{result}");
    restock.post("/api/apps/shop/rollback").await.ok();
    assert_eq!(runs(&world, "shop-web-1").1, image_id(&format!("{OWN} old")));
    assert_eq!(runs(&world, "shop-worker-1"), before, "untouched");
}

#[tokio::test]
async fn an_update_that_fails_is_taken_back_although_an_image_is_missing() {
    let world = with_missing_worker(json!({"image": "registry.test/worker:2", "build": {"context": "."}}));
    world.engine.publish_with(OWN, "shop bad", crate::world::Life::Exits(1));
    let restock = world.restock().await;
    restock.post("/api/apps/shop/update").await.problem(500, "rolled_back");
    assert_eq!(runs(&world, "shop-web-1").1, image_id(&format!("{OWN} old")));
}

#[tokio::test]
async fn a_missing_image_of_what_would_have_to_follow_stops_the_update() {
    let worker = json!({"image": "registry.test/worker:2", "build": {"context": "."}, "network_mode": "service:web"});
    let world = with_missing_worker(worker);
    let restock = world.restock().await;
    let before = runs(&world, "shop-web-1");
    let problem = restock.post("/api/apps/shop/update").await.problem(409, "image_missing");
    assert!(problem["hint"].as_str().unwrap().contains("docker compose build worker"), "{problem}");
    assert_eq!(runs(&world, "shop-web-1"), before, "untouched");
}

#[tokio::test]
async fn a_pass_leaves_what_its_registry_confirms_whatever_the_tag_means_here() {
    let registry = Fake::start(|_| Answer::index()).await;
    let redis = format!("{}/redis:7", registry.name());
    let world = World::new();
    world.app("shop").service("redis", &redis).service("web", OWN).running();
    for (container, policy) in [("shop-redis-1", "registry"), ("shop-web-1", "local")] {
        let label = ("restock.auto-update".to_owned(), policy.to_owned());
        world.engine.change(container, |container| container.labels.extend([label]));
    }
    let digest = format!("{}@{}", redis.rsplit_once(':').unwrap().0, index_digest());
    let images = json!([{"Id": image_id(&format!("{redis} old")), "RepoTags": [], "RepoDigests": [digest]}]);
    world.engine.answer_instead("/images/json?identity=1", 200, images);
    // As a person does who tries an older version of it somewhere else.
    world.engine.publish(&redis, "an older redis");
    world.engine.publish(OWN, "shop new");
    let restock = world.restock().await;
    let before = runs(&world, "shop-redis-1");
    let done = restock.post("/api/auto-update").await.ok();
    let reports = done["reports"].as_array().unwrap().iter();
    let told: Vec<_> = reports.map(|report| json!([report["Unit"], report["Updated"]])).collect();
    assert_eq!(told, [json!(["shop/redis", "false"]), json!(["shop/web", "true"])], "{done}");
    assert_eq!(runs(&world, "shop-redis-1"), before, "untouched");
}
