//! Commands of the app's owner around an update.

use serde_json::{Value, json};

use crate::world::{Life, WEB, World, image_id};

/// An app with a newer image and these hooks.
fn with_hooks(hooks: &Value) -> World {
    let world = World::new();
    let service = json!({"image": WEB, "environment": {"PASSWORD": "swordfish"}});
    world.app("web").service_with("web", service).key("x-restock", json!({ "hooks": hooks })).running();
    world.engine.publish(WEB, "web new");
    world
}

fn hooks(before: &str, after: &str) -> Value {
    let hook = |command: &str| json!([{"service": "web", "command": command}]);
    json!({"before": hook(before), "after": hook(after)})
}

/// The calls from the first hook or change on.
fn calls(world: &World) -> Vec<String> {
    let calls = world.docker.calls("web").into_iter();
    calls.filter(|call| call.contains("exec") || call.contains("--no-build")).collect()
}

const UP: &str = "compose --progress json up -d --no-build --pull never";

#[tokio::test]
async fn hooks_run_around_what_changes() {
    let two = json!({
        "before": [{"service": "web", "command": ["dump", "--to", "/data/dump"]}, {"service": "web", "command": "sync"}],
        "after": [{"service": "web", "command": "reindex"}],
    });
    let world = with_hooks(&two);
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    let told: Vec<_> = restock.get(&format!("/api/jobs/{job}/events")).events().await.rest().await;
    let steps: Vec<_> = told.iter().filter_map(|event| event.data["step"].as_str().map(str::to_owned)).collect();
    assert!(steps.ends_with(&["hooks_before", "apply", "verify", "hooks_after"].map(str::to_owned)), "{steps:?}");
    assert_eq!(told.iter().filter(|event| event.event == "hook").count(), 3);
    assert_eq!(restock.finished(&job).await["outcome"], "updated");
    let expected = [
        "compose exec -T web dump --to /data/dump",
        "compose exec -T web sh -c sync",
        UP,
        "compose exec -T web sh -c reindex",
    ];
    assert_eq!(calls(&world), expected);
}

#[tokio::test]
async fn nothing_to_apply_runs_no_hook() {
    let world = with_hooks(&hooks("dump", "reindex"));
    let restock = world.restock().await;
    restock.post("/api/apps/web/update?dry_run=true").await;
    assert_eq!(calls(&world), Vec::<String>::new());
    restock.post("/api/apps/web/update").await.ok();
    let so_far = calls(&world).len();
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "unchanged");
    restock.post("/api/apps/web/rollback").await.ok();
    let more = calls(&world).into_iter().skip(so_far).filter(|call| call.contains("exec")).count();
    assert_eq!(more, 0, "neither an unchanged app nor a rollback runs hooks");
}

#[tokio::test]
async fn a_hook_before_that_fails_stops_the_update_with_nothing_touched() {
    let world = with_hooks(&hooks("dump --password hunter2", "reindex"));
    let before = world.engine.container("web-web-1").unwrap();
    world.docker.on("web", "exec", "fail 3 'dump: wrong password swordfish'");
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(500, "hook_failed");
    assert_eq!(
        (&problem["outcome"], &problem["updated"], &problem["services"]),
        (&json!("failed"), &json!(false), &json!([]))
    );
    assert_eq!((&problem["service"], &problem["app"]), (&json!("web"), &json!("web")));
    assert!(problem["detail"].as_str().unwrap().contains("exited with 3"), "{problem}");
    assert_eq!(problem["stderr"], "dump: wrong password ***");
    let text = problem.to_string();
    assert!(!text.contains("swordfish") && !text.contains("hunter2"), "{text}");
    assert_eq!(calls(&world), ["compose exec -T web sh -c dump --password hunter2"]);
    let after = world.engine.container("web-web-1").unwrap();
    assert_eq!((after.id, after.image_id), (before.id, before.image_id));
    assert!(!world.engine.requests().iter().any(|request| request.contains("/tag?")));
    // The image is not a bad one, and there is nothing to take back.
    restock.post("/api/apps/web/rollback").await.problem(409, "nothing_to_roll_back");
}

