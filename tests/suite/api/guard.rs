//! No page on the internet can drive a Restock at home.

use crate::world::{Options, World};

#[tokio::test]
async fn a_name_that_nobody_gave_to_this_service_is_refused_on_every_route() {
    let world = World::with_web();
    let restock = world.restock().await;
    for (method, path) in
        [("GET", "/api/apps"), ("POST", "/api/apps/web/update"), ("GET", "/api/events"), ("GET", "/x")]
    {
        for host in ["evil.example", "127.0.0.1.evil.example:8099"] {
            let problem = restock.request(method, path).header("host", host).await.problem(403, "unknown_host");
            assert!(problem["hint"].as_str().unwrap().contains("--allowed-host"), "{problem}");
        }
    }
    assert!(world.docker.all_calls().is_empty() && world.engine.requests().is_empty());
}

#[tokio::test]
async fn addresses_localhost_and_allowed_names_are_answered() {
    let world = World::with_web();
    let allowed = Options { allowed_hosts: vec!["nas.home".into()], ..Options::default() };
    let restock = world.restock_with(allowed).await;
    for host in ["127.0.0.1:8099", "[::1]:8099", "192.168.7.9", "localhost", "nas.home:8099", "NAS.home"] {
        restock.get("/api/apps").header("host", host).await.ok();
    }
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let world = World::with_new_web();
    let restock = world.restock().await;
    for (header, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:1234"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for path in ["/api/apps/web/update", "/api/apps/update", "/api/apps/web/rollback", "/api/apps/web/down"] {
            restock.post(path).header(header, value).await.problem(403, "cross_site");
        }
        restock.delete("/api/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV").header(header, value).await.problem(403, "cross_site");
    }
    assert!(world.docker.all_calls().is_empty());
}

#[tokio::test]
async fn a_page_of_another_site_starts_no_work_by_asking() {
    let world = World::with_new_web();
    let restock = world.restock().await;
    for path in [
        "/api/apps",
        "/api/apps/web/status?force=true",
        "/api/apps/web/logs?follow=true",
        "/api/events",
        "/api/images",
        "/metrics",
        "/ready",
        "/images/get?names=web",
        "/v1.41/images/json",
        "/assets/main.js",
    ] {
        let reply = restock.get(path).header("sec-fetch-site", "cross-site").await;
        assert!(reply.status == 403 && reply.text().contains("another site"), "{path}: {}", reply.text());
    }
    assert!(world.docker.all_calls().is_empty() && world.engine.requests().is_empty());
    // A link to the page itself.
    assert_eq!(restock.get("/").header("sec-fetch-site", "cross-site").await.status, 200);
}

#[tokio::test]
async fn its_own_page_and_programs_may() {
    let world = World::with_web();
    let restock = world.restock().await;
    let own = restock.post("/api/apps/web/update").header("origin", "http://localhost:8099");
    own.header("sec-fetch-site", "same-origin").await.ok();
    restock.post("/api/apps/web/update").await.ok();
}
