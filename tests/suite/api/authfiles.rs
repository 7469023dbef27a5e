//! A file of credentials that one container names is for all that follow its image.

use restock::domain::image::ImageReference;
use serde_json::json;

use crate::registry::fake::{Answer, Fake, index_digest};
use crate::registry::setup::{basic, login, write_config};
use crate::world::{World, image_id, until};

const AUTHFILE: &str = "io.containers.autoupdate.authfile";

/// A registry that wants `me` and `right`, and an auth file of the world with them.
async fn private(world: &World) -> (Fake, String) {
    let fake = Fake::start(|seen| match seen.authorization() {
        Some(shown) if shown == basic("me", "right") => Answer::index(),
        _ => Answer::wants_basic(),
    })
    .await;
    let authfile = world.path("auth.json");
    write_config(&authfile, &login(&fake.name(), "me", "right"));
    (fake, authfile.display().to_string())
}

/// Two services of one image; only the first one's container names the file.
async fn world() -> (World, String) {
    let world = World::new();
    let (fake, authfile) = private(&world).await;
    let image = format!("{}/demo:1", fake.name());
    world.app("shop").service("web", &image).service("worker", &image).running();
    for container in ["shop-web-1", "shop-worker-1"] {
        world.engine.change(container, |container| {
            drop(container.labels.insert("restock.auto-update".into(), "registry".into()))
        });
    }
    world.engine.change("shop-web-1", |container| drop(container.labels.insert(AUTHFILE.into(), authfile)));
    (world, image)
}

#[tokio::test]
async fn a_check_uses_it_for_every_service_of_the_image() {
    let (world, _) = world().await;
    let restock = world.restock().await;
    let status = restock.get("/api/apps/shop/status?force=true").await.ok();
    for service in status["services"].as_array().unwrap() {
        assert_eq!(service["status"], "outdated", "{status}");
    }
    // The container that names none is one of the image's, too.
    let other = world.engine.container("shop-worker-1").unwrap().id;
    let status = restock.get(&format!("/api/docker/local/containers/{other}/image_status?force=true")).await.ok();
    assert_eq!(status, json!({"Status": "outdated", "Message": ""}));
}

#[tokio::test]
async fn a_pass_asks_and_pulls_with_it() {
    let (world, _) = world().await;
    let restock = world.restock().await;
    let done = restock.post("/api/auto-update").await.ok();
    assert_eq!(done["errors"], json!([]), "{done}");
    let logins = world.engine.logins();
    assert!(matches!(logins.as_slice(), [Some(_)]), "{logins:?}");
}

#[tokio::test]
async fn the_content_of_an_index_is_asked_for_with_it() {
    let world = World::new();
    let (fake, authfile) = private(&world).await;
    let name = format!("{}/demo", fake.name());
    // Its labels are believed only as far as the image does not carry them.
    world.engine.publish("registry.test/before:1", "old");
    let manifest = image_id("the manifest of this platform");
    let container = json!({
        "Id": &image_id("container")[7..], "Names": ["/web"], "Image": format!("{name}:1"), "ImageID": image_id("old"),
        "ImageManifestDescriptor": {"digest": manifest}, "State": "running", "Status": "Up 1 hour",
        "Labels": {"restock.auto-update": "registry", AUTHFILE: authfile},
    });
    world.engine.answer_instead("/containers/json?all=1", 200, json!([container]));
    let restock = world.restock().await;
    restock.post("/api/auto-update?dry_run=true").await.ok();
    let path = format!("/v2/demo/manifests/{}", index_digest());
    let asked = fake.seen().into_iter().filter(|seen| seen.method == "GET" && seen.path == path);
    assert!(asked.into_iter().any(|seen| seen.authorization() == Some(&basic("me", "right"))), "{path}");
}

#[tokio::test]
async fn what_a_pull_brings_is_asked_about_with_it() {
    let (world, image) = world().await;
    let restock = world.restock().await;
    restock.get("/api/apps/shop/status?force=true").await.ok();
    let reference: ImageReference = image.parse().unwrap();
    let known = || restock.host.service.freshness.known(&reference).unwrap();
    let before = known();
    // The registry had something else when the pull was made.
    let moved = json!({
        "Id": image_id("moved"), "RepoDigests": [format!("{}@{}", reference.repository(), image_id("moved"))],
        "Config": {"Labels": {}},
    });
    world.engine.answer_instead(&format!("/images/{image}/json?manifests=1"), 200, moved);
    restock.post("/api/apps/shop/update").await;
    let after = until("the question", || Some(known()).filter(|known| known.asked_at != before.asked_at)).await;
    assert_eq!(after.failure, None);
}