#[tokio::test]
async fn a_hook_whose_program_is_missing_is_told_in_the_words_of_the_engine() {
    let world = with_hooks(&json!({"before": [{"service": "web", "command": ["nosuchprogram"]}]}));
    let restock = world.restock().await;
    let words = r#"OCI runtime exec failed: exec: "nosuchprogram": executable file not found in $PATH"#;
    let cases = [
        (format!("echo dumping; printf '%s\\r\\n' '{words}: swordfish'; exit 126"), json!(format!("{words}: ***"))),
        (format!("echo '{words}'; exit 127"), json!(words)),
        // What the command itself says comes first, and what it prints is its own affair when it ran.
        ("echo dumped; fail 127 'sh: dump: not found'".to_owned(), json!("sh: dump: not found")),
        ("echo dumped; exit 3".to_owned(), Value::Null),
        ("exit 126".to_owned(), Value::Null),
    ];
    for (script, said) in cases {
        world.docker.on("web", "exec", &script);
        let problem = restock.post("/api/apps/web/update").await.problem(500, "hook_failed");
        assert_eq!(problem["stderr"], said, "{script}: {problem}");
    }
}

#[tokio::test]
async fn a_hook_before_that_does_not_end_stops_the_update() {
    let world = with_hooks(&json!({"before": [{"service": "web", "command": "dump", "timeout": "100ms"}]}));
    world.docker.on("web", "exec", "hang");
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(504, "hook_failed");
    assert!(problem["detail"].as_str().unwrap().contains("did not end within 100ms"), "{problem}");
    assert!(!world.docker.verbs("web").contains(&"up".to_owned()));
    world.docker.all_ended().await;
}

#[tokio::test]
async fn an_update_can_be_cancelled_while_a_hook_runs_before_it() {
    let world = with_hooks(&hooks("dump", "reindex"));
    world.docker.on("web", "exec", "hang");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "exec").await;
    restock.delete(&format!("/api/jobs/{job}")).await;
    assert_eq!(restock.finished(&job).await["outcome"], "cancelled");
    assert!(!world.docker.verbs("web").contains(&"up".to_owned()));
}

#[tokio::test]
async fn a_hook_after_that_fails_is_told_and_takes_nothing_back() {
    let world = with_hooks(&hooks("dump", "reindex"));
    world.docker.on("web", "exec", "first || fail 1 'no index swordfish'");
    let restock = world.restock().await;
    let result = restock.post("/api/apps/web/update").await.ok();
    assert_eq!(result["warnings"], json!(["the `after` hook in `web` exited with 1: no index ***"]));
    assert_eq!(world.engine.container("web-web-1").unwrap().image_id, image_id("web new"));
}

#[tokio::test]
async fn an_update_that_is_taken_back_runs_no_hook_after_it() {
    let world = with_hooks(&hooks("dump", "reindex"));
    world.engine.publish_with(WEB, "web bad", Life::Exits(1));
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.problem(500, "rolled_back");
    assert_eq!(calls(&world), ["compose exec -T web sh -c dump", UP, UP]);
}

#[tokio::test]
async fn hooks_of_a_wrong_shape_are_told_before_anything_is_touched() {
    let world = with_hooks(&json!({"before": [{"service": "web"}]}));
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(422, "invalid_settings");
    assert_eq!(problem["app"], "web");
    assert!(problem["detail"].as_str().unwrap().contains("x-restock.hooks.before[0].command"), "{problem}");
    assert_eq!(calls(&world), Vec::<String>::new());
}

#[tokio::test]
async fn an_app_that_is_stopped_is_updated_without_its_hooks_and_says_so() {
    let world = World::new();
    world.app("web").service("web", WEB).key("x-restock", json!({"hooks": hooks("dump", "reindex")})).stopped();
    world.engine.publish(WEB, "web new");
    let restock = world.restock().await;
    let result = restock.post("/api/apps/web/update").await.ok();
    let warnings = result["warnings"].to_string();
    for part in ["`before` hooks were not run", "`after` hooks were not run", "not proved to work: `web`"] {
        assert!(warnings.contains(part), "{part} in {warnings}");
    }
    assert!(!world.docker.verbs("web").contains(&"exec".to_owned()));
    let container = world.engine.container("web-web-1").unwrap();
    assert_eq!((container.image_id, container.state.as_str()), (image_id("web new"), "created"));
}
