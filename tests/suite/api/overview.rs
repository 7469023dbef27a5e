//! What a card of a store needs, from one request: from what to what, what happened, what runs, what waits.

use restock::domain::image::Digest;
use serde_json::{Value, json};

use crate::registry::fake::{Answer, Fake, Seen};
use crate::registry::image::Image;
use crate::world::{Life, Options, World};

/// A registry with one image, and an app `web` that runs an older one.
async fn outdated(image: &Image, answer: impl Fn(&Image, &Seen) -> Answer + Send + Sync + 'static) -> (World, Fake) {
    let image = image.clone();
    let registry = Fake::start(move |seen| answer(&image, seen)).await;
    let world = World::new();
    world.app("web").service("web", &format!("{}/web:1", registry.name())).running();
    (world, registry)
}

/// How often a registry was asked for manifests (`HEAD`, `GET`) and for blobs.
fn asked(registry: &Fake) -> (usize, usize, usize) {
    let blobs = registry.seen().iter().filter(|seen| seen.path.contains("/blobs/")).count();
    (registry.manifest_requests("HEAD"), registry.manifest_requests("GET"), blobs)
}

async fn check(restock: &crate::world::Service) -> Value {
    let status = restock.get("/api/apps/web/status?force=true").await.ok();
    assert_eq!(status["status"], "outdated", "{status}");
    status["services"][0]["available"].clone()
}

#[tokio::test]
async fn a_list_says_from_what_to_what() {
    let image = Image::of_version("1.119.0");
    let (world, registry) = outdated(&image, Image::answer).await;
    world.engine.change("web-web-1", |container| {
        let label = |name: &str, value: &str| (format!("org.opencontainers.image.{name}"), value.to_owned());
        container.labels.extend([label("version", "1.118.0"), label("source", "https://git.test/web")]);
    });
    let restock = world.restock().await;
    let before = restock.get("/api/apps").await.ok()[0].clone();
    assert_eq!((&before["checked_at"], &before["services"][0]["available"]), (&Value::Null, &Value::Null), "{before}");
    assert_eq!(asked(&registry), (0, 0, 0));
    let tag = format!("{}/web:1", registry.name());
    let available = json!({"tag": tag, "version": "1.119.0", "digest": image.digest(), "size": 4200,
        "created": "2026-03-04T05:06:07.000Z", "url": "https://a.test/"});
    assert_eq!(check(&restock).await, available);
    assert_eq!(asked(&registry), (1, 2, 1));
    let app = restock.get("/api/apps").await.ok()[0].clone();
    let service = &app["services"][0];
    assert_eq!((&app["status"], &service["available"]), (&json!("outdated"), &available), "{app}");
    assert_eq!((&service["version"], &service["source"]), (&json!("1.118.0"), &json!("https://git.test/web")));
    assert_eq!((&service["newer"], &service["newer_reason"]), (&Value::Null, &json!("not_checked")));
    assert_eq!((&app["host"], &app["last"], &app["job"]), (&json!("local"), &Value::Null, &Value::Null));
    assert!(app["checked_at"].is_string() && app["seen_at"].is_string(), "{app}");
    for key in ["newer", "next", "held", "can_roll_back", "manifest", "icon", "url"] {
        assert_eq!(app.get(key), Some(&Value::Null), "{key}");
    }
    // An image never changes: the next check, and the next process, know it.
    assert_eq!(check(&restock).await, available);
    assert_eq!(asked(&registry), (2, 2, 1));
    let next = world.restock().await;
    assert_eq!(next.get("/api/apps").await.ok()[0]["services"][0]["available"], available);
    assert_eq!(check(&next).await, available);
    assert_eq!(asked(&registry), (3, 2, 1));
}

