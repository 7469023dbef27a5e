//! Images that were made on this machine: no registry is asked for them, and nothing is pulled.

use serde_json::json;

use crate::registry::fake::{Answer, Fake};
use crate::world::{WEB, World};

/// Lets the images that `references` mean be none that came from a registry.
fn made_here(world: &World, references: &[&str]) {
    world.engine.things(|things| {
        let ids: Vec<_> = references.iter().filter_map(|reference| things.find_image(reference).cloned()).collect();
        things.made_here.extend(ids);
    });
}

#[tokio::test]
async fn no_registry_is_asked_for_them() {
    let registry = Fake::start(|_| Answer::index()).await;
    let own = format!("{}/own:1", registry.name());
    let world = World::new();
    world.app("web").service("own", &own).running();
    world.engine.things(|things| drop(things.run("alone", &own).id.clone()));
    made_here(&world, &[&own]);
    for container in ["web-own-1", "alone"] {
        let label = |labels: &mut std::collections::BTreeMap<_, _>| {
            labels.insert("restock.auto-update".to_owned(), "registry".to_owned());
        };
        world.engine.change(container, |container| label(&mut container.labels));
    }
    let restock = world.restock().await;
    let expected = (json!("skipped"), json!("the image was made on this machine"));
    let status = restock.get("/api/apps/web/status?force=true").await.ok();
    assert_eq!((&status["services"][0]["status"], &status["services"][0]["message"]), (&expected.0, &expected.1));
    restock.get("/api/images").await.ok();
    let done = restock.post("/api/auto-update").await.ok();
    let reports = done["reports"].as_array().unwrap();
    assert!(reports.len() == 2 && reports.iter().all(|report| report["Updated"] == "false"), "{done}");
    let id = world.engine.container("alone").unwrap().id;
    let alone = restock.get(&format!("/api/docker/local/containers/{id}/image_status?force=true")).await.ok();
    assert_eq!((&alone["Status"], &alone["Message"]), (&expected.0, &expected.1));
    let dry = restock.post("/api/apps/web/update?dry_run=true").await.ok();
    assert_eq!(dry["skipped"][0]["reason"], "local");
    assert_eq!(registry.seen().len(), 0);

    // It has been pushed.
    world.engine.things(|things| things.made_here.clear());
    restock.get("/api/apps/web/status?force=true").await.ok();
    assert_eq!(registry.manifest_requests("HEAD"), 1);
}

#[tokio::test]
async fn they_are_not_pulled_and_fail_nothing() {
    let world = World::new();
    world.app("web").service("own", "own:1").service("web", WEB).running();
    world.app("only").service("own", "own:1").running();
    world.engine.things(|things| drop(things.run("alone", "own:1").id.clone()));
    made_here(&world, &["own:1"]);
    let restock = world.restock().await;
    // The second time the references are known before the project is resolved.
    for label in ["first", "second"] {
        world.engine.publish(WEB, label);
        let result = restock.post("/api/apps/web/update").await.ok();
        assert_eq!((&result["outcome"], &result["services"][0]["service"]), (&json!("updated"), &json!("web")));
        assert_eq!(result["skipped"], json!([{"service": "own", "reason": "local"}]));
    }
    let calls = world.docker.calls("web");
    let pulls: Vec<_> = calls.iter().filter(|call| call.contains(" pull ")).collect();
    assert!(pulls.len() == 2 && pulls.iter().all(|call| call.ends_with("pull --ignore-buildable web")), "{pulls:?}");

    let result = restock.post("/api/apps/only/update").await.ok();
    let skipped = json!([{"service": "own", "reason": "local"}]);
    assert_eq!((&result["outcome"], &result["skipped"]), (&json!("unchanged"), &skipped));
    assert_eq!(world.docker.verbs("only"), ["config"]);
    world.engine.requests();
    restock.post("/api/images/alone/update").await.ok();
    restock.idle().await;
    let requests = world.engine.requests();
    assert!(!requests.iter().any(|request| request.contains("/images/create")), "{requests:?}");
    // A newer build counts.
    world.engine.publish("own:1", "built anew");
    made_here(&world, &["own:1"]);
    assert_eq!(restock.post("/api/apps/only/update").await.ok()["outcome"], "updated");
}
