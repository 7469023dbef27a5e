use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use restock::adapters::clock::Clock;
use restock::usecases::auto_update::{PassOptions, Scope};
use serde_json::{Value, json};

use crate::registry::fake::{Answer, Fake, index_digest};
use crate::world::{Life, Options, World, image_id};

pub(super) const PASS: &str = "/api/auto-update";

pub(super) fn label(world: &World, container: &str, name: &str, value: &str) {
    world.engine.change(container, |container| drop(container.labels.insert(name.into(), value.into())));
}

pub(super) async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !look().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    crate::world::soon(what, looking).await;
}

pub(super) fn updated(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let reports = answer["reports"].as_array().unwrap();
    reports.iter().map(|report| (text(&report["Unit"]), text(&report["Updated"]))).collect()
}

pub(super) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

/// An app of three services whose images are newer here than what runs.
pub(super) fn world() -> World {
    let world = World::new();
    let shop = world.app("shop").service("web", "registry.test/web:1").service("db", "registry.test/db:1");
    shop.service("cache", "registry.test/cache:1").running();
    for image in ["web", "db", "cache"] {
        world.engine.publish(&format!("registry.test/{image}:1"), &format!("{image} 2"));
    }
    world
}

#[tokio::test]
async fn labels_mark_services_one_by_one_and_only_those_are_applied() {
    let world = world();
    label(&world, "shop-web-1", "restock.auto-update", "local");
    label(&world, "shop-db-1", "io.containers.autoupdate", "disabled");
    label(&world, "shop-cache-1", "restock.auto-update", "sometimes");
    let restock = world.restock().await;
    let dry = restock.post(&format!("{PASS}?dry_run=true")).await.ok();
    assert_eq!(updated(&dry), pairs(&[("shop/web", "pending")]));
    let error = dry["errors"][0].as_str().unwrap();
    assert!(error.contains("shop-cache-1") && error.contains("registry (or image), local, disabled"), "{error}");
    assert!(!world.docker.verbs("shop").contains(&"up".to_owned()), "a dry run changes nothing");
    assert_eq!(updated(&restock.post(PASS).await.ok()), pairs(&[("shop/web", "true")]));
    let up = world.docker.calls("shop").into_iter().find(|call| call.contains("up ")).unwrap();
    assert!(up.contains("web") && !up.contains("db") && !up.contains("cache"), "{up}");
    assert!(!world.docker.verbs("shop").contains(&"pull".to_owned()), "`local` pulls nothing");
}

#[tokio::test]
async fn an_app_that_is_marked_as_a_whole_is_applied_once_and_as_a_whole() {
    let world = world();
    let restock = world.restock().await;
    let policy = restock.request("PUT", "/api/apps/shop/auto-update").body(json!({"auto_update": "local"}).to_string());
    policy.await.ok();
    let done = restock.post(PASS).await.ok();
    assert_eq!(updated(&done), pairs(&[("shop/cache", "true"), ("shop/db", "true"), ("shop/web", "true")]));
    assert_eq!(world.docker.verbs("shop").iter().filter(|verb| *verb == "up").count(), 1);
    let again = restock.post(PASS).await.ok();
    assert_eq!(updated(&again), pairs(&[("shop/cache", "false"), ("shop/db", "false"), ("shop/web", "false")]));
}

#[tokio::test]
async fn a_registry_that_does_not_answer_fails_its_own_containers_only() {
    let world = world();
    label(&world, "shop-web-1", "restock.auto-update", "registry");
    label(&world, "shop-db-1", "restock.auto-update", "local");
    let restock = world.restock().await;
    let before = world.engine.container("shop-web-1").unwrap().id;
    let done = restock.post(PASS).await.ok();
    assert_eq!(updated(&done), pairs(&[("shop/db", "true"), ("shop/web", "failed")]), "{done}");
    assert!(done["errors"][0].as_str().unwrap().starts_with("shop-web-1: "), "{done}");
    assert_eq!(world.engine.container("shop-web-1").unwrap().id, before);
}

