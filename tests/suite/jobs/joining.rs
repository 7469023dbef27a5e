use serde_json::json;

use crate::world::World;

/// An app whose pull waits until the test lets it go on.
fn held() -> World {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "wait_for pull");
    world
}

#[tokio::test]
async fn an_asynchronous_answer_says_where_to_look() {
    let world = held();
    let restock = world.restock().await;
    let reply = restock.post("/api/apps/web/update").header("prefer", "wait=5, respond-async").await;
    assert_eq!((reply.status, &reply.headers["preference-applied"]), (202, &"respond-async".parse().unwrap()));
    let job = reply.json();
    let location = reply.headers["location"].to_str().unwrap();
    assert_eq!(location, format!("/api/jobs/{}", job["id"].as_str().unwrap()));
    assert_eq!((&job["kind"], &job["app"], &job["state"]), (&json!("update"), &json!("web"), &json!("running")));
    assert!(job["outcome"].is_null() && job["finished_at"].is_null() && job["started_at"].is_string());
    world.docker.called("web", "pull").await;
    assert_eq!(restock.get(location).await.ok()["step"], "pull");
    assert_eq!(restock.get("/api/jobs").await.ok()[0]["id"], job["id"]);
    assert_eq!(restock.get("/api/history").await.ok(), json!([]), "only what has ended is history");
    world.docker.allow("pull");
    let job = restock.finished(job["id"].as_str().unwrap()).await;
    assert_eq!((&job["outcome"], &job["result"]["updated"]), (&json!("updated"), &json!(true)));
    assert!(job["finished_at"].is_string() && job["error"].is_null());
}

#[tokio::test]
async fn a_second_update_joins_the_first_and_gets_its_result() {
    let world = held();
    let restock = world.restock().await;
    let waiting = tokio::spawn(restock.post("/api/apps/web/update").into_future());
    world.docker.called("web", "pull").await;
    let job = restock.start_update("web").await;
    let other = tokio::spawn(restock.post("/api/apps/web/update").into_future());
    let all = tokio::spawn(restock.post("/api/apps/update").into_future());
    world.docker.allow("pull");
    let (one, two) = (waiting.await.unwrap().ok(), other.await.unwrap().ok());
    assert_eq!((&one["job"], &one["updated"]), (&json!(job), &json!(true)));
    assert_eq!(one, two);
    assert_eq!(all.await.unwrap().ok()[0]["job"], job);
    assert_eq!(world.docker.verbs("web"), ["config", "pull", "up"]);
}

#[tokio::test]
async fn a_dry_run_keeps_no_update_waiting_and_an_update_no_dry_run() {
    let world = World::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let image = format!("{}/demo/web:1", silent.local_addr().unwrap());
    world.app("web").service("web", &image).running();
    world.engine.publish(&image, "new");
    let (one, other) = (world.restock().await, world.restock().await);
    let looking = tokio::spawn(one.post("/api/apps/web/update?dry_run=true").into_future());
    let question = silent.accept().await.unwrap();
    // From here, and from another process.
    assert_eq!(one.post("/api/apps/web/update").await.ok()["outcome"], "updated");
    assert_eq!(other.post("/api/apps/web/update").await.ok()["outcome"], "unchanged");
    assert!(!looking.is_finished());
    drop((question, silent));
    looking.await.unwrap();
}

#[tokio::test]
async fn many_at_once_are_one_update() {
    let world = World::with_new_web();
    let restock = world.restock().await;
    let requests: Vec<_> = (0..20).map(|_| tokio::spawn(restock.post("/api/apps/web/update").into_future())).collect();
    let mut changed = 0;
    for request in requests {
        let result = request.await.unwrap().ok();
        changed += usize::from(result["updated"] == true);
    }
    let ups = world.docker.verbs("web").iter().filter(|verb| *verb == "up").count();
    assert_eq!(ups, 1);
    assert!(changed >= 1);
}

#[tokio::test]
async fn another_action_on_a_busy_app_is_409_that_names_the_job() {
    let world = held();
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "pull").await;
    for action in ["rollback", "up", "down"] {
        let problem = restock.post(&format!("/api/apps/web/{action}")).await.problem(409, "busy");
        assert_eq!((&problem["job"], &problem["app"]), (&json!(job), &json!("web")));
    }
    world.docker.allow("pull");
    assert_eq!(restock.finished(&job).await["outcome"], "updated");
    restock.post("/api/apps/web/rollback").await.ok();
}

#[tokio::test]
async fn different_apps_are_updated_at_the_same_time() {
    let world = held();
    world.app("db").service("db", "registry.test/db:1").running();
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "pull").await;
    assert_eq!(restock.post("/api/apps/db/update").await.ok()["outcome"], "unchanged");
    world.docker.allow("pull");
    restock.finished(&job).await;
}
