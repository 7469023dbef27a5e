//! New images that do not work, and a Compose that fails in the middle.

use serde_json::json;

use crate::world::{Life, WEB, World, image_id};

fn old() -> String {
    image_id(&format!("{WEB} old"))
}

/// An app whose new image lives as `life` says.
fn with_bad_web(life: Life) -> World {
    let world = World::with_web();
    world.engine.publish_with(WEB, "web bad", life);
    world
}

fn ups(world: &World) -> usize {
    world.docker.verbs("web").iter().filter(|verb| *verb == "up").count()
}

#[tokio::test]
async fn an_image_that_does_not_work_is_taken_back_and_the_reason_is_told() {
    for (life, reason) in [
        (Life::Exits(3), "exited with code 3"),
        (Life::Exits(0), "exited with code 0"),
        (Life::Unhealthy, "no answer"),
        (Life::Loops, "restarts in a loop"),
    ] {
        let world = with_bad_web(life);
        let restock = world.restock().await;
        let problem = restock.post("/api/apps/web/update").await.problem(500, "rolled_back");
        assert_eq!((&problem["outcome"], &problem["updated"]), (&json!("rolled_back"), &json!(false)));
        assert_eq!(problem["services"][0]["service"], "web");
        assert_eq!((&problem["service"], &problem["app"]), (&json!("web"), &json!("web")));
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
        assert_eq!(ups(&world), 2);
        let container = world.engine.container("web-web-1").unwrap();
        assert_eq!((container.image_id, container.state.as_str()), (old(), "running"));
        assert_eq!(world.engine.things(|things| things.names[WEB].clone()), old(), "the tag is back as well");
    }
}

#[tokio::test]
async fn what_a_failing_container_said_and_did_is_kept_before_it_is_taken_back() {
    let world = with_bad_web(Life::Unhealthy);
    let log: String = (0..60).map(|n| format!("line {n}\n")).collect();
    world.engine.things(|things| things.logs.insert(WEB.into(), format!("{log}\u{1b}[2Jend")));
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(500, "rolled_back");
    let failed = &problem["containers"][0];
    let known = ["service", "container", "state", "exit_code", "oom_killed", "health", "health_output"];
    let known: Vec<_> = known.iter().map(|key| failed[key].clone()).collect();
    let expected = json!(["web", "web-web-1", "running", 0, false, "unhealthy", "no answer"]);
    assert_eq!((json!(known), problem["containers"].as_array().unwrap().len()), (expected, 1), "{problem}");
    let log = failed["log"].as_array().unwrap();
    assert_eq!((log.len(), &log[0], &log[49]), (50, &json!("line 11"), &json!("\u{1b}[2Jend")));
    // History has it as well, and the old container is back.
    let history = restock.get("/api/apps/web/history").await.ok();
    assert_eq!(history[0]["error"]["containers"], problem["containers"]);
    assert_eq!(world.engine.container("web-web-1").unwrap().image_id, old());
}

#[tokio::test]
async fn an_up_that_waits_in_vain_for_a_container_keeps_what_that_one_said() {
    let world = World::new();
    world.app("web").service("web", WEB).service("db", "registry.test/db:1").running();
    world.engine.publish_with(WEB, "web bad", Life::Exits(3));
    world.engine.things(|things| things.logs.insert(WEB.into(), "no database".into()));
    // Compose gives up after it has started the container.
    let up = "first && { printf '%s\\t%s\\n' \"$PWD\" \"$*\" >>\"$world/done\"; fail 1 'dependency failed to start'; }";
    world.docker.on("web", "up", up);
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(500, "rolled_back");
    let failed = &problem["containers"];
    assert_eq!((&failed[0]["service"], &failed[0]["exit_code"]), (&json!("web"), &json!(3)), "{problem}");
    assert_eq!((&failed[0]["log"], failed.as_array().unwrap().len()), (&json!(["no database"]), 1));
}

#[tokio::test]
async fn an_up_that_fails_is_taken_back_with_what_compose_said() {
    let world = World::with_new_web();
    world.docker.on(
        "web",
        "up",
        "first && fail 1 'Error response from daemon: driver failed: port is already allocated'",
    );
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(500, "rolled_back");
    assert!(problem["detail"].as_str().unwrap().contains("port is already allocated"), "{problem}");
    assert!(problem["stderr"].as_str().unwrap().contains("port is already allocated"), "{problem}");
    assert!(problem["command"].as_str().unwrap().contains("up -d"), "{problem}");
    assert_eq!(ups(&world), 2);
    let requests = world.engine.requests();
    let tags: Vec<_> = requests.iter().filter(|request| request.contains("/tag?")).collect();
    // Protected under a name of its own; then the reference means it again.
    assert_eq!(tags.len(), 2, "{tags:?}");
    assert!(tags.iter().all(|tag| tag.contains(&old())) && tags[1].contains("registry.test"), "{tags:?}");
}

