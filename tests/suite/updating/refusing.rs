//! Updates that are refused before anything is touched.

use serde_json::{Value, json};

use crate::world::{Options, WEB, World};

async fn refused(world: &World, status: u16, code: &str) -> Value {
    let restock = world.restock().await;
    let before = world.engine.container("web-web-1").map(|container| container.id);
    let problem = restock.post("/api/apps/web/update").await.problem(status, code);
    assert_eq!(problem["app"], "web");
    assert_eq!(world.engine.container("web-web-1").map(|container| container.id), before);
    let verbs = world.docker.verbs("web");
    assert!(!verbs.iter().any(|verb| verb == "up" || verb == "create"), "{verbs:?}");
    problem
}

#[tokio::test]
async fn an_invalid_compose_file_is_422_with_what_compose_said() {
    for said in [
        "yaml: line 3: found character that cannot start any token",
        "validating /apps/web/compose.yaml: services.web additional properties 'imagee' not allowed",
        "error while interpolating services.web.image: required variable TAG is missing a value: set it in .env",
    ] {
        let world = World::with_new_web();
        world.docker.on("web", "config", &format!("fail 1 \"{said}\""));
        let problem = refused(&world, 422, "invalid_compose_file").await;
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
        assert_eq!(problem["stderr"], said);
    }
}

#[tokio::test]
async fn an_invalid_file_ends_a_pull_that_runs_beside_its_reading() {
    let world = World::with_new_web();
    let restock = world.restock().await;
    // The first update of an app resolves it before it pulls.
    restock.post("/api/apps/web/update").await.ok();
    let done = world.docker.verbs("web").len();
    world.docker.on("web", "config", "wait_for pull; fail 1 'yaml: line 3: no'");
    world.docker.on("web", "pull", "touch \"$world/allowed/pull\"; hang");
    restock.post("/api/apps/web/update").await.problem(422, "invalid_compose_file");
    assert_eq!(world.docker.verbs("web")[done..].len(), 2);
    world.docker.all_ended().await;
}

#[tokio::test]
async fn a_reply_that_nobody_understands_is_500_and_touches_nothing() {
    let world = World::with_new_web();
    world.docker.on("web", "config", "printf '\\377\\000'; exit 0");
    refused(&world, 500, "compose_protocol").await;
}

#[tokio::test]
async fn every_mistake_in_the_app_s_settings_is_told() {
    let world = World::new();
    let settings = json!({"auto_update": "sometimes", "health_timeout": "90", "rollback": "yes", "colour": "red",
        "schedule": "every night"});
    world.app("web").service("web", WEB).key("x-restock", settings).running();
    world.engine.publish(WEB, "web new");
    let problem = refused(&world, 422, "invalid_settings").await;
    for key in ["auto_update", "health_timeout", "rollback", "colour", "schedule", "`every night`", "write five fields"]
    {
        assert!(problem["detail"].as_str().unwrap().contains(key), "{problem}");
    }
}

#[tokio::test]
async fn a_paused_container_is_409_before_anything_is_run() {
    let world = World::with_new_web();
    world.engine.change("web-web-1", |container| container.state = "paused".into());
    let problem = refused(&world, 409, "paused").await;
    assert!(problem["hint"].as_str().unwrap().contains("docker unpause web-web-1"), "{problem}");
    assert!(world.docker.calls("web").is_empty());
}

#[tokio::test]
async fn containers_of_another_directory_s_project_are_left_alone() {
    let world = World::with_new_web();
    world.engine.change("web-web-1", |container| container.dir = "/somewhere/else".into());
    let problem = refused(&world, 409, "foreign_project").await;
    assert!(problem["detail"].as_str().unwrap().contains("/somewhere/else"), "{problem}");
    let restock = world.restock().await;
    for verb in ["up", "down"] {
        restock.post(&format!("/api/apps/web/{verb}")).await.problem(409, "foreign_project");
    }
    let shown = restock.get("/api/apps/web").await.ok();
    assert!(shown["error"].as_str().unwrap().contains("another directory"), "{shown}");
    assert!(world.engine.container("web-web-1").is_some());
}

#[tokio::test]
async fn an_external_volume_that_is_missing_is_told_and_not_made() {
    let world = World::new();
    world
        .app("web")
        .service("web", WEB)
        .key("volumes", json!({"d": {"external": true, "name": "elsewhere"}}))
        .running();
    world.engine.publish(WEB, "web new");
    let problem = refused(&world, 422, "missing_volume").await;
    assert!(problem["hint"].as_str().unwrap().contains("docker volume create elsewhere"), "{problem}");
    assert!(world.engine.things(|things| things.volumes.is_empty()));
    world.engine.things(|things| things.volumes.insert("elsewhere".into()));
    let restock = world.restock().await;
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "updated");
}

#[tokio::test]
async fn a_manifest_that_names_no_volume_is_422() {
    let world = World::new();
    world.app("web").service("web", WEB).file("manifest.json", r#"{"volumes": ["../x"]}"#).running();
    world.engine.publish(WEB, "web new");
    refused(&world, 422, "invalid_manifest").await;
    assert!(world.engine.things(|things| things.volumes.is_empty()));
}

#[tokio::test]
async fn an_app_that_contains_restock_is_409_and_half_a_project_never_happens() {
    let world = World::with_new_web();
    let own_container = Some(world.engine.container("web-web-1").unwrap().id);
    let restock = world.restock_with(Options { own_container, ..Options::default() }).await;
    for path in ["/api/apps/web/update", "/api/apps/web/up", "/api/apps/web/down"] {
        let problem = restock.post(path).await.problem(409, "contains_restock");
        assert!(problem["hint"].as_str().unwrap().contains("from outside"), "{problem}");
    }
    assert!(world.docker.verbs("web").iter().all(|verb| verb == "config"));
}
