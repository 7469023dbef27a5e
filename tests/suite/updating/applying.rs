use serde_json::{Value, json};

use crate::world::{Life, WEB, World, image_id};

const UP: &str = "compose --progress json up -d --no-build --pull never";

/// An app of three services, each with its own image.
fn three() -> World {
    let world = World::new();
    let app = ["a", "b", "c"].iter().fold(world.app("web"), |app, name| app.service(name, &image(name)));
    app.running();
    world
}

fn image(service: &str) -> String {
    format!("registry.test/{service}:1")
}

fn id(world: &World, service: &str) -> String {
    world.engine.container(&format!("web-{service}-1")).unwrap().id
}

fn calls_that_change(world: &World) -> Vec<String> {
    let calls = world.docker.calls("web").into_iter();
    calls.filter(|call| !call.contains("config") && !call.contains(" pull ")).collect()
}

#[tokio::test]
async fn only_what_changed_is_recreated_and_told() {
    let world = three();
    let (a, b) = (id(&world, "a"), id(&world, "b"));
    world.engine.publish(&image("b"), "b new");
    let restock = world.restock().await;
    let result = restock.post("/api/apps/web/update").await.ok();
    let change = json!({
        "service": "b", "from": image_id("registry.test/b:1 old"), "to": image_id("b new"), "tag": "registry.test/b:1",
    });
    assert_eq!((&result["updated"], &result["outcome"]), (&json!(true), &json!("updated")));
    assert_eq!((&result["services"], &result["recreated"]), (&json!([change]), &json!([])));
    assert_eq!(calls_that_change(&world), [UP]);
    assert_eq!(id(&world, "a"), a);
    assert_ne!(id(&world, "b"), b);
    assert_eq!(world.engine.container("web-b-1").unwrap().image_id, image_id("b new"));
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "unchanged");
}

#[tokio::test]
async fn services_that_share_an_image_follow_together_sorted_by_name() {
    let world = World::new();
    world.app("web").service("worker", WEB).service("api", WEB).running();
    world.engine.publish(WEB, "web new");
    let restock = world.restock().await;
    let result = restock.post("/api/apps/web/update").await.ok();
    let names: Vec<_> = result["services"].as_array().unwrap().iter().map(|change| change["service"].clone()).collect();
    assert_eq!(names, ["api", "worker"]);
}

#[tokio::test]
async fn a_stopped_service_is_neither_started_nor_left_on_the_old_image() {
    let world = three();
    world.engine.change("web-c-1", |container| container.state = "exited".into());
    for service in ["b", "c"] {
        world.engine.publish(&image(service), &format!("{service} new"));
    }
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.ok();
    let create = "compose --progress json up --no-start --no-build --pull never --no-deps c";
    assert_eq!(calls_that_change(&world), [format!("{UP} --no-deps a b"), create.to_owned()]);
    let stopped = world.engine.container("web-c-1").unwrap();
    assert_eq!((stopped.image_id, stopped.state.as_str()), (image_id("c new"), "created"));
    assert_eq!(world.engine.container("web-b-1").unwrap().state, "running");
}

#[tokio::test]
async fn a_stopped_app_is_recreated_and_not_started() {
    let world = World::new();
    world.app("web").service("web", WEB).stopped();
    world.engine.publish(WEB, "web new");
    let restock = world.restock().await;
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "updated");
    assert_eq!(calls_that_change(&world), ["compose --progress json create --no-build --pull never"]);
    let container = world.engine.container("web-web-1").unwrap();
    assert_eq!((container.image_id, container.state.as_str()), (image_id("web new"), "created"));
}

#[tokio::test]
async fn a_service_in_another_s_namespace_follows_it() {
    let world = World::new();
    let side = json!({"image": "registry.test/side:1", "network_mode": "service:vpn"});
    world.app("web").service("vpn", "registry.test/vpn:1").service_with("side", side).running();
    world.engine.publish("registry.test/vpn:1", "vpn new");
    // What Compose does for a service whose namespace has a new owner.
    world.docker.on("web", "up", r#"say '{"id":"Container web-side-1","status":"Started"}'"#);
    let restock = world.restock().await;
    let result = restock.post("/api/apps/web/update").await.ok();
    assert_eq!(calls_that_change(&world), [UP]);
    assert_eq!(result["recreated"], json!([{"service": "side", "reason": "dependency"}]));
}

#[tokio::test]
async fn the_services_that_are_named_are_updated_and_no_others() {
    let world = three();
    ["a", "b"].iter().for_each(|service| world.engine.publish(&image(service), &format!("{service} new")));
    let restock = world.restock().await;
    let result = restock.post("/api/apps/web/update?service=b").await.ok();
    assert_eq!(result["services"][0]["service"], "b");
    assert_eq!(result["services"].as_array().unwrap().len(), 1);
    assert_eq!(calls_that_change(&world), [format!("{UP} --no-deps b")]);
    assert!(world.docker.calls("web").iter().any(|call| call.ends_with("pull --ignore-buildable b")));
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["services"][0]["service"], "a");
}