#[tokio::test]
async fn an_up_that_is_killed_is_taken_back() {
    let world = World::with_new_web();
    world.docker.on("web", "up", "first && kill -9 $$");
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(500, "rolled_back");
    assert!(problem["detail"].as_str().unwrap().contains("signal 9"), "{problem}");
}

#[tokio::test]
async fn a_rollback_that_does_not_work_is_failed_and_never_rolled_back() {
    let world = World::with_new_web();
    world.docker.on("web", "up", "fail 1 'no space left on device'");
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(500, "rollback_failed");
    assert_eq!((&problem["outcome"], &problem["updated"]), (&json!("failed"), &json!(false)));

    let world = with_bad_web(Life::Exits(1));
    world.engine.things(|things| things.images.insert(old(), Life::Unhealthy));
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(500, "rollback_failed");
    assert_eq!(problem["outcome"], "failed");
}

#[tokio::test]
async fn a_failed_update_is_left_as_it_is_where_that_is_wanted() {
    let by_query = with_bad_web(Life::Exits(1));
    let restock = by_query.restock().await;
    let problem = restock.post("/api/apps/web/update?rollback=false").await.problem(500, "update_failed");
    assert_eq!((&problem["outcome"], ups(&by_query)), (&json!("failed"), 1));
    assert_eq!(by_query.engine.container("web-web-1").unwrap().image_id, image_id("web bad"));

    let by_file = World::new();
    by_file.app("web").service("web", WEB).key("x-restock", json!({"rollback": false})).running();
    by_file.engine.publish_with(WEB, "web bad", Life::Exits(1));
    let restock = by_file.restock().await;
    restock.post("/api/apps/web/update").await.problem(500, "update_failed");
    assert_eq!(ups(&by_file), 1);
}

#[tokio::test]
async fn all_that_changed_is_taken_back_when_one_service_fails() {
    let world = World::new();
    world.app("web").service("a", "registry.test/a:1").service("b", "registry.test/b:1").running();
    world.engine.publish("registry.test/a:1", "a new");
    world.engine.publish_with("registry.test/b:1", "b bad", Life::Exits(1));
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(500, "rolled_back");
    assert_eq!(problem["services"].as_array().unwrap().len(), 2);
    for service in ["a", "b"] {
        let container = world.engine.container(&format!("web-{service}-1")).unwrap();
        assert_eq!(container.image_id, image_id(&format!("registry.test/{service}:1 old")));
    }
}

#[tokio::test]
async fn a_service_whose_old_image_is_gone_holds_up_no_other() {
    let world = World::new();
    world.app("web").service("a", "registry.test/a:1").service("b", "registry.test/b:1").running();
    world.engine.publish("registry.test/a:1", "a new");
    world.engine.publish_with("registry.test/b:1", "b bad", Life::Exits(1));
    world.docker.on("web", "up", "wait_for up");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "up").await;
    world.engine.things(|things| things.images.remove(&image_id("registry.test/a:1 old")));
    world.docker.allow("up");
    let ended = restock.finished(&job).await;
    assert_eq!((&ended["outcome"], &ended["error"]["code"]), (&json!("failed"), &json!("rollback_failed")), "{ended}");
    let container = world.engine.container("web-b-1").unwrap();
    assert_eq!(container.image_id, image_id("registry.test/b:1 old"));
}

#[tokio::test]
async fn what_was_taken_back_is_in_the_history() {
    let world = with_bad_web(Life::Exits(1));
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(500, "rolled_back");
    let history = restock.get("/api/apps/web/history").await.ok();
    assert_eq!((&history[0]["id"], &history[0]["outcome"]), (&problem["job"], &json!("rolled_back")));
    assert_eq!(history[0]["error"]["code"], "rolled_back");
    // It was taken back, so there is nothing to roll back to.
    restock.post("/api/apps/web/rollback").await.problem(409, "nothing_to_roll_back");
}

#[tokio::test]
async fn up_is_never_ended_by_a_client_that_cancels_or_leaves() {
    let world = World::with_new_web();
    world.docker.on("web", "up", "wait_for up");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "up").await;
    restock.delete(&format!("/api/jobs/{job}")).await.problem(409, "too_late_to_cancel");
    world.docker.allow("up");
    assert_eq!(restock.finished(&job).await["outcome"], "updated");
    assert_eq!(ups(&world), 1);
}