#[tokio::test]
async fn what_a_registry_does_not_say_is_null_and_not_asked_again() {
    let hostile =
        Image::labelled(json!({"org.opencontainers.image.version": format!("\u{1b}[2J{}", "9".repeat(10_000)),
        "org.opencontainers.image.url": "javascript:alert(1)"}));
    let plain = Image::of_version("2");
    type Answers = fn(&Image, &Seen) -> Answer;
    let no_blobs: Answers =
        |image, seen| if seen.path.contains("/blobs/") { Answer::status(404) } else { image.answer(seen) };
    let large: Answers = |image, seen| {
        if seen.path.contains("/blobs/") { Answer::status(200).body(vec![b' '; 10 << 20]) } else { image.answer(seen) }
    };
    let without_get: Answers =
        |image, seen| if seen.method == "GET" && seen.is_manifest() { Answer::status(404) } else { image.answer(seen) };
    let cut = format!("[2J{}", "9".repeat(125));
    /// The image, what its registry answers, and the version, the size and the requests that are expected.
    type Case<'a> = (&'a Image, Answers, Value, Value, (usize, usize));
    let cases: [Case<'_>; 4] = [
        (&hostile, Image::answer, json!(cut), json!(4200), (2, 1)),
        (&plain, no_blobs, Value::Null, json!(4200), (2, 1)),
        (&plain, large, Value::Null, json!(4200), (2, 1)),
        (&plain, without_get, Value::Null, Value::Null, (1, 0)),
    ];
    for (image, answers, version, size, (gets, blobs)) in cases {
        let (world, registry) = outdated(image, answers).await;
        let restock = world.restock().await;
        for heads in 1..=2 {
            let available = check(&restock).await;
            assert_eq!((&available["version"], &available["size"]), (&version, &size));
            assert_eq!((&available["url"], &available["digest"]), (&Value::Null, &json!(image.digest())));
            assert_eq!(asked(&registry), (heads, gets, blobs));
        }
    }
}

#[tokio::test]
async fn what_may_pass_is_asked_again_by_those_who_insist() {
    let image = Image::of_version("2");
    let (world, registry) =
        outdated(
            &image,
            |image, seen| {
                if seen.path.contains("/blobs/") { Answer::status(503) } else { image.answer(seen) }
            },
        )
        .await;
    let restock = world.restock().await;
    assert_eq!(check(&restock).await["version"], Value::Null);
    restock.get("/api/apps/web/status").await.ok();
    let blobs = asked(&registry).2;
    check(&restock).await;
    assert_eq!(asked(&registry).2, blobs + 1);
}

#[tokio::test]
async fn pulls_that_a_registry_counts_are_left_for_updates() {
    let image = Image::of_version("2");
    let limited = |image: &Image, seen: &Seen| {
        image.answer(seen).with("ratelimit-limit", "100;w=21600").with("ratelimit-remaining", "50;w=21600")
    };
    let (world, registry) = outdated(&image, limited).await;
    let restock = world.restock().await;
    let available = check(&restock).await;
    assert_eq!((&available["version"], &available["digest"]), (&Value::Null, &json!(image.digest())));
    assert_eq!(asked(&registry), (1, 0, 0));
    // And nobody is asked where the owner says so.
    let (world, registry) = outdated(&image, Image::answer).await;
    let restock = world.restock_with(Options { version_lookup: false, ..Options::default() }).await;
    assert_eq!(check(&restock).await["version"], Value::Null);
    assert_eq!(asked(&registry), (1, 0, 0));
}

