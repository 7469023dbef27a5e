use crate::world::{Options, World};

#[tokio::test]
async fn what_is_not_there_is_404_whatever_the_method() {
    let world = World::new();
    let restock = world.restock().await;
    for (method, path) in [
        ("GET", "/api/nothing"),
        ("POST", "/api/apps/web/restart"),
        ("GET", "/api/apps/"),
        ("GET", "/api/apps//"),
        ("DELETE", "/nowhere"),
        ("GET", "/api/apps/web/update/now"),
    ] {
        let problem = restock.request(method, path).await.problem(404, "no_such_route");
        assert_eq!(problem["instance"], path);
        assert!(problem["detail"].as_str().unwrap().contains(path), "{problem}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_and_the_right_ones_are_named() {
    let world = World::new();
    let restock = world.restock().await;
    for (method, path, allowed) in [
        ("DELETE", "/api/apps", vec!["GET", "HEAD"]),
        ("GET", "/api/apps/web/update", vec!["POST"]),
        ("PUT", "/api/apps/update", vec!["GET", "HEAD", "POST"]),
        ("POST", "/api/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV", vec!["DELETE", "GET", "HEAD"]),
        ("POST", "/health", vec!["GET", "HEAD"]),
        ("PATCH", "/api/history", vec!["GET", "HEAD"]),
    ] {
        let reply = restock.request(method, path).await;
        reply.problem(405, "method_not_allowed");
        let mut named: Vec<_> = reply.headers["allow"].to_str().unwrap().split(',').map(str::trim).collect();
        named.sort_unstable();
        assert_eq!(named, allowed, "{method} {path}");
    }
    assert!(world.docker.all_calls().is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_with_and_without_a_length() {
    let world = World::new();
    let restock = world.restock().await;
    let large = " ".repeat(2 << 20);
    let reply = restock.post("/api/apps/update").header("content-length", &large.len().to_string()).body(large.clone());
    reply.await.problem(413, "body_too_large");
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(large)]);
    let reply = restock.post("/api/apps/update").body(axum::body::Body::from_stream(chunks)).await;
    reply.problem(413, "body_too_large");
}

#[tokio::test]
async fn bad_json_is_400_and_the_place_is_named() {
    let world = World::new();
    let restock = world.restock().await;
    for (body, place) in [
        ("{\"apps\": [\"a\",]}", "line 1 column 15"),
        ("{\n\"apps\": 5}", "line 2"),
        ("[", "expected an object at line 1"),
        ("{\"app\": [\"a\"]}", "`app`"),
        ("{}", "`apps`"),
        ("{\"apps\": []} trailing", "trailing"),
        ("\u{fffd}", "line 1"),
    ] {
        let problem = restock.post("/api/apps/update").body(body).await.problem(400, "bad_json");
        assert!(problem["detail"].as_str().unwrap().contains(place), "{body}: {problem}");
    }
    assert!(world.docker.all_calls().is_empty());
}

#[tokio::test]
async fn an_array_is_no_object() {
    let world = World::with_web();
    let restock = world.restock_with(Options { login: Some(("me", "sesame")), ..Options::default() }).await;
    let login = restock.post("/api/login").body(r#"["me", "sesame"]"#).await;
    login.problem(400, "bad_json");
    assert!(!login.headers.contains_key("set-cookie"));
    let restock = world.restock().await;
    for (method, path, body) in [
        ("PUT", "/api/apps/web/auto-update", r#"["local"]"#),
        ("POST", "/api/apps/web/skip", r#"["web"]"#),
        ("POST", "/api/apps/web/skip", "[]"),
        ("POST", "/api/apps/update", r#"[["web"]]"#),
        ("POST", "/api/apps/update", r#" "web""#),
        ("POST", "/api/apps/update", "null"),
    ] {
        let problem = restock.request(method, path).body(body).await.problem(400, "bad_json");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("expected an object") && detail.contains("line 1 column"), "{body}: {problem}");
    }
    let group = restock.post("/api/groups/update").header("accept", "application/json").body(r#"["web"]"#);
    group.await.problem(400, "bad_json");
    assert!(world.docker.all_calls().is_empty() && world.engine.requests().is_empty());
}

#[tokio::test]
async fn a_body_where_none_is_taken_is_400_because_it_would_mean_another_thing() {
    let world = World::with_web();
    world.engine.made_its_images();
    let restock = world.restock().await;
    for (method, path) in [
        ("POST", "/api/auto-update"),
        ("POST", "/api/auto-update?dry_run=true"),
        ("POST", "/api/apps/web/update"),
        ("POST", "/api/apps/web/rollback"),
        ("POST", "/api/apps/web/up"),
        ("POST", "/api/apps/web/down"),
        ("DELETE", "/api/apps/web/skip"),
        ("DELETE", "/api/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV"),
    ] {
        for body in [r#"{"apps": ["web"]}"#, "[]", "null", "dry_run=true", "{}{}", "{"] {
            let problem = restock.request(method, path).body(body).await.problem(400, "unexpected_body");
            assert_eq!(problem["detail"], "this route takes no body", "{method} {path}: {body}");
        }
    }
    assert!(world.docker.all_calls().is_empty() && world.engine.requests().is_empty());
    for body in ["", " \n", "{}", " { } "] {
        restock.post("/api/apps/web/update?dry_run=true").body(body).await.ok();
    }
}

#[tokio::test]
async fn a_login_with_more_than_user_and_password_is_400_and_the_field_is_named() {
    let world = World::new();
    let restock = world.restock_with(Options { login: Some(("me", "sesame")), ..Options::default() }).await;
    let body = r#"{"user": "me", "pass": "sesame", "remember": true}"#;
    let problem = restock.post("/api/login").body(body).await.problem(400, "bad_json");
    assert!(problem["detail"].as_str().unwrap().contains("`remember`"), "{problem}");
}

#[tokio::test]
async fn a_bad_value_in_the_query_is_400_and_its_key_is_named() {
    let world = World::with_web();
    let restock = world.restock().await;
    for (method, path, key) in [
        ("POST", "/api/apps/web/update?dry_run=maybe", "dry_run"),
        ("POST", "/api/apps/web/update?rollback=", "rollback"),
        ("POST", "/api/apps/web/update?service=", "service"),
        ("POST", "/api/apps/update?rollback=no", "rollback"),
        ("GET", "/api/apps/web/logs?tail=-1", "tail"),
        ("GET", "/api/apps/web/logs?tail=99999999999999999999", "tail"),
        ("GET", "/api/apps/web/logs?follow=yes", "follow"),
        ("GET", "/api/apps/web/status?force=2", "force"),
        ("GET", "/api/history?limit=ten", "limit"),
        ("GET", "/api/history?limit=-1", "limit"),
        ("GET", "/api/apps/web/history?before=yesterday", "before"),
        ("GET", "/api/history?kind=dance", "kind"),
        ("GET", "/api/apps/web/history?outcome=good", "outcome"),
        ("GET", "/api/history?since=yesterday", "since"),
    ] {
        let problem = restock.request(method, path).await.problem(400, "bad_query_value");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("`{key}`")), "{path}: {problem}");
    }
    assert!(world.docker.all_calls().is_empty() && world.engine.requests().is_empty());
}

#[tokio::test]
async fn a_mistyped_key_in_the_query_is_400_because_it_would_mean_another_thing() {
    let world = World::with_web();
    let restock = world.restock().await;
    for (method, path, key) in [
        ("POST", "/api/apps/web/update?dryrun=true", "dryrun"),
        ("POST", "/api/apps/web/update?dry_run=true&services=web", "services"),
        ("POST", "/api/apps/web/rollback?force=true", "force"),
        ("POST", "/api/apps/web/down?volumes=true", "volumes"),
        ("GET", "/api/apps?state=running", "state"),
        ("GET", "/api/jobs?limit=5", "limit"),
    ] {
        let problem = restock.request(method, path).await.problem(400, "unknown_query_key");
        assert!(problem["detail"].as_str().unwrap().contains(key), "{path}: {problem}");
    }
    assert!(world.docker.all_calls().is_empty() && world.engine.requests().is_empty());
}

#[tokio::test]
async fn a_key_that_is_twice_in_the_query_is_400_because_either_could_be_meant() {
    let world = World::with_web();
    world.engine.made_its_images();
    let restock = world.restock().await;
    for (method, path, key) in [
        ("POST", "/api/auto-update?dry_run=true&dry_run=false", "dry_run"),
        ("POST", "/api/apps/update?dry_run=true&dry_run=false", "dry_run"),
        ("POST", "/api/apps/web/update?dry_run=false&dry_run=true", "dry_run"),
        ("POST", "/api/apps/web/update?rollback=true&dry_run=true&rollback=true", "rollback"),
        ("DELETE", "/api/apps/web/skip?service=web&service=db", "service"),
        ("GET", "/api/apps/web/status?force=true&force=false", "force"),
        ("GET", "/api/docker/1/containers/x/image_status?nodeName=a&nodeName=b", "nodeName"),
        ("GET", "/api/history?limit=1&limit=2", "limit"),
        ("GET", "/api/apps/web/logs?tail=1&%74ail=2", "tail"),
    ] {
        let problem = restock.request(method, path).await.problem(400, "bad_query_value");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("`{key}`")) && detail.contains("more than once"), "{path}: {problem}");
    }
    assert!(world.docker.all_calls().is_empty() && world.engine.requests().is_empty());
    // Of several services each is meant.
    restock.post("/api/apps/web/update?dry_run=true&service=web&service=web").await.ok();
}

#[tokio::test]
async fn a_service_that_the_app_has_not_is_400_and_those_it_has_are_named() {
    let world = World::with_web();
    let restock = world.restock().await;
    let problem = restock.post("/api/apps/web/update?service=database").await.problem(400, "no_such_service");
    assert!(problem["detail"].as_str().unwrap().contains("database"), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("web"), "{problem}");
    assert!(!world.docker.verbs("web").contains(&"up".into()));
}

#[tokio::test]
async fn the_process_is_alive_whatever_is_missing() {
    let world = World::new();
    world.docker.uninstall();
    world.engine.go_away().await;
    let restock = world.restock().await;
    let reply = restock.get("/health").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
}
