//! Names that are no app's name: 404, and no command is run and no file is touched because of them.

use crate::world::World;

const VERBS: [(&str, &str); 9] = [
    ("GET", ""),
    ("POST", "/update"),
    ("POST", "/rollback"),
    ("POST", "/up"),
    ("POST", "/down"),
    ("GET", "/status"),
    ("GET", "/logs"),
    ("GET", "/history"),
    ("GET", "/nothing"),
];

const NAMES: &str = "nobody .. %2e%2e %2E%2E%2Fweb ..%2fweb a%2fb web%2f %2fetc -f --help _web .web web%00 web%0a w%20b \
                     %ff w%C3%A4b web;id $(id) %24%7BHOME%7D outside %";

#[tokio::test]
async fn no_verb_works_on_what_is_no_app() {
    let world = World::with_web();
    std::fs::create_dir(world.path("outside")).unwrap();
    std::fs::write(world.path("outside/compose.yaml"), "{}").unwrap();
    std::os::unix::fs::symlink(world.path("outside"), world.path("apps/outside")).unwrap();
    let restock = world.restock().await;
    let long = "a".repeat(300);
    for name in NAMES.split(' ').chain([long.as_str()]) {
        for (method, verb) in VERBS {
            let reply = restock.request(method, &format!("/api/apps/{name}{verb}")).await;
            assert_eq!(reply.status, 404, "{method} {name}{verb}: {}", reply.text());
            assert_eq!(reply.headers["content-type"], "application/problem+json");
        }
    }
    assert!(world.docker.all_calls().is_empty() && world.engine.requests().is_empty());
    assert_eq!(restock.get("/api/jobs").await.ok(), serde_json::json!([]));
}

#[tokio::test]
async fn a_body_with_such_names_gets_a_problem_for_each_and_the_others_are_updated() {
    let world = World::with_web();
    let restock = world.restock().await;
    let body = r#"{"apps": ["../web", "web", "-f", ""]}"#;
    let results = restock.post("/api/apps/update").body(body).await.ok();
    let status = |n: usize| results[n]["status"].as_u64();
    assert_eq!((status(0), status(2), status(3)), (Some(404), Some(404), Some(404)), "{results}");
    assert_eq!((&results[1]["app"], &results[1]["outcome"]), (&"web".into(), &"unchanged".into()));
}

#[tokio::test]
async fn ids_that_are_no_jobs_are_404() {
    let world = World::new();
    let restock = world.restock().await;
    for id in ["nobody", "..", "%2e%2e", "01ARZ3NDEKTSV4RRFFQ69G5FAV", &"0".repeat(300)] {
        for (method, verb) in [("GET", ""), ("GET", "/events"), ("DELETE", "")] {
            restock.request(method, &format!("/api/jobs/{id}{verb}")).await.problem(404, "no_such_job");
        }
    }
}

#[tokio::test]
async fn an_app_may_have_a_name_that_routes_use() {
    let world = World::new();
    world.app("update").service("web", "registry.test/web:1").running();
    let restock = world.restock().await;
    assert_eq!(restock.get("/api/apps/update").await.ok()["name"], "update");
    assert_eq!(restock.post("/api/apps/update/update").await.ok()["outcome"], "unchanged");
}
