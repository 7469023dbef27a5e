//! Who may ask: keys with their scopes, and sessions.

use serde_json::json;

use crate::world::{Options, Service, World};

const ALL: &str = "0123456789abcdef-all";
const READ: &str = "0123456789abcdef-read";

const ROUTES: [(&str, &str); 12] = [
    ("GET", "/api/apps"),
    ("GET", "/api/apps/web"),
    ("POST", "/api/apps/web/update"),
    ("POST", "/api/apps/update"),
    ("POST", "/api/apps/web/rollback"),
    ("POST", "/api/apps/web/down"),
    ("GET", "/api/apps/web/logs"),
    ("GET", "/api/history"),
    ("GET", "/api/jobs"),
    ("DELETE", "/api/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV"),
    ("GET", "/api/events"),
    ("GET", "/api/nothing"),
];

async fn with_keys(world: &World) -> Service {
    let keys = "0123456789abcdef-all # mine\n0123456789abcdef-read read\n";
    world.restock_with(Options { keys, ..Options::default() }).await
}

#[tokio::test]
async fn without_a_key_or_with_a_wrong_one_everything_but_the_open_routes_is_401() {
    let world = World::with_new_web();
    let restock = with_keys(&world).await;
    for (method, path) in ROUTES {
        let reply = restock.request(method, path).await;
        reply.problem(401, "unauthenticated");
        assert!(reply.headers.contains_key("www-authenticate"));
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer 0123456789abcdef-al", "Bearer 0123456789abcdef-all1", "Basic eDp5"]
        {
            restock.request(method, path).header("authorization", wrong).await.problem(401, "unauthenticated");
        }
        let cookie = restock.request(method, path).header("cookie", "restock_session=0123456789abcdef-all");
        cookie.await.problem(401, "unauthenticated");
    }
    assert!(world.docker.all_calls().is_empty() && world.engine.requests().is_empty());
    assert_eq!(restock.get("/health").await.status, 200);
    assert_eq!(restock.get("/api/auth/status").await.ok(), json!({"enabled": true}));
    let checks =
        json!({"engine": {"ok": true}, "compose": {"ok": true}, "database": {"ok": true}, "apps": {"ok": true}});
    let ready = json!({"ready": true, "checks": checks});
    assert_eq!(restock.get("/ready").await.ok(), ready, "versions are for those who may know them");
    let told = restock.get("/ready").header("x-api-key", READ).await.ok();
    assert!(told["checks"]["engine"]["version"].is_string(), "{told}");
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_say() {
    let world = World::with_new_web();
    let restock = with_keys(&world).await;
    for (header, value) in [("authorization", format!("Bearer {ALL}")), ("x-api-key", READ.to_owned())] {
        restock.get("/api/apps").header(header, &value).await.ok();
    }
    for path in ["/api/apps/web/update", "/api/apps/web/down", "/api/apps/web/rollback"] {
        restock.post(path).header("x-api-key", READ).await.problem(403, "missing_scope");
    }
    assert!(!world.docker.verbs("web").contains(&"pull".into()));
    let result = restock.post("/api/apps/web/update").header("authorization", &format!("bearer {ALL}")).await.ok();
    assert_eq!(result["outcome"], "updated");
}

#[tokio::test]
async fn a_login_begins_a_session_and_a_logout_ends_it() {
    let world = World::with_web();
    let restock = world.restock_with(Options { login: Some(("me", "sesame")), ..Options::default() }).await;
    restock.get("/api/apps").await.problem(401, "unauthenticated");
    let login = |body: &'static str| restock.post("/api/login").body(body);
    assert_eq!(login(r#"{"user": "me", "pass": "wrong"}"#).await.status, 401);
    assert_eq!(login(r#"{"user": "you", "pass": "sesame"}"#).await.status, 401);
    let reply = login(r#"{"user": "me", "pass": "sesame"}"#).await;
    assert_eq!(reply.ok()["status"], "ok");
    let cookie = reply.headers["set-cookie"].to_str().unwrap().to_owned();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    let session = cookie.split(';').next().unwrap();
    restock.get("/api/apps").header("cookie", session).await.ok();
    restock.post("/api/logout").header("cookie", session).await.ok();
    restock.get("/api/apps").header("cookie", session).await.problem(401, "unauthenticated");
}
