use serde_json::json;

use crate::world::{Life, World, soon, until_asked};

#[tokio::test]
async fn apps_are_listed_with_state_project_and_containers() {
    let world = World::new();
    world.app("Photos").key("name", json!("photos")).service("web", "registry.test/web:1").running();
    world.app("quiet").service("web", "registry.test/web:1").stopped();
    world.app("new").service("web", "registry.test/web:1").absent();
    world.app("half").service("a", "registry.test/a:1").service("b", "registry.test/b:1").running();
    world.engine.change("half-b-1", |container| container.state = "exited".into());
    let restock = world.restock().await;
    let apps = restock.get("/api/apps").await.ok();
    let states: Vec<_> =
        apps.as_array().unwrap().iter().map(|app| (app["name"].clone(), app["state"].clone())).collect();
    let expected = [("Photos", "running"), ("half", "partial"), ("new", "absent"), ("quiet", "stopped")];
    assert_eq!(states, expected.map(|(name, state)| (json!(name), json!(state))));
    let photos = restock.get("/api/apps/Photos").await.ok();
    assert_eq!((&photos["project"], &photos["error"]), (&json!("photos"), &json!(null)));
    let container = &photos["services"][0]["containers"][0];
    assert_eq!(photos["services"][0]["image"], "registry.test/web:1");
    assert_eq!((&container["name"], &container["state"]), (&json!("photos-web-1"), &json!("running")));
    assert!(container["image_id"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(photos, apps[0]);
}

#[tokio::test]
async fn a_broken_app_stays_in_the_list_and_hides_nobody() {
    let world = World::with_web();
    world.app("broken").service("web", "registry.test/web:1").running();
    world.docker.on("broken", "config", "fail 1 'yaml: line 3: found character that cannot start any token'");
    world.app("nonsense").absent();
    world.docker.on("nonsense", "config", "printf '\\377\\376 no reply'; exit 0");
    world.app("dying").absent();
    world.docker.on("dying", "config", "kill -9 $$");
    let restock = world.restock().await;
    let apps = restock.get("/api/apps").await.ok();
    let app = |name: &str| apps.as_array().unwrap().iter().find(|app| app["name"] == name).unwrap().clone();
    assert_eq!((&app("web")["state"], &app("web")["error"]), (&json!("running"), &json!(null)));
    for name in ["broken", "nonsense", "dying"] {
        assert_eq!(app(name)["state"], "broken");
        assert!(app(name)["error"].as_str().is_some_and(|error| !error.is_empty()), "{name}");
    }
    assert!(app("broken")["error"].as_str().unwrap().contains("line 3"));
    // What runs is known from the engine, whatever the file says.
    assert_eq!(app("broken")["services"][0]["containers"][0]["name"], "broken-web-1");
    assert_eq!(restock.get("/api/apps/broken").await.ok()["state"], "broken");
    // The mistake was in a file of another directory, and is mended.
    world.docker.on("broken", "config", "default");
    soon("the end of the mistake", async { while restock.get("/api/apps/broken").await.ok()["state"] == "broken" {} })
        .await;
}

#[tokio::test]
async fn containers_in_states_nobody_knows_hide_neither_themselves_nor_others() {
    let world = World::new();
    world.app("web").service("a", "registry.test/a:1").service("b", "registry.test/b:1").running();
    world.engine.change("web-b-1", |container| container.state = "levitating".into());
    let restock = world.restock().await;
    let app = restock.get("/api/apps/web").await.ok();
    assert_eq!(app["services"][0]["containers"][0]["state"], "running");
    assert_eq!(app["services"][1]["containers"][0]["state"], "unknown");
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "unchanged");
}

#[tokio::test]
async fn apps_are_looked_at_again_on_each_request() {
    let world = World::new();
    let restock = world.restock().await;
    assert_eq!(restock.get("/api/apps").await.ok(), json!([]));
    world.app("web").service("web", "registry.test/web:1").running();
    assert_eq!(restock.get("/api/apps/web").await.ok()["state"], "running");
    std::fs::remove_dir_all(world.path("apps/web")).unwrap();
    restock.get("/api/apps/web").await.problem(404, "no_such_app");
}

#[tokio::test]
async fn reading_twice_costs_one_config_until_a_file_changes() {
    let world = World::with_web();
    let restock = world.restock().await;
    for _ in 0..3 {
        restock.get("/api/apps").await.ok();
    }
    assert_eq!(world.docker.verbs("web"), ["config"]);
    world.app("web").service("web", "registry.test/web:1").service("db", "registry.test/db:1").absent();
    // What was known is served at once, and renewed behind the answer.
    until_asked("the second service", async || {
        restock.get("/api/apps").await.ok()[0]["services"].as_array().unwrap().len() == 2
    })
    .await;
    assert_eq!(world.docker.verbs("web"), ["config", "config"]);
}

#[tokio::test]
async fn a_manifest_is_shown_and_a_wrong_one_is_told() {
    let world = World::new();
    let service = |name: &str| world.app(name).service("web", "registry.test/web:1");
    let manifest = r#"{"name": "a", "display_name": "An app", "volumes": ["data"], "ports": [8080]}"#;
    service("a").file("manifest.json", manifest).running();
    service("b").file("manifest.json", "{").running();
    service("c").file("manifest.json", r#"{"volumes": ["../x"]}"#).running();
    let restock = world.restock().await;
    let apps = restock.get("/api/apps").await.ok();
    assert_eq!((&apps[0]["manifest"]["display_name"], &apps[0]["error"]), (&json!("An app"), &json!(null)));
    for n in [1, 2] {
        assert!(apps[n]["error"].as_str().unwrap().contains("manifest.json"), "{}", apps[n]);
        assert_eq!(apps[n]["state"], "running");
    }
}

#[tokio::test]
async fn health_is_told() {
    let world = World::new();
    world.engine.publish_with("registry.test/ill:1", "ill", Life::Unhealthy);
    world.engine.publish_with("registry.test/well:1", "well", Life::Healthy);
    world.app("web").service("ill", "registry.test/ill:1").service("well", "registry.test/well:1").running();
    let restock = world.restock().await;
    let app = restock.get("/api/apps/web").await.ok();
    let health = |n: usize| app["services"][n]["containers"][0]["health"].clone();
    assert_eq!((health(0), health(1)), (json!("unhealthy"), json!("healthy")));
    // The app is as well as the worst of what should run.
    let whole = async || restock.get("/api/apps").await.ok()[0]["health"].clone();
    assert_eq!((&app["health"], whole().await), (&json!("unhealthy"), json!("unhealthy")));
    world.engine.change("web-ill-1", |container| container.state = "exited".into());
    assert_eq!(whole().await, "healthy");
    world.app("plain").service("web", "registry.test/web:1").running();
    assert_eq!(restock.get("/api/apps/plain").await.ok()["health"], "none");
}

#[tokio::test]
async fn an_icon_is_served_so_that_it_can_do_nothing() {
    let world = World::new();
    let web = world.app("web").service("web", "registry.test/web:1");
    web.file("manifest.json", &json!({"icon": "icon.svg"}).to_string()).file("icon.svg", "<svg/>").running();
    world.app("plain").service("web", "registry.test/web:1").running();
    let restock = world.restock().await;
    let apps = restock.get("/api/apps").await.ok();
    assert_eq!((&apps[0]["icon"], &apps[1]["icon"]), (&json!(null), &json!("/api/apps/web/icon")));
    let icon = restock.get("/api/apps/web/icon").await;
    assert_eq!((icon.status, icon.text().as_str()), (200, "<svg/>"));
    let header = |name: &str| icon.headers[name].to_str().unwrap();
    assert_eq!((header("content-type"), header("x-content-type-options")), ("image/svg+xml", "nosniff"));
    let policy = header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
    restock.get("/api/apps/plain/icon").await.problem(404, "no_icon");
    restock.get("/api/apps/nope/icon").await.problem(404, "no_such_app");
}