#[tokio::test]
async fn who_reads_is_answered_while_a_check_hangs_on_a_dead_registry() {
    let hanging = Fake::start(|_| Answer::index().after(std::time::Duration::from_secs(600))).await;
    let world = World::new();
    world.app("web").service("web", &format!("{}/web:1", hanging.name())).running();
    let restock = world.restock().await;
    let check = tokio::spawn(restock.get("/api/apps/web/status?force=true").into_future());
    until("the question", async || !hanging.seen().is_empty()).await;
    for path in ["/api/apps", "/api/apps/web", "/api/apps/web/status", "/api/images", "/metrics"] {
        let reply = crate::world::soon(path, restock.get(path).into_future()).await;
        assert_eq!(reply.status, 200, "{path}");
    }
    assert!(!check.is_finished());
    check.abort();
}

#[tokio::test]
async fn an_answer_that_comes_after_the_reader_has_gone_is_written_down() {
    let slow = Fake::start(|seen| {
        let delay = if seen.is_manifest() { 1500 } else { 0 };
        Answer::index().after(std::time::Duration::from_millis(delay))
    })
    .await;
    let world = World::new();
    for app in ["patient", "gone"] {
        world.app(app).service("web", &format!("{}/{app}:1", slow.name())).running();
    }
    let restock = world.restock().await;
    // One reader has to do with what is known, and after it another one hangs up.
    let status = restock.get("/api/apps/patient/status").await.ok();
    assert_eq!(status["checked_at"], Value::Null, "{status}");
    let gone = tokio::spawn(restock.get("/api/apps/gone/status?force=true").into_future());
    until("the question", async || slow.manifest_requests("HEAD") == 2).await;
    gone.abort();
    // Another process would begin with this.
    until("both answers", async || restock.host.service.store.remembered_digests().await.unwrap().len() == 2).await;
}

