//! The list of apps as many ask for it: from one look, kept until something changes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Service, World, until, until_asked, without_times};

/// So many apps of three containers each, and one without a healthy file.
fn apps(world: &World, count: usize) {
    for n in 0..count {
        let app = world.app(&format!("app{n:03}")).service("a", "registry.test/a:1");
        app.service("b", "registry.test/b:1").service("c", "registry.test/c:1").running();
    }
}

/// A service that listens to the engine, as the program does.
async fn listening(world: &World) -> Service {
    world.engine.tells_events();
    let service = world.restock().await;
    let restock = service.host.clone();
    tokio::spawn(async move { restock.watch_engine().await });
    until("the listener", || (world.engine.listeners() == 1).then_some(())).await;
    // The look after the first event, which is that somebody listens.
    service.get("/api/apps").await.ok();
    until_asked("quiet", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        lists(world) == (0, 0)
    })
    .await;
    service
}

/// How often the engine was asked for its containers and for its images since the last time.
fn lists(world: &World) -> (usize, usize) {
    let requests = world.engine.requests();
    let of = |path: &str| requests.iter().filter(|request| request.starts_with(&format!("GET {path}"))).count();
    (of("/containers/json"), of("/images/json"))
}

async fn state(restock: &Service, app: &str) -> Value {
    restock.get(&format!("/api/apps/{app}")).await.ok()["state"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_who_ask_at_once_cost_two_looks_at_most() {
    let world = World::new();
    apps(&world, 60);
    let restock = world.restock().await;
    let all = async || {
        for path in ["/api/apps", "/api/apps/app007", "/api/apps/app007/status"] {
            let asked = (0..200).map(|_| restock.get(path).into_future());
            for reply in futures_util::future::join_all(asked).await {
                reply.ok();
            }
            let (containers, images) = lists(&world);
            assert!(containers <= 2 && images <= 2, "{path}: {containers} and {images}");
        }
    };
    all().await;
    assert_eq!(world.docker.all_calls().iter().filter(|call| call.contains(" config")).count(), 60);
    // An engine that is not listened to may have changed, so it is asked; but not by each of them.
    all().await;
    assert_eq!(world.docker.all_calls().iter().filter(|call| call.contains(" config")).count(), 60);
}

#[tokio::test]
async fn an_engine_that_is_listened_to_is_not_asked_until_something_happens() {
    let world = World::with_web();
    let restock = listening(&world).await;
    for path in ["/api/apps", "/api/apps/web", "/api/apps/web/status", "/api/images"] {
        restock.get(path).await.ok();
    }
    assert_eq!(lists(&world), (0, 0));
    let mut events = restock.get("/api/events").events().await;
    world.engine.change("web-web-1", |container| container.state = "exited".into());
    assert_eq!(state(&restock, "web").await, "running", "nothing was heard of it yet");
    (0..20).for_each(|_| world.engine.event("container", "die"));
    events.next_called("apps_changed").await;
    assert_eq!(state(&restock, "web").await, "stopped");
    // Twenty events, one look; and the images are as they were.
    assert_eq!(lists(&world), (1, 0));
    world.engine.event("image", "pull");
    until("a look at the images", || (lists(&world) == (1, 1)).then_some(())).await;
}

#[tokio::test]
async fn what_restock_itself_has_done_is_seen_by_the_next_who_asks() {
    let world = World::with_new_web();
    let restock = listening(&world).await;
    // Not one event tells of it.
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "updated");
    let app = restock.get("/api/apps").await.ok()[0].clone();
    assert_eq!(app["services"][0]["containers"][0]["image_id"], crate::world::image_id("web new"));
    restock.post("/api/apps/web/down").await.ok();
    assert_eq!(restock.get("/api/apps").await.ok()[0]["state"], "absent");
    let set = restock.request("PUT", "/api/apps/web/auto-update").header("content-type", "application/json");
    set.body(json!({"auto_update": "registry"}).to_string()).await.ok();
    assert_eq!(restock.get("/api/apps").await.ok()[0]["auto_update"], "registry");
}

#[tokio::test]
async fn a_list_that_the_client_has_is_not_sent_again() {
    let world = World::with_web();
    let restock = world.restock().await;
    let first = restock.get("/api/apps").await;
    let etag = first.headers["etag"].to_str().unwrap().to_owned();
    for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".into()] {
        let again = restock.get("/api/apps").header("if-none-match", &known).await;
        assert_eq!((again.status, again.text().as_str(), &again.headers["etag"]), (304, "", &first.headers["etag"]));
    }
    world.engine.change("web-web-1", |container| container.state = "exited".into());
    let changed = restock.get("/api/apps").header("if-none-match", &etag).await;
    assert_eq!(changed.ok()[0]["state"], "stopped");
    assert_ne!(changed.headers["etag"], first.headers["etag"]);
}

