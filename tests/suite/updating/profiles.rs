//! Services of profiles: those that run are updated, those that do not are left alone.

use serde_json::json;

use crate::world::{World, image_id};

const DEBUG: &str = "registry.test/debug:1";

/// `config` shows the service `debug` only when its profile is switched on.
fn world(debug_runs: bool) -> World {
    let world = World::new();
    let debug = json!({"image": DEBUG, "profiles": ["debug"]});
    let app = world.app("web").service("web", "registry.test/web:1").service_with("debug", debug);
    app.file("without.json", r#"{"name": "web", "services": {"web": {"image": "registry.test/web:1"}}}"#).running();
    world.docker.on("web", "config", "case $args in *--profile*) ;; *) cat without.json; exit ;; esac");
    if !debug_runs {
        world.engine.things(|things| things.containers.retain(|container| container.service != "debug"));
    }
    world.engine.publish(DEBUG, "debug new");
    world
}

#[tokio::test]
async fn a_profile_that_a_running_service_belongs_to_is_switched_on() {
    let world = world(true);
    let restock = world.restock().await;
    let result = restock.post("/api/apps/web/update").await.ok();
    assert_eq!((&result["outcome"], &result["services"][0]["service"]), (&json!("updated"), &json!("debug")));
    assert_eq!(world.engine.container("web-debug-1").unwrap().image_id, image_id("debug new"));
    let calls = world.docker.calls("web");
    let pulled = |what: &str| {
        let pull = format!("pull --ignore-buildable{what}");
        let calls = world.docker.calls("web");
        calls.iter().filter(|call| call.contains("--profile debug") && call.ends_with(&pull)).count()
    };
    assert_eq!((pulled(""), pulled(" debug")), (1, 0), "{calls:#?}");
    assert!(calls.iter().any(|call| call.contains("--profile debug") && call.contains(" up -d ")), "{calls:#?}");
    // From then on the project is resolved beside the pull, and only what that did not see is pulled after it.
    world.engine.publish(DEBUG, "debug newer");
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "updated");
    assert_eq!((pulled(""), pulled(" debug")), (1, 1));
}

#[tokio::test]
async fn what_reads_sees_the_profiles_that_an_update_works_on() {
    let world = world(true);
    let restock = world.restock().await;
    let services = |value: &serde_json::Value| {
        let services = value["services"].as_array().unwrap().iter();
        services.map(|service| service["service"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(services(&restock.get("/api/apps/web/status").await.ok()), ["debug", "web"]);
    let shown = restock.get("/api/apps/web").await.ok();
    assert_eq!((shown["services"].as_array().unwrap().len(), &shown["state"]), (2, &json!("running")), "{shown}");
}

#[tokio::test]
async fn a_profile_that_nothing_runs_of_is_neither_pulled_nor_started() {
    let world = world(false);
    let restock = world.restock().await;
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "unchanged");
    assert!(world.docker.calls("web").iter().all(|call| !call.contains("--profile")));
    assert!(world.engine.container("web-debug-1").is_none());
}

#[tokio::test]
async fn up_and_logs_see_the_profiles_that_run() {
    let world = world(true);
    let restock = world.restock().await;
    restock.post("/api/apps/web/up").await.ok();
    restock.get("/api/apps/web/logs").await.text();
    let calls = world.docker.calls("web");
    assert!(calls.contains(&"compose --profile debug --progress json up -d".to_owned()), "{calls:#?}");
    assert!(calls.iter().any(|call| call.starts_with("compose --profile debug logs ")), "{calls:#?}");
}

#[tokio::test]
async fn up_and_logs_leave_a_profile_alone_that_nothing_runs_of() {
    let world = world(false);
    let restock = world.restock().await;
    restock.get("/api/apps/web/logs").await.text();
    restock.post("/api/apps/web/up").await.ok();
    assert!(world.docker.calls("web").iter().all(|call| !call.contains("--profile")));
}

/// Also of those that are stopped: `down` leaves nothing of the project.
#[tokio::test]
async fn down_is_for_the_services_of_every_profile() {
    let world = world(true);
    let restock = world.restock().await;
    restock.post("/api/apps/web/down").await.ok();
    let calls = world.docker.calls("web");
    assert_eq!(calls.last().unwrap(), "compose --profile * --progress json down", "{calls:#?}");
}

/// Profiles of the command line take the place of `COMPOSE_PROFILES`, so those have to be named as well.
#[tokio::test]
async fn profiles_of_the_environment_count_also_when_another_one_runs() {
    const PROD: &str = "registry.test/web:1";
    let world = World::new();
    let of = |image: &str, profile: &str| json!({"image": image, "profiles": [profile]});
    let app = world.app("web").service_with("web", of(PROD, "prod")).service_with("debug", of(DEBUG, "debug"));
    let only = |name: &str, image, profile| json!({"name": "web", "services": {name: of(image, profile)}}).to_string();
    app.file("prod.json", &only("web", PROD, "prod")).file("debug.json", &only("debug", DEBUG, "debug")).running();
    // `COMPOSE_PROFILES=prod` in `.env`.
    let config = r#"
        case $args in
            *--profile\ \** | *--profile\ debug\ --profile\ prod*) ;;
            *--profile\ debug*) cat debug.json; exit ;;
            *) cat prod.json; exit ;;
        esac"#;
    world.docker.on("web", "config", config);
    world.engine.publish(PROD, "web new");
    world.engine.publish(DEBUG, "debug new");
    let restock = world.restock().await;
    let status = restock.get("/api/apps/web/status").await.ok();
    assert_eq!(status["services"].as_array().unwrap().len(), 2, "{status}");
    let result = restock.post("/api/apps/web/update").await.ok();
    let changed: Vec<_> = result["services"].as_array().unwrap().iter().map(|change| &change["service"]).collect();
    assert_eq!(changed, ["debug", "web"], "{result}");
    restock.post("/api/apps/web/up").await.ok();
    let ups = world.docker.calls("web").into_iter().filter(|call| call.contains(" up "));
    let ups: Vec<_> = ups.filter(|call| !call.contains("--profile debug --profile prod")).collect();
    assert!(ups.is_empty(), "{ups:#?}");
}
