use std::collections::BTreeSet;

use serde_json::json;

use crate::world::{WEB, World};

#[tokio::test]
async fn an_app_that_is_up_to_date_costs_one_config_and_one_pull() {
    let world = World::with_web();
    let before = world.engine.container("web-web-1").unwrap().id;
    let restock = world.restock().await;
    for _ in 0..2 {
        let result = restock.post("/api/apps/web/update").await.ok();
        assert_eq!((&result["updated"], &result["outcome"]), (&json!(false), &json!("unchanged")));
        assert_eq!((&result["services"], &result["recreated"]), (&json!([]), &json!([])));
        assert!(result["job"].is_string() && result["duration_ms"].is_u64());
    }
    let mut calls = world.docker.calls("web");
    calls.sort();
    let (config, pull) = ("compose config --format json", "compose --progress json pull --ignore-buildable");
    assert_eq!(calls, [pull, pull, config, config]);
    assert_eq!(world.docker.all_calls().len(), 5, "and the version was asked once");
    assert_eq!(world.engine.container("web-web-1").unwrap().id, before);
}

#[tokio::test]
async fn the_engine_is_asked_a_constant_number_of_times_and_for_each_image_after_the_pull() {
    let world = World::new();
    let mut constants = BTreeSet::new();
    for (services, images) in [(1, 1), (5, 1), (5, 5), (20, 1), (20, 7), (20, 20)] {
        let name = format!("app-{services}-{images}");
        let app = (0..services).fold(world.app(&name), |app, n| {
            app.service(&format!("s{n}"), &format!("registry.test/{name}-{}:1", n % images))
        });
        app.running();
        let restock = world.restock().await;
        world.engine.requests();
        assert_eq!(restock.post(&format!("/api/apps/{name}/update")).await.ok()["outcome"], "unchanged");
        let requests = world.engine.requests();
        assert!(requests.iter().all(|request| request.starts_with("GET ")), "{requests:#?}");
        constants.insert(requests.len() - images);
    }
    assert_eq!(constants.len(), 1, "{constants:?}");
    // Its version, its images, and its containers before and after the pull.
    assert!(constants.first() <= Some(&4), "{constants:?}");
}

#[tokio::test]
async fn children_see_docker_s_variables_and_the_proxies_and_nothing_else() {
    let world = World::with_new_web();
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.ok();
    let own = ["COMPOSE_FILE", "RESTOCK_PASSWORD", "TAG"];
    for verb in ["version", "config", "pull", "up"] {
        let seen = world.docker.environment(verb);
        assert!(own.iter().all(|name| !seen.contains(*name)), "{verb}: {seen:?}");
        // `PWD` is given to what runs in an app's directory; the others a shell sets by itself.
        let given = seen.iter().map(String::as_str).filter(|name| !["_", "SHLVL", "OLDPWD", "PWD"].contains(name));
        let expected = ["DOCKER_CONFIG", "DOCKER_HOST", "HOME", "HTTPS_PROXY", "PATH"];
        assert_eq!(given.collect::<Vec<_>>(), expected, "{verb}");
        assert!(verb == "version" || seen.contains("PWD"), "{verb}");
    }
}

#[tokio::test]
async fn what_has_nothing_to_follow_is_skipped_with_its_reason() {
    let world = World::new();
    let pinned = format!("registry.test/web@sha256:{}", "ab".repeat(32));
    let app = world.app("web").service("pinned", &pinned).service("web", WEB);
    let app = app.service_with("built", json!({"image": "web-built", "build": {"context": "."}}));
    app.service_with("local", json!({"image": "registry.test/local:1", "pull_policy": "never"})).running();
    let restock = world.restock().await;
    let result = restock.post("/api/apps/web/update").await.ok();
    let reason = |service: &str, reason: &str| json!({"service": service, "reason": reason});
    let expected = [reason("built", "build"), reason("local", "pull_policy"), reason("pinned", "pinned")];
    assert_eq!((&result["outcome"], &result["skipped"]), (&json!("unchanged"), &json!(expected)));
}

#[tokio::test]
async fn an_absent_app_is_pulled_only() {
    let world = World::new();
    world.app("web").service("web", WEB).absent();
    let restock = world.restock().await;
    let result = restock.post("/api/apps/web/update").await.ok();
    assert_eq!((&result["updated"], &result["outcome"]), (&json!(false), &json!("pulled")));
    assert_eq!(world.docker.verbs("web"), ["config", "pull"]);
    assert!(world.engine.container("web-web-1").is_none());
}