#[tokio::test]
async fn a_list_is_compressed_for_those_who_take_it() {
    let world = World::new();
    apps(&world, 60);
    let restock = world.restock().await;
    let plain = restock.get("/api/apps").await;
    assert!(!plain.headers.contains_key("content-encoding"));
    let packed = restock.get("/api/apps").header("accept-encoding", "br, gzip").await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut text).unwrap();
    assert_eq!(text, plain.text());
    // 900 services and containers: what a client on a bad line has to wait for is bounded.
    assert!(plain.body.len() < 900_000 && packed.body.len() < 120_000, "{} {}", plain.body.len(), packed.body.len());
    let etag = packed.headers["etag"].to_str().unwrap();
    assert_ne!(etag, plain.headers["etag"]);
    for known in [etag, plain.headers["etag"].to_str().unwrap()] {
        assert_eq!(restock.get("/api/apps").header("if-none-match", known).await.status, 304);
    }
}

#[tokio::test]
async fn a_start_knows_what_the_one_before_knew() {
    let world = World::with_web();
    world
        .app("shop")
        .service_with("a", json!({"image": "registry.test/a:1", "environment": {"TOKEN": "swordfish"}}))
        .running();
    world.app("broken").absent();
    world.docker.on("broken", "config", "fail 1 'line 3'");
    let before = without_times(world.restock().await.get("/api/apps").await.ok());
    let calls = world.docker.all_calls().len();
    // Whoever asked Compose now would wait for ever.
    for app in ["web", "shop", "broken"] {
        world.docker.on(app, "config", "hang");
    }
    assert_eq!(without_times(world.restock().await.get("/api/apps").await.ok()), before);
    assert!(before[0]["error"].as_str().unwrap().contains("line 3"));
    assert!(world.docker.all_calls().len() <= calls + 3);
    for file in std::fs::read_dir(world.path("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        assert!(!bytes.windows(9).any(|window| window == b"swordfish"));
    }
}

#[tokio::test]
async fn an_edit_is_served_late_and_never_waited_for() {
    let world = World::with_web();
    let restock = world.restock().await;
    let images = async || restock.get("/api/apps").await.ok()[0]["services"][0]["image"].clone();
    assert_eq!(images().await, "registry.test/web:1");
    world.docker.on("web", "config", "wait_for config");
    world.app("web").service("web", "registry.test/web:2").file("compose.override.yaml", "{}").absent();
    for _ in 0..3 {
        assert_eq!(images().await, "registry.test/web:1");
    }
    world.docker.called("web", "config").await;
    world.docker.allow("config");
    until_asked("the edit", async || images().await == "registry.test/web:2").await;
    assert_eq!(world.docker.verbs("web"), ["config", "config"]);
    // What acts waits for the truth.
    world.app("web").service("web", "registry.test/web:3").absent();
    assert_eq!(
        restock.get("/api/apps/web/status?force=true").await.ok()["services"][0]["image"],
        "registry.test/web:3"
    );
}

#[tokio::test]
async fn files_from_elsewhere_count_as_well() {
    let world = World::new();
    let include = |name: &str| json!([format!("../../elsewhere/{name}")]);
    std::fs::create_dir(world.path("elsewhere")).unwrap();
    std::fs::write(world.path("elsewhere/more.yaml"), "{}").unwrap();
    world.app("web").key("include", include("more.yaml")).service("web", "registry.test/web:1").running();
    let restock = world.restock().await;
    restock.get("/api/apps").await.ok();
    std::fs::write(world.path("elsewhere/more.yaml"), "{services: {}}").unwrap();
    restock.get("/api/apps").await.ok();
    until("a second look by Compose", || (world.docker.verbs("web").len() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_broken_app_costs_no_child_for_each_who_asks() {
    let world = World::with_web();
    world.app("broken").absent();
    world.docker.on("broken", "config", "fail 1 'line 3'");
    let restock = world.restock().await;
    for _ in 0..300 {
        assert_eq!(restock.get("/api/apps").await.ok()[0]["state"], "broken");
    }
    // The first look, and some behind answers, ever more rarely.
    let calls = world.docker.verbs("broken").len();
    assert!(calls <= 6, "{calls}");
}

#[tokio::test]
async fn those_who_listen_are_told_of_edits() {
    let world = World::with_web();
    let restock = world.restock().await;
    tokio::spawn(restock.host.clone().watch_apps());
    let mut events = restock.get("/api/events").events().await;
    // After the first look, with which the next is compared.
    until("the first look", || (!world.docker.verbs("web").is_empty()).then_some(())).await;
    restock.get("/api/apps").await.ok();
    world.app("new").service("web", "registry.test/web:1").absent();
    events.next_called("apps_changed").await;
    assert_eq!(restock.get("/api/apps").await.ok()[0]["name"], "new");
}

#[tokio::test]
async fn an_apps_directory_that_went_is_no_sign_that_an_app_is_gone() {
    let world = World::with_web();
    let restock = world.restock().await;
    restock.get("/api/apps").await.ok();
    std::fs::rename(world.path("apps"), world.path("unmounted")).unwrap();
    for (method, path) in [
        ("GET", "/api/apps"),
        ("GET", "/api/apps/web"),
        ("GET", "/api/apps/web/status"),
        ("GET", "/api/apps/web/logs"),
        ("GET", "/api/apps/web/auto-update"),
        ("GET", "/api/apps/web/skip"),
        ("GET", "/api/apps/web/history"),
        ("POST", "/api/apps/web/update"),
        ("POST", "/api/apps/web/rollback"),
        ("POST", "/api/apps/web/up"),
        ("POST", "/api/apps/web/down"),
        ("POST", "/api/apps/update"),
    ] {
        restock.request(method, path).await.problem(503, "apps_directory_unreadable");
    }
    restock.get("/api/apps/..%2Fweb").await.problem(404, "no_such_app");
    let ready = restock.get("/ready").await;
    assert_eq!((ready.status, &ready.json()["checks"]["apps"]["ok"]), (503, &json!(false)));
    std::fs::rename(world.path("unmounted"), world.path("apps")).unwrap();
    assert_eq!(restock.get("/ready").await.ok()["ready"], true);
    assert_eq!(state(&restock, "web").await, "running");
}

#[tokio::test]
async fn asking_whether_it_is_ready_writes_now_and_then() {
    let world = World::with_web();
    let restock = world.restock().await;
    restock.get("/ready").await.ok();
    let log = world.path("data/restock.db-wal");
    let written = || std::fs::metadata(&log).unwrap().modified().unwrap();
    let before = written();
    let asked = (0..50).map(|_| restock.get("/ready").into_future());
    futures_util::future::join_all(asked).await.iter().for_each(|reply| assert_eq!(reply.status, 200));
    assert_eq!(written(), before);
    let versions = world.engine.requests().iter().filter(|request| request.contains("/version")).count();
    assert!(versions <= 3, "{versions}");
}
