//! Login, sessions and keys, as a client sees them.

use crate::case::Case;
use crate::world::Kind;

#[test]
fn everything_but_the_open_routes_wants_a_session_or_a_key() {
    let mut case = Case::new(Kind::Classic, "web");
    let file = |name: &str, text: &str| {
        let path = case.root.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let password = file("password", "correct horse\n");
    let keys = file("keys", "0123456789abcdef-all\n0123456789abcdef-read read\n");
    case.serve_with(&["--user", "me", "--password-file", &password, "--api-key-file", &keys]);
    let update = format!("/api/apps/{}/update", case.app);
    for path in ["/health", "/ready", "/api/auth/status"] {
        assert_eq!(case.get(path).status, 200, "{path}");
    }
    for path in ["/api/apps", "/api/history", "/api/jobs", "/api/events", "/api/nothing", "/images/json"] {
        let reply = case.get(path);
        assert_eq!((reply.status, reply.headers["www-authenticate"].as_str()), (401, "Bearer"), "{path}");
    }
    assert_eq!(case.post(&update).status, 401);
    let with = |header: (&str, &str), method: &str, path: &str| case.send(method, path, &[header]).status;
    assert_eq!(with(("X-API-Key", "0123456789abcdef-all"), "GET", "/api/apps"), 200);
    assert_eq!(with(("Authorization", "Bearer 0123456789abcdef-all"), "POST", &update), 200);
    assert_eq!(with(("X-API-Key", "0123456789abcdef-read"), "GET", "/api/apps"), 200);
    assert_eq!(with(("X-API-Key", "0123456789abcdef-read"), "POST", &update), 403);
    assert_eq!(with(("X-API-Key", "0123456789abcdef"), "GET", "/api/apps"), 401);
    assert_eq!(with(("Cookie", "restock_session=forged"), "GET", "/api/apps"), 401);

    let login = |pass: &str| case.send_json("POST", "/api/login", &serde_json::json!({"user": "me", "pass": pass}));
    assert_eq!(login("wrong").status, 401);
    let welcome = login("correct horse");
    assert_eq!(welcome.expect(200), serde_json::json!({"status": "ok"}));
    let cookie = welcome.headers["set-cookie"].clone();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(with(("Cookie", &cookie), "GET", "/api/apps"), 200);
    case.serve_with(&["--user", "me", "--password-file", &password]);
    let with = |header: (&str, &str), method: &str, path: &str| case.send(method, path, &[header]).status;
    assert_eq!(with(("Cookie", &cookie), "GET", "/api/apps"), 200, "a session outlives a restart");
    assert_eq!(with(("Cookie", &cookie), "POST", "/api/logout"), 200);
    assert_eq!(with(("Cookie", &cookie), "GET", "/api/apps"), 401);
    for secret in ["correct horse", "0123456789abcdef", cookie.split('=').next_back().unwrap()] {
        assert!(!case.read_log().contains(secret), "{secret}");
    }
}
