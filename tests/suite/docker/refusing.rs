//! What goes nowhere: the engine is not even asked.

use restock::config::DockerApi;

use crate::world::{Options, Reply, Service, World};

/// An answer in the engine's shape.
#[track_caller]
fn said(reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.headers["content-type"], "application/json");
    let value = reply.json();
    assert_eq!(value.as_object().unwrap().len(), 1, "{value}");
    value["message"].as_str().unwrap().to_owned()
}

async fn open(world: &World, docker_api: DockerApi) -> Service {
    world.restock_with(Options { docker_api, ..Options::default() }).await
}

#[tokio::test]
async fn hostile_paths_go_nowhere() {
    let world = World::with_web();
    let restock = world.restock().await;
    for name in [
        "..",
        ".",
        "../containers/web-web-1",
        "..%2fcontainers%2fx",
        "%2e%2e",
        "%2E%2E%2Fcontainers",
        "a%2f%2fb",
        "a%2F..%2Fb",
        "a%252Fb",
        "a%5cb",
        "a//b",
        "%20",
        "%00",
        "a%00b",
        "a%0d%0aHost:x",
        "%",
        "%4",
        "%c3%a4",
        "%252e%252e",
        "-f",
        "UPPER",
        "a%3Fb",
        "a%23b",
        "sha256:xyz%2f",
        "x;y",
        "$(id)",
        "a|b",
        &"a".repeat(300),
    ] {
        for version in ["", "/v1.41"] {
            for (method, path) in [
                ("GET", format!("{version}/images/{name}/json")),
                ("GET", format!("{version}/images/{name}/get")),
                ("GET", format!("{version}/images/{name}/history")),
                ("POST", format!("{version}/images/{name}/tag?repo=a")),
                ("POST", format!("{version}/images/{name}/push")),
                ("DELETE", format!("{version}/images/{name}")),
                ("GET", format!("{version}/images/get?names={name}")),
                ("POST", format!("{version}/images/create?fromImage={name}")),
            ] {
                said(&restock.request(method, &path).await, 400);
            }
        }
    }
    assert_eq!(world.engine.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn other_routes_of_the_engine_are_forbidden_and_say_what_is_not() {
    let world = World::with_web();
    let restock = world.restock().await;
    for (method, path) in [
        ("GET", "/containers/json"),
        ("POST", "/v1.41/containers/create"),
        ("DELETE", "/containers/web-web-1"),
        ("GET", "/containers/web-web-1/logs"),
        ("GET", "/images/../containers/json"),
        ("GET", "/v1.41/images/../../containers/json?all=1"),
        ("GET", "/v1.41/../containers/json"),
        ("GET", "/events"),
        ("POST", "/build"),
        ("POST", "/session"),
        ("POST", "/auth"),
        ("GET", "/distribution/x/json"),
        ("GET", "/system/df"),
        ("GET", "/volumes"),
        ("PUT", "/images/json"),
        ("OPTIONS", "/images/json"),
        ("TRACE", "/_ping"),
    ] {
        let reply = restock.request(method, path).await;
        if path.contains("/images/..") {
            assert!(reply.status == 400 || reply.status == 403, "{path}");
            continue;
        }
        assert!(said(&reply, 403).contains("images, pull, push, tag"), "{method} {path}");
    }
    assert_eq!(said(&restock.get("/v1.51/containers/web-web-1/json").await, 404), "No such container: web-web-1");
    assert_eq!(world.engine.requests(), Vec::<String>::new());
    restock.get("/nothing").await.problem(404, "no_such_route");
}

#[tokio::test]
async fn what_the_engine_would_answer_with_nothing_is_refused_in_its_words() {
    let world = World::with_web();
    let restock = world.restock().await;
    for (method, path, status, words) in [
        ("POST", "/images/web/tag", 400, "invalid reference format"),
        ("POST", "/images/web/tag?repo=&tag=1", 400, "invalid reference format"),
        ("POST", "/images/web/tag?repo=x&tag=a+b", 400, "invalid tag format"),
        ("GET", "/images/search?term=x&limit=-1", 400, "invalid limit specified"),
        ("GET", "/images/search?term=x&limit=abc", 400, "invalid limit specified"),
        ("GET", "/images/json?filters=x", 400, "invalid filter"),
        ("DELETE", "/images/web?force=0;noprune=1", 400, "invalid semicolon separator in query"),
        ("DELETE", "/images/web?force=%zz", 400, "invalid URL escape \"%zz\""),
        ("DELETE", "/images/web?force=false%", 400, "invalid URL escape \"%\""),
        ("DELETE", "/images/", 400, "image name cannot be blank"),
        ("DELETE", "/images/%20?force=1", 400, "image name cannot be blank"),
        ("GET", "/images//json", 400, "image name cannot be blank"),
        ("GET", "/images/get", 400, "image name cannot be blank"),
        ("POST", "/images/create", 400, "image name cannot be blank"),
        ("POST", "/images/create?fromImage=scratch&tag=latest", 403, "'scratch' is a reserved name"),
    ] {
        let said = said(&restock.request(method, path).await, status);
        assert!(said.starts_with(words), "{method} {path}: {said}");
    }
    assert_eq!(world.engine.requests(), Vec::<String>::new());
}

const CHANGES: [(&str, &str); 6] = [
    ("POST", "/v1.41/images/create?fromImage=x&tag=1"),
    ("POST", "/images/load"),
    ("POST", "/images/x/push"),
    ("POST", "/images/x/tag?repo=y"),
    ("DELETE", "/images/x"),
    ("POST", "/images/prune"),
];
const READS: [(&str, &str); 5] = [
    ("GET", "/_ping"),
    ("GET", "/v1.41/version"),
    ("GET", "/images/json"),
    ("GET", "/images/x/json"),
    ("GET", "/images/x/get"),
];

#[tokio::test]
async fn the_setting_that_opens_more_is_named() {
    let world = World::with_web();
    let off = open(&world, DockerApi::Off).await;
    for (method, path) in CHANGES.into_iter().chain(READS).chain([("POST", "/containers/create")]) {
        let said = said(&off.request(method, path).await, 403);
        assert!(said.contains("--docker-api read-only") && said.contains("--docker-api full"), "{path}: {said}");
    }
    let read_only = open(&world, DockerApi::ReadOnly).await;
    for (method, path) in CHANGES {
        assert!(said(&read_only.request(method, path).await, 403).contains("--docker-api full"), "{path}");
    }
    assert_eq!(world.engine.requests(), Vec::<String>::new());
    for (method, path) in READS {
        read_only.request(method, path).await;
    }
    assert_eq!(world.engine.requests(), READS.map(|(method, path)| format!("{method} {path}")));
}

#[tokio::test]
async fn keys_open_images_by_their_scope_and_go_no_further() {
    let world = World::with_web();
    let keys = "0123456789-images images\n0123456789-reading read\n0123456789-updating update\n0123456789abcdef\n";
    let restock = world.restock_with(Options { keys, ..Options::default() }).await;
    for (method, path) in CHANGES.into_iter().chain(READS).filter(|(_, path)| *path != "/_ping") {
        assert!(said(&restock.request(method, path).await, 401).contains("send a key"), "{path}");
        for key in ["0123456789-reading", "0123456789-updating"] {
            let reply = restock.request(method, path).header("x-api-key", key).await;
            assert!(said(&reply, 403).contains("`images`"), "{path}");
        }
    }
    assert_eq!(world.engine.requests(), Vec::<String>::new());
    assert_ne!(restock.get("/_ping").await.status, 401);
    restock.get("/api/apps").header("x-api-key", "0123456789-images").await.problem(403, "missing_scope");
    for key in ["0123456789-images", "0123456789abcdef"] {
        restock.get("/images/json").header("authorization", &format!("Bearer {key}")).await.ok();
    }
}

#[tokio::test]
async fn pages_of_other_sites_neither_pull_nor_read_by_a_name_of_their_own() {
    let world = World::with_web();
    let restock = world.restock().await;
    let pull = restock.post("/images/create?fromImage=evil").header("origin", "http://evil.example");
    assert!(said(&pull.await, 403).contains("another site"));
    let list = restock.get("/images/json").header("host", "evil.example");
    assert!(said(&list.await, 403).contains("--allowed-host"));
    assert_eq!(world.engine.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_without_end_is_not_echoed_whole() {
    let world = World::with_web();
    let restock = world.restock().await;
    let name = "A".repeat(30_000);
    for path in ["/images/{}/json", "/containers/{}/json", "/images/json/{}", "/api/apps/{}", "/api/nothing/{}"] {
        let reply = restock.get(&path.replace("{}", &name)).await;
        assert!((400..500).contains(&reply.status), "{path}: {}", reply.status);
        assert!(reply.text().len() < 10_000, "{path}: {}", reply.text().len());
    }
}
