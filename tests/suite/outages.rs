//! What is missing: told with its reason, and found by itself when it is there again.

use serde_json::{Value, json};

use crate::world::{Service, World};

const NEED_DOCKER: [(&str, &str); 5] = [
    ("GET", "/api/apps"),
    ("GET", "/api/apps/web"),
    ("POST", "/api/apps/web/update"),
    ("POST", "/api/apps/web/down"),
    ("GET", "/api/apps/web/logs"),
];

async fn refused(restock: &Service, code: &str, reason: &str) {
    for (method, path) in NEED_DOCKER {
        let problem = restock.request(method, path).await.problem(503, code);
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{method} {path}: {problem}");
    }
    let results = restock.post("/api/apps/update").await.ok();
    assert_eq!((&results[0]["status"], &results[0]["code"]), (&json!(503), &json!(code)));
    assert_eq!(restock.get("/health").await.status, 200);
}

async fn answered(restock: &Service) {
    assert_eq!(restock.get("/ready").await.ok()["ready"], true);
    assert_eq!(restock.get("/api/apps").await.ok()[0]["state"], "running");
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "unchanged");
}

async fn not_ready(restock: &Service, check: &str) -> Value {
    let reply = restock.get("/ready").await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    let report = reply.json();
    assert_eq!((&report["ready"], &report["checks"][check]["ok"]), (&json!(false), &json!(false)));
    report["checks"][check]["reason"].clone()
}

#[tokio::test]
async fn a_missing_docker_is_told_and_found_when_it_is_there() {
    let world = World::with_web();
    world.docker.uninstall();
    let restock = world.restock().await;
    refused(&restock, "compose_unavailable", "install the Docker CLI").await;
    assert!(not_ready(&restock, "compose").await.as_str().unwrap().contains("install"));
    world.docker.install();
    answered(&restock).await;
}

#[tokio::test]
async fn a_docker_that_goes_away_is_told_and_found_again() {
    let world = World::with_web();
    let restock = world.restock().await;
    answered(&restock).await;
    world.docker.uninstall();
    restock.post("/api/apps/web/update").await.problem(503, "compose_unavailable");
    world.docker.install();
    answered(&restock).await;
}

#[tokio::test]
async fn a_docker_without_compose_is_told() {
    let world = World::with_web();
    for script in ["say 'unknown flag: --format'; exit 125", "say 'docker: unknown command: docker compose'; exit 1"] {
        world.docker.on_version(script);
        let restock = world.restock().await;
        refused(&restock, "compose_unavailable", "install Docker Compose").await;
    }
}

#[tokio::test]
async fn a_compose_that_is_too_old_is_told_and_a_newer_one_is_found() {
    let world = World::with_web();
    world.docker.version("2.17.3");
    let restock = world.restock().await;
    refused(&restock, "compose_unavailable", "2.17.3 is too old").await;
    world.docker.version("v2.20.0-desktop.1");
    answered(&restock).await;
}

#[tokio::test]
async fn a_version_that_nobody_understands_is_told() {
    let world = World::with_web();
    for script in ["printf '\\377'; exit 0", "echo '{}'; exit 0", "exit 0", "kill -9 $$"] {
        world.docker.on_version(script);
        let restock = world.restock().await;
        refused(&restock, "compose_unavailable", "did not work").await;
    }
}

#[tokio::test]
async fn an_engine_that_is_gone_is_told_and_found_again() {
    let world = World::with_web();
    let restock = world.restock().await;
    answered(&restock).await;
    world.engine.go_away().await;
    refused(&restock, "engine_unreachable", "engine.sock").await;
    assert!(not_ready(&restock, "engine").await.as_str().unwrap().contains("cannot be reached"));
    assert!(!world.docker.verbs("web").contains(&"down".into()));
    world.engine.come_back();
    answered(&restock).await;
}

#[tokio::test]
async fn what_is_known_without_an_engine_is_answered() {
    let world = World::with_web();
    let restock = world.restock().await;
    let job = restock.post("/api/apps/web/update").await.ok()["job"].as_str().unwrap().to_owned();
    world.engine.go_away().await;
    world.docker.uninstall();
    for path in ["/api/jobs", "/api/history", "/api/apps/web/history", &format!("/api/jobs/{job}")] {
        restock.get(path).await.ok();
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_during_the_pull_leaves_everything_as_it_was() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "wait_for pull");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "pull").await;
    world.engine.go_away().await;
    world.docker.allow("pull");
    let job = restock.finished(&job).await;
    assert_eq!((&job["error"]["code"], &job["error"]["status"]), (&json!("engine_unreachable"), &json!(503)));
    assert!(!world.docker.verbs("web").contains(&"up".into()));
    world.engine.come_back();
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "updated");
}

#[tokio::test]
async fn an_engine_that_restarts_during_the_proof_is_waited_for() {
    let world = World::with_new_web();
    world.docker.on("web", "up", "wait_for up");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "up").await;
    // It answers once more, which is the look after `up`; then it goes.
    world.engine.go_away_after("/containers/json?all=1&filters=");
    world.docker.allow("up");
    world.engine.gone().await;
    world.engine.come_back();
    assert_eq!(restock.finished(&job).await["outcome"], "updated");
}

#[tokio::test]
async fn an_engine_that_answers_nonsense_is_no_reason_to_change_anything() {
    for (status, answer) in
        [(500, json!({"message": "database is locked"})), (200, json!("nonsense")), (200, json!(null))]
    {
        let world = World::with_new_web();
        world.engine.answer_instead("/containers/json?all=1", status, answer);
        let restock = world.restock().await;
        let reply = restock.post("/api/apps/web/update").await;
        assert!(!world.docker.verbs("web").contains(&"up".into()), "{}", reply.text());
        assert_ne!(reply.json()["updated"], true);
    }
}