#[tokio::test]
async fn what_cannot_be_followed_is_an_error_that_says_how_to_write_it() {
    let world = World::new();
    world.app("web").service("short", "web:1").service("bare", "registry.test/web").running();
    world.app("broken").file("compose.yaml", "not a compose file").absent();
    let settings = json!({"auto_update": "sometimes"});
    world.app("typo").service("web", "registry.test/web:1").key("x-restock", settings).running();
    let restock = world.restock().await;
    restock.request("PUT", "/api/apps/web/auto-update").body(r#"{"auto_update": "registry"}"#).await.ok();
    let done = restock.post(PASS).await.ok();
    assert_eq!(updated(&done), []);
    let errors = done["errors"].to_string();
    for part in ["docker.io/library/web:1", "registry.test/web:latest", "typo: x-restock.auto_update"] {
        assert!(errors.contains(part), "{part} in {errors}");
    }
}

#[tokio::test]
async fn a_local_image_that_did_not_work_is_not_tried_again() {
    let world = World::new();
    world.app("web").service("web", "registry.test/web:1").running();
    world.engine.publish_with("registry.test/web:1", "bad", Life::Exits(1));
    label(&world, "web-web-1", "restock.auto-update", "local");
    let restock = world.restock().await;
    assert_eq!(updated(&restock.post(PASS).await.ok()), pairs(&[("web/web", "rolled back")]));
    // As a person does who pulls the tag again.
    world.engine.publish_with("registry.test/web:1", "bad", Life::Exits(1));
    label(&world, "web-web-1", "restock.auto-update", "local");
    let again = restock.post(PASS).await.ok();
    assert_eq!(updated(&again), pairs(&[("web/web", "false")]));
    assert_eq!(again["reports"][0]["HeldBack"]["reason"], "failed");
    world.engine.publish("registry.test/web:1", "good");
    assert_eq!(updated(&restock.post(PASS).await.ok()), pairs(&[("web/web", "true")]));
}

#[tokio::test]
async fn an_update_that_a_hook_refuses_is_failed() {
    let world = World::new();
    let hooks = json!({"auto_update": "local", "hooks": {"before": [{"service": "web", "command": "dump"}]}});
    world.app("web").service("web", "registry.test/web:1").key("x-restock", hooks).running();
    world.engine.publish("registry.test/web:1", "new");
    world.docker.on("web", "exec", "fail 4 'no'");
    let restock = world.restock().await;
    let done = restock.post(PASS).await.ok();
    assert_eq!(updated(&done), pairs(&[("web/web", "failed")]), "{done}");
}

#[tokio::test]
async fn skipping_wants_something_newer_and_a_service_that_exists() {
    let world = world();
    let restock = world.restock().await;
    let path = "/api/apps/shop/skip";
    assert_eq!(restock.get(path).await.ok(), json!({"skipped": []}));
    restock.post(path).await.problem(409, "nothing_to_skip");
    restock.request("POST", path).body(r#"{"service": "nothing"}"#).await.problem(400, "no_such_service");
    restock.request("POST", path).body(r#"{"colour": 1}"#).await.problem(400, "bad_json");
    restock.delete(path).await.ok();
    restock.get("/api/apps/none/skip").await.problem(404, "no_such_app");
}

#[tokio::test]
async fn three_hundred_fresh_containers_on_ten_images_cost_ten_questions_and_one_list() {
    let world = World::new();
    let fake = Fake::start(|_| Answer::index()).await;
    let (mut containers, mut images) = (Vec::new(), Vec::new());
    for image in 0..10 {
        let (name, id) = (format!("{}/demo/app{image}", fake.name()), image_id(&format!("image {image}")));
        world.engine.things(|things| things.images.insert(id.clone(), Life::Runs));
        images.push(json!({"Id": id, "RepoTags": [], "RepoDigests": [format!("{name}@{}", index_digest())]}));
        containers.extend((0..30).map(|n| {
            json!({
                "Id": image_id(&format!("container {image} {n}"))[7..], "Names": [format!("/c{image}-{n}")],
                "Image": format!("{name}:1"), "ImageID": id, "State": "running", "Status": "Up 1 hour",
                "Labels": {"restock.auto-update": "registry"},
            })
        }));
    }
    world.engine.answer_instead("/containers/json?all=1", 200, containers.into());
    world.engine.answer_instead("/images/json?identity=1", 200, images.into());
    let restock = world.restock().await;
    // The first contact with a registry finds out how it is spoken to.
    restock.post(&format!("{PASS}?dry_run=true")).await.ok();
    world.engine.requests();
    let before = fake.manifest_requests("HEAD");
    let done = restock.post(PASS).await.ok();
    assert_eq!(done["reports"].as_array().unwrap().len(), 300);
    assert!(done["reports"].as_array().unwrap().iter().all(|report| report["Updated"] == "false"), "{done}");
    assert_eq!((fake.manifest_requests("HEAD") - before, fake.manifest_requests("GET")), (10, 0));
    // The list of containers, and that of images for what they are known as and for tags that are kept too long.
    let asked = world.engine.requests();
    assert_eq!(asked.iter().filter(|path| path.contains("/containers/")).count(), 1, "{asked:?}");
    assert!(asked.iter().all(|path| path.contains("/containers/json") || path.contains("/images/json")), "{asked:?}");
}

/// Two apps whose images are newer here than what runs; what is applied to `a` waits until the test lets it go on.
fn two_apps() -> World {
    let world = World::new();
    for app in ["a", "b"] {
        let image = format!("registry.test/{app}:1");
        world.app(app).service("web", &image).key("x-restock", json!({"auto_update": "local"})).running();
        world.engine.publish(&image, &format!("{app} 2"));
    }
    world.docker.on("a", "up", "wait_for up");
    world
}

#[tokio::test]
async fn a_pass_is_not_answered_with_the_report_of_a_narrower_one() {
    let world = two_apps();
    let restock = world.restock().await;
    // As the schedule of `a` would.
    let scope = Scope::Due { apps: ["a".parse().unwrap()].into(), rest: false };
    let narrow = PassOptions { rollback: true, scope };
    let first = restock.host.start_pass(narrow.clone()).await.unwrap();
    world.docker.called("a", "up").await;
    let same = restock.host.start_pass(narrow).await.unwrap();
    assert_eq!(same.id(), first.id(), "who asks for the same joins");
    // In this process and in another one.
    let other = world.restock().await;
    let waiting = [&restock, &other].map(|restock| tokio::spawn(restock.post(PASS).into_future()));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(waiting.iter().all(|request| !request.is_finished()));
    world.docker.allow("up");
    for request in waiting {
        let done = request.await.unwrap().ok();
        let units: Vec<_> = updated(&done).into_iter().map(|(unit, _)| unit).collect();
        assert_eq!(units, ["a/web", "b/web"], "{done}");
    }
    assert_eq!(world.docker.verbs("b").iter().filter(|verb| *verb == "up").count(), 1);
}

#[tokio::test]
async fn a_pass_joins_only_one_that_does_the_same_with_what_fails() {
    let world = two_apps();
    let restock = world.restock().await;
    let start = async |path: &str| {
        let reply = restock.post(path).header("prefer", "respond-async").await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    };
    let first = start(PASS).await;
    world.docker.called("a", "up").await;
    assert_eq!(start(&format!("{PASS}?rollback=true")).await, first);
    let allowed = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        world.docker.allow("up");
    };
    let path = format!("{PASS}?rollback=false");
    let (second, ()) = tokio::join!(start(&path), allowed);
    assert_ne!(second, first);
    assert_eq!(restock.finished(&first).await["outcome"], "updated");
    restock.finished(&second).await;
}

#[tokio::test]
async fn what_is_pushed_between_question_and_pull_waits_for_its_age() {
    let judged = index_digest();
    let pushed = image_id("pushed meanwhile");
    // What the pull brings, and what becomes of it.
    for (brought, wanted, reason) in [(&judged, "true", Value::Null), (&pushed, "false", json!("min_age"))] {
        let world = World::new();
        let fake = Fake::start(|_| Answer::index()).await;
        let (name, image) = (format!("{}/demo", fake.name()), format!("{}/demo:1", fake.name()));
        let settings = json!({"auto_update": "registry", "min_age": "1d"});
        world.app("shop").service("web", &image).key("x-restock", settings).running();
        let answer = json!({
            "Id": image_id("pulled"), "RepoDigests": [format!("{name}@{brought}")], "Config": {"Labels": {}},
        });
        world.engine.answer_instead(&format!("/images/{image}/json?manifests=1"), 200, answer);
        let restock = world.restock().await;
        let seen = Timestamp::now() - SignedDuration::from_hours(48);
        restock.host.service.store.remember_digests(vec![(image, judged.parse().unwrap(), seen)]).await.unwrap();
        let done = restock.post(PASS).await.ok();
        assert_eq!(world.engine.logins().len(), 1, "it is pulled");
        assert_eq!(
            (&done["reports"][0]["Updated"], &done["reports"][0]["HeldBack"]["reason"]),
            (&json!(wanted), &reason)
        );
        assert_eq!(world.docker.verbs("shop").contains(&"up".to_owned()), wanted == "true");
    }
}

#[tokio::test]
async fn a_name_that_no_engine_can_parse_is_the_error_of_its_own_container() {
    let world = world();
    label(&world, "shop-web-1", "restock.auto-update", "local");
    let local = json!({"auto_update": "local"});
    world
        .app("mine")
        .service("app", "me/app:1")
        .service("db", "registry.test/mine:1")
        .key("x-restock", local)
        .running();
    world.engine.publish("registry.test/mine:1", "new");
    let compose = world.path("apps/mine/compose.yaml");
    let text = std::fs::read_to_string(&compose).unwrap();
    std::fs::write(&compose, text.replace("me/app:1", "me/app:")).unwrap();
    world.engine.answer_instead(
        "/images/me/app:/json?manifests=1",
        400,
        json!({"message": "invalid reference format"}),
    );
    let restock = world.restock().await;
    let expected = |done| [("mine/app", "failed"), ("mine/db", done), ("shop/web", done)];
    let dry = restock.post(&format!("{PASS}?dry_run=true")).await.ok();
    assert_eq!(updated(&dry), pairs(&expected("pending")), "{dry}");
    let done = restock.post(PASS).await.ok();
    assert_eq!(updated(&done), pairs(&expected("true")), "{done}");
    let errors = done["errors"].as_array().unwrap();
    assert!(errors.len() == 1 && errors[0].as_str().unwrap().contains("me/app:"), "{done}");
}

/// Lets the engine say that what runs of `references` was pulled: one without a digest was made on this machine.
fn were_pulled(world: &World, references: &[&str]) {
    let image = |reference: &&str| {
        let repository = reference.rsplit_once(':').unwrap().0;
        let digest = format!("{repository}@{}", image_id("an older index"));
        json!({"Id": image_id(&format!("{reference} old")), "RepoTags": [reference], "RepoDigests": [digest]})
    };
    let images: Vec<_> = references.iter().map(image).collect();
    world.engine.answer_instead("/images/json?identity=1", 200, images.into());
}

#[tokio::test]
async fn a_check_that_failed_is_known_to_the_next_process() {
    let world = World::new();
    // The discard port, where nothing listens.
    world.app("web").service("web", "127.0.0.1:9/web:1").running();
    were_pulled(&world, &["127.0.0.1:9/web:1"]);
    let restock = world.restock().await;
    let status = restock.get("/api/apps/web/status?force=true").await.ok();
    assert_eq!(status["status"], "error", "{status}");
    let known = world.restock().await.get("/api/apps/web").await.ok();
    assert_eq!(known["status"], "error", "{known}");
}

#[tokio::test]
async fn one_registry_that_fails_hides_nothing_in_a_dry_run() {
    let world = World::new();
    let fake = Fake::start(|_| Answer::index()).await;
    let web = format!("{}/web:1", fake.name());
    world.app("shop").service("web", &web).service("db", "127.0.0.1:9/db:1").running();
    were_pulled(&world, &[&web, "127.0.0.1:9/db:1"]);
    let restock = world.restock().await;
    let dry = restock.post("/api/apps/shop/update?dry_run=true").await.ok();
    assert_eq!((&dry["outcome"], &dry["services"][0]["service"]), (&json!("pending"), &json!("web")), "{dry}");
    assert!(dry["warnings"][0].as_str().unwrap().contains("`db`"), "{dry}");
    // Where nothing is known it is a failure.
    restock.post("/api/apps/shop/update?dry_run=true&service=db").await.problem(502, "registry_failed");
}

#[tokio::test]
async fn an_image_that_failed_here_is_known_again_under_another_digest() {
    // Each rebuilt attestation is another index around the same image.
    let pushes = Arc::new(AtomicUsize::new(1));
    let pushed = pushes.clone();
    let fake = Fake::start(move |_| {
        let index = image_id(&format!("index {}", pushed.load(Ordering::Relaxed)));
        Answer::plain_index().with("docker-content-digest", index)
    })
    .await;
    let world = World::new();
    let settings = json!({"auto_update": "registry"});
    world.app("shop").service("web", &format!("{}/demo:1", fake.name())).key("x-restock", settings).running();
    world.engine.things(|things| things.images.insert(image_id("pulled"), Life::Exits(1)));
    let restock = world.restock().await;
    assert_eq!(updated(&restock.post(PASS).await.ok()), pairs(&[("shop/web", "rolled back")]));
    let ups = || world.docker.verbs("shop").iter().filter(|verb| *verb == "up").count();
    let before = ups();
    pushes.store(2, Ordering::Relaxed);
    let again = restock.post(PASS).await.ok();
    assert_eq!(updated(&again), pairs(&[("shop/web", "false")]), "{again}");
    assert_eq!(again["reports"][0]["HeldBack"]["reason"], "failed", "{again}");
    assert_eq!((world.engine.logins().len(), ups()), (2, before), "it is pulled and not applied");
}

#[tokio::test]
async fn a_window_holds_back_only_what_a_policy_would_apply() {
    let fake = Fake::start(|_| Answer::index()).await;
    let world = World::new();
    for (app, policy) in [("marked", "registry"), ("other", "disabled")] {
        let settings = json!({"auto_update": policy});
        world.app(app).service("web", &format!("{}/{app}:1", fake.name())).key("x-restock", settings).running();
    }
    // Noon, for a window at night.
    let clock = Clock::new(|| "2026-03-04T12:00:00Z".parse().unwrap());
    let options = Options { window: Some("02:00-05:00".into()), clock, ..Options::default() };
    let restock = world.restock_with(options).await;
    for (app, reason) in [("marked", json!("window")), ("other", Value::Null)] {
        let status = restock.get(&format!("/api/apps/{app}/status?force=true")).await.ok();
        let service = &status["services"][0];
        assert_eq!((&service["status"], &service["held_back"]["reason"]), (&json!("outdated"), &reason), "{status}");
    }
}