#[tokio::test]
async fn what_happened_and_the_way_back_are_shown() {
    let world = World::with_new_web();
    let version = |name: &str, version: &str| {
        let labels = [("org.opencontainers.image.version".to_owned(), version.to_owned())].into();
        world.engine.things(|things| things.image_labels.insert(crate::world::image_id(name), labels));
    };
    version("registry.test/web:1 old", "1.0");
    version("web new", "2.0");
    let restock = world.restock().await;
    let app = async || restock.get("/api/apps").await.ok()[0].clone();
    world.docker.on("web", "pull", "wait_for pull");
    let job = restock.start_update("web").await;
    world.docker.called("web", "pull").await;
    let running = app().await;
    assert_eq!(running["job"], json!({"id": job, "kind": "update", "step": "pull", "percent": 6}));
    assert_eq!(running["status"], Value::Null, "{running}");
    world.docker.allow("pull");
    let ended = restock.finished(&job).await;
    let updated = app().await;
    let last = json!({"job": job, "kind": "update", "outcome": "updated", "at": ended["finished_at"],
        "reason": "Updated web 1.0 → 2.0."});
    assert_eq!((&updated["last"], &updated["job"]), (&last, &Value::Null), "{updated}");
    let back = json!({"job": job, "at": ended["finished_at"], "data": false,
        "services": [{"service": "web", "tag": "registry.test/web:1", "version": "1.0"}]});
    assert_eq!(updated["can_roll_back"], back);
    assert_eq!(restock.post("/api/apps/web/rollback").await.ok()["outcome"], "rolled_back");
    let gone_back = app().await;
    assert_eq!(gone_back["can_roll_back"], Value::Null, "{gone_back}");
    assert_eq!(gone_back["last"]["reason"], "Went back on request: web 2.0 → 1.0.");
    world.engine.publish_with("registry.test/web:1", "web bad", Life::Exits(3));
    restock.post("/api/apps/web/update").await.problem(500, "rolled_back");
    let taken_back = app().await;
    assert_eq!(taken_back["last"]["outcome"], "rolled_back");
    let reason = taken_back["last"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("The update of `web` failed") && reason.ends_with('.'), "{reason}");
}

#[tokio::test]
async fn what_a_pass_would_not_apply_is_held() {
    let image = Image::of_version("2");
    let (world, _registry) = outdated(&image, Image::answer).await;
    let restock = world.restock().await;
    check(&restock).await;
    let held = async || restock.get("/api/apps").await.ok()[0]["held"].clone();
    assert_eq!(held().await, Value::Null);
    restock.post("/api/apps/web/skip").await.ok();
    let skipped = held().await;
    assert_eq!(
        (&skipped["service"], &skipped["reason"], &skipped["until"]),
        (&json!("web"), &json!("skipped"), &Value::Null)
    );
    let digest = image.digest().parse::<Digest>().unwrap();
    let found = restock.get("/api/apps/web/status").await.ok()["services"][0].clone();
    assert_eq!((&found["held_back"]["reason"], &found["remote_digest"]), (&json!("skipped"), &json!(digest)));
    restock.delete("/api/apps/web/skip").await.ok();
    assert_eq!(held().await, Value::Null);
}

#[tokio::test]
async fn an_apps_page_is_on_the_host_that_was_asked() {
    let world = World::new();
    let web = world.app("web").service("web", "registry.test/web:1");
    web.file("manifest.json", &json!({"ports": ["8080:80"]}).to_string()).running();
    let restock = world.restock().await;
    for (host, url) in [("localhost:8099", "http://localhost:8080/"), ("127.0.0.1", "http://127.0.0.1:8080/")] {
        for _ in 0..2 {
            assert_eq!(restock.get("/api/apps").header("host", host).await.ok()[0]["url"], url);
        }
        assert_eq!(restock.get("/api/apps/web").header("host", host).await.ok()["url"], url);
    }
}

#[tokio::test]
async fn what_another_process_has_done_is_seen() {
    let world = World::with_web();
    let restock = world.restock().await;
    let etag = async || restock.get("/api/apps").await.headers["etag"].clone();
    let tag = etag().await;
    assert_eq!(etag().await, tag, "nothing has happened");
    let other = world.restock().await;
    other.post("/api/apps/web/down").await.ok();
    let last = async || restock.get("/api/apps/web").await.ok()["last"]["kind"].clone();
    crate::world::until_asked("the other's job", async || last().await == "down").await;
    assert_ne!(etag().await, tag);
}
