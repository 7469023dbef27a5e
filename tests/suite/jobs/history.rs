use serde_json::{Value, json};

use crate::world::{Service, World};

fn ids(jobs: &Value) -> Vec<String> {
    jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

/// Five updates of two apps; their jobs' IDs, newest first.
async fn five() -> (World, Service, Vec<String>) {
    let world = World::with_web();
    world.app("db").service("db", "registry.test/db:1").running();
    let restock = world.restock().await;
    let mut jobs = Vec::new();
    for app in ["web", "db", "web", "web", "db"] {
        let result = restock.post(&format!("/api/apps/{app}/update")).await.ok();
        jobs.insert(0, result["job"].as_str().unwrap().to_owned());
    }
    (world, restock, jobs)
}

#[tokio::test]
async fn what_was_done_is_told_newest_first() {
    let (_world, restock, jobs) = five().await;
    let history = restock.get("/api/history").await.ok();
    assert_eq!(ids(&history), jobs);
    assert!(history.as_array().unwrap().iter().all(|job| job["state"] == "finished" && job["finished_at"].is_string()));
    let of_db = restock.get("/api/apps/db/history").await.ok();
    assert_eq!(ids(&of_db), [jobs[0].clone(), jobs[3].clone()]);
    assert_eq!(of_db[0], restock.get(&format!("/api/jobs/{}", jobs[0])).await.ok());
}

#[tokio::test]
async fn pages_meet_without_gap_or_repetition() {
    let (_world, restock, jobs) = five().await;
    let first = ids(&restock.get("/api/history?limit=2").await.ok());
    assert_eq!(first, jobs[..2]);
    let second = ids(&restock.get(&format!("/api/history?limit=2&before={}", first[1])).await.ok());
    assert_eq!(second, jobs[2..4]);
    let third = ids(&restock.get(&format!("/api/history?limit=2&before={}", second[1])).await.ok());
    assert_eq!(third, jobs[4..]);
    assert_eq!(restock.get(&format!("/api/history?before={}", third[0])).await.ok(), json!([]));
    let of_web = ids(&restock.get(&format!("/api/apps/web/history?before={}", jobs[2])).await.ok());
    assert_eq!(of_web, [jobs[4].clone()]);
    assert_eq!(restock.get("/api/history?limit=0").await.ok(), json!([]));
    assert_eq!(ids(&restock.get("/api/history?limit=1000000").await.ok()), jobs);
}

#[tokio::test]
async fn an_app_that_is_gone_keeps_its_history_and_a_restart_changes_none() {
    let (world, restock, jobs) = five().await;
    std::fs::remove_dir_all(world.path("apps/db")).unwrap();
    drop(restock);
    let restock = world.restock().await;
    assert_eq!(ids(&restock.get("/api/history").await.ok()), jobs);
    assert_eq!(ids(&restock.get("/api/apps/db/history").await.ok()).len(), 2);
    restock.get("/api/apps/nobody/history").await.problem(404, "no_such_app");
    restock.post("/api/apps/db/update").await.problem(404, "no_such_app");
}

#[tokio::test]
async fn jobs_that_failed_are_in_it_with_their_reason() {
    let world = World::with_web();
    world.docker.on("web", "pull", "fail 1 'manifest unknown'");
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update").await.problem(502, "no_such_image");
    let job = &restock.get("/api/history").await.ok()[0];
    assert_eq!((&job["id"], &job["outcome"], &job["result"]), (&problem["job"], &json!("failed"), &json!(null)));
    assert_eq!((&job["error"]["code"], &job["error"]["status"]), (&json!("no_such_image"), &json!(502)));
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_no_history() {
    let world = World::with_web();
    world.app("broken").file("compose.yaml", "{").absent();
    world.docker.on("broken", "config", "fail 15 'yaml: line 1: did not find expected node content'");
    let restock = world.restock().await;
    restock.post("/api/apps/web/rollback").await.problem(409, "nothing_to_roll_back");
    restock.post("/api/apps/broken/update").await.problem(422, "invalid_compose_file");
    let reply = restock.post("/api/apps/web/rollback").header("prefer", "respond-async").await;
    let job = reply.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(restock.finished(&job).await["error"]["status"], 409, "who was promised an answer finds it");
    world.engine.go_away().await;
    assert_eq!(restock.post("/api/apps/web/update").await.status, 503);
    world.engine.come_back();
    restock.post("/api/apps/web/update?dry_run=true").await;
    assert_eq!(restock.get("/api/history").await.ok(), json!([]));
    assert_eq!(restock.get("/api/apps/web/history").await.ok(), json!([]));
}

#[tokio::test]
async fn the_history_is_filtered_by_kind_outcome_and_time() {
    let (_world, restock, jobs) = five().await;
    let down = restock.post("/api/apps/db/down").await.ok()["job"].as_str().unwrap().to_owned();
    let of = async |query: &str| ids(&restock.get(&format!("/api/history?{query}")).await.ok());
    assert_eq!(of("kind=down").await.join(","), down);
    assert_eq!(of("kind=update").await, jobs);
    assert_eq!(of("outcome=unchanged&limit=1").await, jobs[..1]);
    assert_eq!(of("outcome=rolled_back").await, [""; 0]);
    assert_eq!(of("since=2000-01-01T00:00:00Z&kind=down").await.join(","), down);
    assert_eq!(of("since=2100-01-01T00:00:00Z").await, [""; 0]);
    let ended = restock.get(&format!("/api/jobs/{}", jobs[1])).await.ok()["finished_at"].as_str().unwrap().to_owned();
    assert_eq!(of(&format!("since={ended}")).await, [down.clone(), jobs[0].clone(), jobs[1].clone()]);
    let of_db = ids(&restock.get("/api/apps/db/history?kind=down").await.ok());
    assert_eq!(of_db, [down]);
}
