//! A request is found again by its ID: in its answer, its problem, its job, and the log.

use restock::usecases::update_options::UpdateOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Options, Program, World, soon, until};

#[tokio::test]
async fn every_answer_has_an_id_and_a_plain_one_is_kept() {
    let world = World::with_new_web();
    let restock = world.restock_with(Options { keys: "0123456789abcdef", ..Options::default() }).await;
    let key = "0123456789abcdef";
    for path in ["/", "/health", "/api/apps", "/api/nothing", "/api/images", "/v1.44/images/json", "/_ping", "/x"] {
        let reply = restock.get(path).header("x-api-key", key).header("x-request-id", "my-1.2_3").await;
        assert_eq!(reply.headers["x-request-id"], "my-1.2_3", "{path}");
        // Without a key most of them are refused.
        let reply = restock.get(path).header("x-request-id", "not plain").await;
        let id = reply.headers["x-request-id"].to_str().unwrap();
        assert!(id.parse::<ulid::Ulid>().is_ok(), "{path}: {id}");
    }
    let refused =
        restock.post("/api/apps/web/update").header("host", "evil.example").header("x-request-id", "r2").await;
    assert_eq!(refused.problem(403, "unknown_host")["request_id"], "r2");
    let hook = restock.post("/api/hooks/registry/geheim").header("x-api-key", key).await;
    assert!(!hook.text().contains("geheim") && hook.json()["instance"] == "/api/hooks/registry/…", "{}", hook.text());
}

#[tokio::test]
async fn a_job_has_the_id_of_the_request_that_started_it() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "wait_for pull");
    let restock = world.restock().await;
    let started = restock
        .post("/api/apps/web/update")
        .header("prefer", "respond-async")
        .header("x-request-id", "first")
        .await
        .json();
    assert_eq!(started["request_id"], "first");
    world.docker.called("web", "pull").await;
    // Whoever joins gets the job of the first.
    let joined =
        restock.post("/api/apps/web/update").header("prefer", "respond-async").header("x-request-id", "second").await;
    assert_eq!(
        (&joined.headers["x-request-id"], &joined.json()["request_id"]),
        (&"second".parse().unwrap(), &json!("first"))
    );
    world.docker.allow("pull");
    restock.finished(started["id"].as_str().unwrap()).await;
    // From the database.
    assert_eq!(restock.get("/api/history").await.ok()[0]["request_id"], "first");
    // A pass, and what it starts on the way.
    world.engine.publish(crate::world::WEB, "web newer");
    restock.post("/api/apps/update").header("x-request-id", "all").await.ok();
    let jobs = restock.get("/api/history").await.ok();
    assert_eq!(jobs[0]["request_id"], "all", "{jobs}");
    // As the command line and schedules do it.
    world.engine.publish(crate::world::WEB, "web newest");
    let ticket = restock.host.start_update("web", UpdateOptions::default()).await.unwrap();
    let job = restock.finished(ticket.id().as_str()).await;
    assert_eq!((job.get("request_id"), &job["outcome"]), (Some(&Value::Null), &json!("updated")));
}

/// The lines about requests, in the order in which they ended.
fn requests(program: &Program) -> Vec<Value> {
    program.log().into_iter().filter(|line| line["message"] == "request").collect()
}

#[tokio::test]
async fn each_request_is_one_line_of_the_log() {
    let world = World::with_new_web();
    std::fs::write(world.path("keys"), "0123456789abcdef read,update\n").unwrap();
    let keys = world.path("keys").display().to_string();
    let program = Program::serve(&world, "-S -n 1024", &["--api-key-file", &keys]).await;
    let key = "X-API-Key: 0123456789abcdef\r\nX-Request-Id";
    assert!(program.ask("GET /health").await.starts_with("HTTP/1.1 200 "));
    let listed = program.ask(&format!("GET /api/apps?token=geheim\r\n{key}: listed")).await;
    let body = listed.split_once("\r\n\r\n").unwrap().1.len();
    program.ask("GET /api/apps\r\nX-Request-Id: refused").await;
    program.ask(&format!("POST /api/hooks/registry/geheim\r\n{key}: hook")).await;
    let updated = program.ask(&format!("POST /api/apps/web/update\r\n{key}: updated")).await;
    assert!(updated.contains("\"outcome\":\"updated\"") && updated.contains("x-request-id: updated\r\n"), "{updated}");
    // A stream is logged when it ends.
    let mut stream = TcpStream::connect(&program.address).await.unwrap();
    let head = format!("GET /api/events HTTP/1.1\r\nHost: {}\r\n{key}: stream\r\n\r\n", program.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    soon("the answer's head", stream.read_u8()).await.unwrap();
    program.ask(&format!("GET /api/jobs\r\n{key}: beside")).await;
    drop(stream);
    let lines = until("the stream's line", || Some(requests(&program)).filter(|lines| lines.len() >= 6)).await;
    let told = |line: &Value| {
        let [id, path, client] = [&line["span"]["request_id"], &line["path"], &line["client"]];
        (id.clone(), line["method"].clone(), path.clone(), line["status"].clone(), client.clone())
    };
    let expected = [
        ("listed", "GET", "/api/apps", 400, "key 1 (127.0.0.1)"),
        ("refused", "GET", "/api/apps", 401, "127.0.0.1"),
        ("hook", "POST", "/api/hooks/registry/…", 404, "key 1 (127.0.0.1)"),
        ("updated", "POST", "/api/apps/web/update", 200, "key 1 (127.0.0.1)"),
        ("beside", "GET", "/api/jobs", 200, "key 1 (127.0.0.1)"),
        ("stream", "GET", "/api/events", 200, "key 1 (127.0.0.1)"),
    ];
    let expected = expected.map(|(id, method, path, status, client)| {
        (json!(id), json!(method), json!(path), json!(status), json!(client))
    });
    assert_eq!(lines.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(lines[0]["bytes"], body);
    assert!(lines.iter().all(|line| line["level"] == "INFO" && line["duration_ms"].is_u64()));
    let log = program.log();
    let text: String = log.iter().map(|line| line.to_string()).collect();
    assert!(!text.contains("geheim"), "{text}");
    let of_job = log.iter().filter(|line| line["span"]["job.id"].is_string()).collect::<Vec<_>>();
    let request = |line: &&Value| line["spans"].as_array().unwrap().iter().any(|span| span["request_id"] == "updated");
    assert!(of_job.len() >= 2 && of_job.iter().all(request), "{of_job:#?}");
}
