//! Requests that are wrong, and what everybody hears about it.

use crate::fake::Fake;

#[tokio::test]
async fn wrong_requests_get_problem_documents_that_say_what_is_wrong() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    let table = [
        ("GET", "/api/nothing", "", 404, "/api/nothing"),
        ("DELETE", "/api/apps", "", 405, "DELETE"),
        ("POST", "/api/apps/web/update?dryrun=true", "", 400, "`dryrun`"),
        ("POST", "/api/apps/web/update?rollback=perhaps", "", 400, "`rollback`"),
        ("POST", "/api/apps/web/update?service=nothing", "", 400, "`nothing`"),
        ("GET", "/api/history?limit=many", "", 400, "`limit`"),
        ("GET", "/api/history?before=x", "", 400, "`before`"),
        ("POST", "/api/apps/update", "{\"apps\": 5}", 400, "line 1 column 10"),
        ("POST", "/api/apps/update", "{\"names\": []}", 400, "unknown field `names`"),
        ("GET", "/api/jobs/x", "", 404, "no such job"),
        ("GET", "/api/apps/nothing/history", "", 404, "no such app"),
    ];
    for (method, path, body, expected, words) in table {
        let (status, response, problem) = fake.send(method, path, &[], body).await;
        assert_eq!(status, expected, "{method} {path}: {problem}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{words} in {problem}");
        for member in ["type", "title", "status", "detail", "instance", "code"] {
            assert!(!problem[member].is_null(), "{member} of {problem}");
        }
        assert_eq!(problem["status"], expected);
    }
    let (_, response, _) = fake.send("PUT", "/api/apps", &[], "").await;
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    let (status, _, _) = fake.send("POST", "/api/apps/update", &[], &"x".repeat(2 << 20)).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn names_that_are_none_run_no_command() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    let long = "a".repeat(300);
    for name in ["..", "%2e%2e", "a%2fb", "-f", "%20", "web%00", &long] {
        for action in ["update", "rollback", "up", "down"] {
            let (status, problem) = fake.post(&format!("/api/apps/{name}/{action}")).await;
            assert_eq!(status, 404, "{name}: {problem}");
        }
        assert_eq!(fake.get(&format!("/api/apps/{name}")).await.0, 404);
        assert_eq!(fake.get(&format!("/api/apps/{name}/logs")).await.0, 404);
    }
    assert!(fake.calls().is_empty());
    assert!(
        fake.engine.requests().iter().all(|request| request == "GET /containers/json" || request == "GET /images/json")
    );
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    let (status, _, problem) =
        fake.send("POST", "/api/apps/web/update", &[("origin", "http://evil.example")], "").await;
    assert_eq!((status, &problem["code"]), (403, &"cross_site".into()));
    assert!(fake.calls().is_empty());
}

#[tokio::test]
async fn history_has_pages() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    for _ in 0..3 {
        fake.post("/api/apps/web/update").await;
    }
    let (_, all) = fake.get("/api/history").await;
    assert_eq!(all.as_array().unwrap().len(), 3);
    let (_, first) = fake.get("/api/apps/web/history?limit=2").await;
    assert_eq!(first.as_array().unwrap()[..], all.as_array().unwrap()[..2]);
    let (_, rest) = fake.get(&format!("/api/history?before={}", first[1]["id"].as_str().unwrap())).await;
    assert_eq!(rest.as_array().unwrap()[..], all.as_array().unwrap()[2..]);
}

#[tokio::test]
async fn a_policy_is_set_shown_and_unset() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    let path = "/api/apps/web/auto-update";
    assert_eq!(fake.get(path).await.1["auto_update"], serde_json::Value::Null);
    fake.engine.each(|container| container["Labels"]["io.containers.autoupdate"] = "image".into());
    let (_, labelled) = fake.get(path).await;
    assert_eq!(
        (&labelled["auto_update"], &labelled["source"]),
        (&"registry".into(), &"io.containers.autoupdate".into())
    );
    let (status, _, set) = fake.send("PUT", path, &[], r#"{"auto_update": "disabled"}"#).await;
    assert_eq!((status, &set["auto_update"], &set["source"]), (200, &"disabled".into(), &"setting".into()));
    assert_eq!(fake.get("/api/apps/web").await.1["auto_update"], "disabled");
    let (_, _, unset) = fake.send("PUT", path, &[], r#"{"auto_update": null}"#).await;
    assert_eq!(unset["source"], "io.containers.autoupdate");
    for body in ["{}", r#"{"auto_update": "sometimes"}"#, ""] {
        assert_eq!(fake.send("PUT", path, &[], body).await.0, 400, "{body}");
    }
    fake.engine.each(|container| container["Labels"]["restock.auto-update"] = "sometimes".into());
    let (status, problem) = fake.get(path).await;
    assert!(status == 422 && problem["detail"].as_str().unwrap().contains("registry (or image)"), "{problem}");
}