/// An app whose update gives `web` a new image and, because somebody has edited its settings, makes `db` again; that
/// one does not work any more.
async fn with_bad_db() -> (World, crate::world::Service) {
    let world = World::new();
    let app = world.app("web").service("web", WEB).service("db", "registry.test/db:1");
    app.key("x-restock", json!({"auto_update": "local"})).running();
    world.engine.publish(WEB, "web new");
    world.docker.on("web", "up", "wait_for up");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "up").await;
    world.engine.change("web-db-1", |db| (db.id, db.life) = ("d".repeat(64), Life::Unhealthy));
    world.docker.allow("up");
    let ended = restock.finished(&job).await;
    assert_eq!((&ended["outcome"], &ended["error"]["code"]), (&json!("failed"), &json!("rollback_failed")), "{ended}");
    assert_eq!((&ended["error"]["service"], &ended["error"]["containers"][0]["service"]), (&json!("db"), &json!("db")));
    assert_eq!(world.engine.container("web-web-1").unwrap().image_id, old());
    (world, restock)
}

#[tokio::test]
async fn rolled_back_is_said_only_when_everything_that_ran_runs_again() {
    with_bad_db().await;
}

#[tokio::test]
async fn an_image_is_not_blamed_for_what_else_does_not_work() {
    let (world, restock) = with_bad_db().await;
    world.engine.change("web-db-1", |db| db.life = Life::Runs);
    let pass = async || restock.post("/api/auto-update").await.ok();
    // It waits while everything is as it was, and is tried again when the app is set up otherwise.
    world.engine.publish(WEB, "web new");
    let held = pass().await;
    let web = |report: &serde_json::Value| report["reports"][1].clone();
    assert_eq!(
        (&web(&held)["HeldBack"]["reason"], &web(&held)["Updated"]),
        (&json!("setup"), &json!("false")),
        "{held}"
    );
    let file = world.path("apps/web/compose.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"services\"", "\"x-edited\": true, \"services\"")).unwrap();
    let done = pass().await;
    assert_eq!(web(&done)["Updated"], "true", "{done}");
}

#[tokio::test]
async fn what_did_not_work_before_either_is_told() {
    let world = World::new();
    world.app("web").service("web", WEB).running();
    world.engine.change("web-web-1", |web| web.life = Life::Unhealthy);
    world.engine.things(|things| things.images.insert(old(), Life::Unhealthy));
    world.engine.publish_with(WEB, "web bad", Life::Exits(1));
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(500, "rollback_failed");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("before this `web` did not work either"), "{detail}");
}

#[tokio::test]
async fn what_protects_an_image_stays_while_it_may_be_needed() {
    let world = World::new();
    for app in ["a", "b"] {
        let image = format!("registry.test/{app}:1");
        world.app(app).service("web", &image).running();
        world.engine.publish(&image, &format!("{app} new"));
    }
    world.docker.on("a", "up", "wait_for up");
    let options = crate::world::Options { keep: Some(std::time::Duration::ZERO), ..crate::world::Options::default() };
    let restock = world.restock_with(options).await;
    let kept = || -> Vec<_> {
        world.engine.things(|things| things.names.keys().filter(|name| name.contains("/keep/")).cloned().collect())
    };
    let job = restock.start_update("a").await;
    world.docker.called("a", "up").await;
    restock.post("/api/apps/b/update").await.ok();
    assert!(matches!(&kept()[..], [name] if name.starts_with("restock.local/keep/a/web:")), "{:?}", kept());
    world.docker.allow("up");
    assert_eq!(restock.finished(&job).await["outcome"], "updated");
    assert_eq!(kept(), Vec::<String>::new());
}

#[tokio::test]
async fn a_container_in_the_network_of_one_that_was_replaced_follows_it_also_when_the_update_fails() {
    for take_back in [true, false] {
        let world = with_bad_web(Life::Unhealthy);
        let owner = world.engine.container("web-web-1").unwrap().id;
        world.engine.things(|things| {
            things.run("guest", "registry.test/guest:1").host["NetworkMode"] = json!(format!("container:{owner}"));
        });
        let old = image_id(&format!("{WEB} old"));
        if take_back {
            // The way back fails as well.
            world.engine.things(|things| things.images.insert(old, Life::Unhealthy));
        }
        let restock = world.restock().await;
        let code = if take_back { "rollback_failed" } else { "update_failed" };
        restock.post(&format!("/api/apps/web/update?rollback={take_back}")).await.problem(500, code);
        let owner = world.engine.container("web-web-1").unwrap().id;
        let guest = world.engine.container("guest").unwrap();
        assert_eq!(guest.host["NetworkMode"], json!(format!("container:{owner}")), "{code}");
        assert_eq!(guest.state, "running");
    }
}
