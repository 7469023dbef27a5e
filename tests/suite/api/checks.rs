//! A check of many apps at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::registry::fake::{Answer, Fake};
use crate::registry::image::Image;
use crate::world::{World, until};

const CHECK: &str = "/api/check";

#[tokio::test]
async fn a_check_asks_about_each_image_once_and_answers_for_each_app() {
    let image = Image::of_version("2.0");
    let served = image.clone();
    let registry =
        Fake::start(move |seen| if seen.path.contains("/gone/") { Answer::status(404) } else { served.answer(seen) })
            .await;
    let world = World::new();
    for (app, repository) in [("a", "shared"), ("b", "shared"), ("c", "gone")] {
        world.app(app).service("main", &format!("{}/{repository}:1", registry.name())).running();
    }
    world.app("broken").absent();
    world.docker.on("broken", "config", "fail 1 'line 3'");
    let restock = world.restock().await;
    let mut events = restock.get("/api/events").events().await;
    let answer = restock.post(CHECK).await.ok();
    let numbers = ["asked", "outdated", "failed"].map(|key| answer[key].clone());
    assert_eq!(numbers, [json!(4), json!(2), json!(2)], "{answer}");
    let apps = answer["apps"].as_array().unwrap();
    let found: Vec<_> =
        apps.iter().map(|app| (app["app"].as_str().unwrap(), app["status"].as_str().unwrap())).collect();
    assert_eq!(found, [("a", "outdated"), ("b", "outdated"), ("broken", "error"), ("c", "error")]);
    assert_eq!(apps[0]["services"][0]["available"]["version"], "2.0");
    assert!(apps[2]["error"]["message"].as_str().unwrap().contains("line 3"), "{}", apps[2]);
    let asked = |method: &str| registry.count(method, "/v2/shared/");
    assert_eq!((asked("HEAD"), asked("GET")), (1, 3), "two apps, one image");
    let mut last = Value::Null;
    for _ in 0..4 {
        last = events.next_called("progress").await.data;
    }
    assert_eq!((&last["current"], &last["total"], &last["percent"]), (&json!(4), &json!(4), &json!(100)), "{last}");
    // The list has what was found; the history has no entry.
    assert_eq!(restock.get("/api/apps").await.ok()[0]["services"][0]["available"]["version"], "2.0");
    assert_eq!(restock.get("/api/history").await.ok(), json!([]));
    let job = restock.get(&format!("/api/jobs/{}", answer["job"].as_str().unwrap())).await.ok();
    assert_eq!(
        (&job["kind"], &job["all"], &job["result"]["check"]["asked"]),
        (&json!("check"), &json!("*"), &json!(4))
    );
}

#[tokio::test]
async fn a_second_check_joins_if_the_first_is_about_the_same() {
    let (image, open) = (Image::of_version("2.0"), Arc::new(AtomicBool::new(false)));
    let (served, gate) = (image.clone(), open.clone());
    let registry = Fake::start(move |seen| {
        let wait = if gate.load(Ordering::Relaxed) { 0 } else { 700 };
        served.answer(seen).after(std::time::Duration::from_millis(wait))
    })
    .await;
    let world = World::new();
    for app in ["a", "b"] {
        world.app(app).service("main", &format!("{}/{app}:1", registry.name())).running();
    }
    let restock = world.restock().await;
    let started = restock.post(CHECK).body(json!({"apps": ["a"]}).to_string()).header("prefer", "respond-async").await;
    assert_eq!((started.status, started.headers["preference-applied"].to_str().unwrap()), (202, "respond-async"));
    let first = started.json()["id"].clone();
    until("the question", || (registry.count("HEAD", "/v2/a/") == 1).then_some(())).await;
    let same = restock.post(CHECK).body(json!({"apps": ["a"]}).to_string()).into_future();
    let all = restock.post(CHECK).into_future();
    let (same, all) = tokio::join!(same, all);
    let (same, all) = (same.ok(), all.ok());
    assert_eq!((&same["job"], &same["asked"]), (&first, &json!(1)));
    assert_eq!(all["asked"], 2);
    assert_ne!(all["job"], first);
    open.store(true, Ordering::Relaxed);
    let stream = restock.post(CHECK).header("accept", "text/event-stream");
    let result = stream.events().await.next_called("result").await.data;
    assert_eq!((&result["asked"], &result["outdated"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn nobody_is_asked_where_a_name_is_wrong() {
    let registry = Fake::start(|_| Answer::index()).await;
    let world = World::new();
    world.app("a").service("main", &format!("{}/a:1", registry.name())).running();
    let restock = world.restock().await;
    let check = |body: Value| restock.post(CHECK).body(body.to_string()).into_future();
    check(json!({"apps": ["a", "nope"]})).await.problem(404, "no_such_app");
    check(json!({"apps": ["a@nope"]})).await.problem(404, "no_such_host");
    check(json!({"app": "a"})).await.problem(400, "bad_json");
    restock.post(&format!("{CHECK}?force=true")).await.problem(400, "unknown_query_key");
    assert_eq!(registry.count("HEAD", "/"), 0);
    assert_eq!(check(json!({"apps": []})).await.ok()["asked"], 0);
}
