use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn a_policy_is_set_shown_and_unset() {
    let world = World::new();
    world.app("web").key("x-restock", json!({"auto_update": "local"})).service("web", "registry.test/web:1").running();
    world.app("plain").service("web", "registry.test/web:1").running();
    let restock = world.restock().await;
    let path = "/api/apps/web/auto-update";
    let put = |body: Value| restock.request("PUT", path).body(body.to_string());
    assert_eq!(restock.get("/api/apps/plain/auto-update").await.ok()["auto_update"], Value::Null);
    let policy = |policy: &str, source: &str| {
        let service = json!({"service": "web", "auto_update": policy, "source": source});
        json!({"auto_update": policy, "source": source, "services": [service]})
    };
    assert_eq!(restock.get(path).await.ok(), policy("local", "x-restock"));
    assert_eq!(put(json!({"auto_update": "disabled"})).await.ok(), policy("disabled", "setting"));
    assert_eq!(restock.get("/api/apps/web").await.ok()["auto_update"], "disabled");
    assert_eq!(put(json!({"auto_update": null})).await.ok()["source"], "x-restock");
    for body in [json!({}), json!({"auto_update": "sometimes"}), json!({"auto_update": null, "more": 1})] {
        put(body).await.problem(400, "bad_json");
    }
}

#[tokio::test]
async fn a_container_s_own_setting_is_shown_with_its_app_and_ends_with_the_app_s() {
    let world = World::new();
    world.app("web").key("x-restock", json!({"auto_update": "local"})).service("web", "registry.test/web:1").running();
    let restock = world.restock().await;
    let toggled = async || restock.post("/api/images/web-web-1/auto-update").await.ok()["auto_update"].clone();
    let shown = async || restock.get("/api/apps/web/auto-update").await.ok()["services"][0].clone();
    let by = |policy: &str, source: &str| json!({"service": "web", "auto_update": policy, "source": source});
    // The file marks it, so the first click switches it off; the second one leaves it to the file again.
    assert_eq!((toggled().await, shown().await), (json!(false), by("disabled", "setting")));
    assert_eq!((toggled().await, shown().await), (json!(true), by("local", "x-restock")));
    assert_eq!(toggled().await, false);
    let put = restock.request("PUT", "/api/apps/web/auto-update").body(json!({"auto_update": null}).to_string());
    assert_eq!(put.await.ok()["services"][0], by("local", "x-restock"));
}

#[tokio::test]
async fn a_policy_is_set_also_while_the_file_is_broken_and_not_at_all_while_the_engine_is_gone() {
    let world = World::new();
    world.app("web").key("x-restock", json!({"min_age": "soon"})).service("web", "registry.test/web:1").running();
    let restock = world.restock().await;
    let put = |policy: &str| {
        let body = json!({"auto_update": policy}).to_string();
        restock.request("PUT", "/api/apps/web/auto-update").body(body)
    };
    assert_eq!(put("disabled").await.ok()["source"], "setting");
    world.engine.go_away().await;
    put("registry").await.problem(503, "engine_unreachable");
    assert_eq!(restock.host.service.store.toggles("app").await.unwrap(), [("web".to_owned(), "disabled".to_owned())]);
}