#[tokio::test]
async fn old_images_are_protected_before_anything_is_changed() {
    let world = World::with_new_web();
    world.docker.on("web", "up", "wait_for up");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "up").await;
    let kept = world.engine.things(|things| things.names.get(&format!("restock.local/keep/web/web:{job}")).cloned());
    assert_eq!(kept, Some(image_id(&format!("{WEB} old"))));
    world.docker.allow("up");
    restock.finished(&job).await;
}

#[tokio::test]
async fn protecting_names_that_have_expired_go_and_nothing_else_does() {
    let world = World::with_new_web();
    let (old, fresh) = ("restock.local/keep/web/web:01ARZ3NDEKTSV4RRFFQ69G5FAV", "restock.local/keep/web/web:other");
    let others =
        [fresh, "registry.test/unused:01ARZ3NDEKTSV4RRFFQ69G5FAV", "restock.local/keeper:01ARZ3NDEKTSV4RRFFQ69G5FAV"];
    for name in others.iter().chain([&old]) {
        world.engine.publish_with(name, name, Life::Runs);
    }
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.ok();
    let known = |name: &str| world.engine.things(|things| things.names.contains_key(name));
    assert!(!known(old) && others.iter().all(|name| known(name)));
}

#[tokio::test]
async fn volumes_of_the_manifest_are_ensured_before_up() {
    let world = World::new();
    let volumes = json!({"data": {"external": true, "name": "furtka_web_data"}});
    let app = world.app("web").service("web", WEB).key("volumes", volumes);
    app.file("manifest.json", r#"{"name": "web", "volumes": ["data", "config"]}"#).running();
    world.engine.publish(WEB, "web new");
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.ok();
    let requests = world.engine.requests();
    let created = requests.iter().filter(|request| *request == "POST /volumes/create").count();
    assert_eq!((created, world.engine.things(|things| things.volumes.len())), (2, 2));
}

#[tokio::test]
async fn a_one_shot_that_has_exited_with_zero_is_fine() {
    let world = World::new();
    let waits = json!({"image": WEB, "depends_on": {"init": {"condition": "service_completed_successfully"}}});
    world.engine.publish_with("registry.test/init:1", "init old", Life::Exits(0));
    world.app("web").service("init", "registry.test/init:1").service_with("web", waits).running();
    world.engine.publish_with("registry.test/init:1", "init new", Life::Exits(0));
    let restock = world.restock().await;
    let result: Value = restock.post("/api/apps/web/update").await.ok();
    assert_eq!((&result["outcome"], &result["services"][0]["service"]), (&json!("updated"), &json!("init")));
    assert_eq!(calls_that_change(&world), [UP]);
}

#[tokio::test]
async fn what_is_stopped_during_the_pull_is_not_started_again() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "wait_for web");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "pull").await;
    world.engine.change("web-web-1", |container| container.state = "exited".into());
    world.docker.allow("web");
    assert_eq!(restock.finished(&job).await["outcome"], "updated");
    let container = world.engine.container("web-web-1").unwrap();
    assert_eq!((container.image_id, container.state.as_str()), (image_id("web new"), "created"));
}

#[tokio::test]
async fn replicas_that_only_a_person_asked_for_are_missed_aloud() {
    let world = World::with_new_web();
    world.engine.things(|things| {
        let second = things.containers[0].clone();
        things.containers.push(crate::world::Container { id: "second".into(), name: "web-web-2".into(), ..second });
    });
    let restock = world.restock().await;
    let result = restock.post("/api/apps/web/update").await.ok();
    assert_eq!(result["outcome"], "updated", "{result}");
    let warning = result["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("`web` has 1 instead of 2 containers"), "{result}");
    let back = restock.post("/api/apps/web/rollback").await.ok();
    assert!(!back["warnings"].to_string().contains("instead of"), "{back}");
}
