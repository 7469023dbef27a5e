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
