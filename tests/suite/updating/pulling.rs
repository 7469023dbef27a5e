//! Pulls that fail, hang, or print what nobody expects: every container stays as it was.

use std::time::Duration;

use serde_json::json;

use crate::world::{Options, Service, WEB, World, image_id, until};

/// Nothing but `config` and `pull` was run, and what ran before still runs.
fn assert_untouched(world: &World) {
    assert_eq!(world.docker.verbs("web"), ["config", "pull"]);
    let container = world.engine.container("web-web-1").unwrap();
    assert_eq!((container.image_id, container.state.as_str()), (image_id(&format!("{WEB} old")), "running"));
    let changes = world.engine.requests().into_iter().filter(|request| !request.starts_with("GET "));
    assert_eq!(changes.collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn a_pull_that_fails_is_502_with_the_service_and_the_reason() {
    for (said, code) in [
        ("manifest for registry.test/web:1 not found: manifest unknown", "no_such_image"),
        (
            "Head \"https://registry.test/v2/web/manifests/1\": unauthorized: authentication required",
            "registry_unauthorized",
        ),
        ("pull access denied for web, repository does not exist or may require docker login", "registry_unauthorized"),
        (
            "Get \"https://registry.test/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
            "registry_unreachable",
        ),
        ("toomanyrequests: You have reached your pull rate limit", "registry_rate_limited"),
        ("no matching manifest for linux/amd64 in the manifest list entries", "no_such_platform"),
        ("write /var/lib/docker/tmp/x: no space left on device", "disk_full"),
        ("something nobody has seen before", "pull_failed"),
    ] {
        let world = World::with_new_web();
        let event = json!({"id": "web", "text": "Error", "status": said});
        let last = json!({"error": true, "message": format!("Error response from daemon: {said}")});
        world.docker.on("web", "pull", &format!("say '{event}'; fail 1 '{last}'"));
        let restock = world.restock().await;
        let problem = restock.post("/api/apps/web/update").await.problem(502, code);
        assert_eq!((&problem["service"], &problem["app"]), (&json!("web"), &json!("web")));
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
        assert!(problem["hint"].is_string() && problem["command"].as_str().unwrap().contains("pull"), "{problem}");
        assert!(problem["outcome"].is_null(), "it was not applied: {problem}");
        assert_untouched(&world);
    }
}

#[tokio::test]
async fn a_pull_that_loses_the_engine_is_503() {
    let world = World::with_new_web();
    let said = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?";
    world.docker.on("web", "pull", &format!("fail 1 '{said}'"));
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.problem(503, "engine_unreachable");
    assert_untouched(&world);
}

fn impatient() -> Options {
    Options { pull_timeout: Duration::from_millis(300), ..Options::default() }
}

async fn assert_times_out(world: &World, restock: &Service) {
    let problem = restock.post("/api/apps/web/update").await.problem(504, "timed_out");
    assert!(problem["command"].as_str().unwrap().contains("pull"), "{problem}");
    assert_untouched(world);
    world.docker.all_ended().await;
}

#[tokio::test]
async fn a_pull_that_hangs_is_504_and_its_processes_are_gone() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "leave_a_grandchild; hang");
    let restock = world.restock_with(impatient()).await;
    assert_times_out(&world, &restock).await;
}

/// Takes the ten seconds of grace that a child gets before it is killed.
#[tokio::test]
async fn a_pull_that_will_not_be_asked_is_killed() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "trap '' TERM; leave_a_grandchild; hang");
    let restock = world.restock_with(impatient()).await;
    assert_times_out(&world, &restock).await;
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipes_does_not_hold_the_update() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "leave_a_grandchild");
    let restock = world.restock().await;
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "updated");
    world.docker.all_ended().await;
}

#[tokio::test]
async fn words_that_are_not_utf_8_are_told_as_well_as_they_can_be() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", r#"printf '\377\376 caf\351\n\000\033[31m\n' >&2; fail 1 'manifest unknown'"#);
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(502, "no_such_image");
    assert!(problem["stderr"].as_str().unwrap().contains("caf\u{fffd}"), "{problem}");
    assert_untouched(&world);
}

#[tokio::test]
async fn a_pull_that_says_much_is_told_by_its_last_words() {
    let world = World::with_new_web();
    let script =
        "i=0; while [ $i -lt 3000 ]; do say \"line $i xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"; i=$((i+1)); done";
    world.docker.on("web", "pull", &format!("{script}; fail 1 'manifest unknown'"));
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(502, "no_such_image");
    let stderr = problem["stderr"].as_str().unwrap();
    assert!(stderr.ends_with("manifest unknown") && stderr.len() < 4096 && stderr.contains("line 2999"), "{stderr}");
}

#[tokio::test]
async fn a_compose_without_json_progress_is_asked_for_plain_words() {
    let world = World::with_new_web();
    world.docker.version("2.20.0");
    world.docker.on("web", "pull", "say ' web Pulling '; fail 1 'web Error manifest unknown'");
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.problem(502, "no_such_image");
    assert!(world.docker.calls("web").iter().any(|call| call.starts_with("compose --progress plain pull")));
}

/// Compose 5 tells of images. Told is the service that follows one, or none where nothing in the project does.
#[tokio::test]
async fn a_pull_that_fails_by_its_image_is_told_by_its_service() {
    let world = World::with_new_web();
    world.docker.version("5.0.0");
    let restock = world.restock().await;
    let fails = |subject: &str, parent: &str| {
        let event = json!({"id": subject, "parent_id": parent, "text": "Error", "status": "Error", "details": "gone"});
        world.docker.on("web", "pull", &format!("say '{event}'; fail 1 'manifest unknown'"));
    };
    let image = format!("Image {WEB}");
    // The first pull follows the resolving; the others run beside it.
    for (subject, parent) in [(image.as_str(), ""), (&image, ""), ("4f2a", &image)] {
        fails(subject, parent);
        let problem = restock.post("/api/apps/web/update").await.problem(502, "no_such_image");
        assert_eq!(problem["service"], "web");
        assert!(problem["detail"].as_str().unwrap().contains("the pull of `web` failed"), "{problem}");
    }
    fails("Image registry.test/other:1", "");
    let problem = restock.post("/api/apps/web/update").await.problem(502, "no_such_image");
    assert!(problem["service"].is_null(), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("the pull of `registry.test/other:1` failed"), "{problem}");
}

#[tokio::test]
async fn an_engine_that_forgets_replaced_images_is_kept_from_it() {
    let kept = |world: &World| {
        let names = world.engine.things(|things| things.names.clone());
        names.into_iter().filter(|(name, _)| name.starts_with("restock.local/keep/")).collect::<Vec<_>>()
    };
    let world = World::with_web();
    world.engine.forgets_images();
    let restock = world.restock().await;
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "unchanged");
    assert_eq!(kept(&world), []);

    world.docker.on("web", "pull", "wait_for pulled");
    let job = restock.start_update("web").await;
    until("the pull", || (world.docker.verbs("web").iter().filter(|verb| *verb == "pull").count() == 2).then_some(()))
        .await;
    world.engine.publish(WEB, "web new");
    world.docker.allow("pulled");
    let result = restock.finished(&job).await["result"].clone();
    assert_eq!((&result["outcome"], &result["warnings"]), (&json!("updated"), &json!(null)));
    let old = image_id(&format!("{WEB} old"));
    assert_eq!(kept(&world), [(format!("restock.local/keep/web/web:{job}"), old.clone())]);
    assert_eq!(restock.post("/api/apps/web/rollback").await.ok()["outcome"], "rolled_back");
    assert_eq!(world.engine.container("web-web-1").unwrap().image_id, old);
}
