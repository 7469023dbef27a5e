//! Values of an app's variables reach no answer, no event and no history.

use serde_json::json;

use crate::world::{Life, WEB, World};

const SECRETS: [&str; 4] = ["hunter2", "swordfish", "pa$word", "open-sesame"];

fn world() -> World {
    let world = World::new();
    // As `docker compose config` says it: every `$` doubled.
    let web = json!({"image": WEB, "environment": {"A": "hunter2", "C": "pa$$word"}});
    world.app("web").file(".env", "B=\"swordfish\"\n").service_with("web", web).running();
    world.engine.publish(WEB, "web new");
    world
}

fn assert_none(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {what}: {text}");
    }
}

/// The same of a text that has the words in which they stood.
fn assert_clean(what: &str, text: &str) {
    assert_none(what, text);
    assert!(text.contains("***"), "{what}: {text}");
}

/// Fails in `verb` with all of the secrets in the words, and looks wherever they could come out.
async fn fails(verb: &str, status: u16) {
    let world = world();
    let words = "A=hunter2 B=swordfish C=pa\\$word from https://me:open-sesame@registry.test/v2";
    let event = r#"{\"id\":\"web\",\"text\":\"Error\",\"status\":\"WORDS\"}"#.replace("WORDS", words);
    world.docker.on("web", verb, &format!("say \"{event}\"; fail 1 \"bad: {words}\""));
    let restock = world.restock().await;
    let everything = restock.get("/api/events").events().await;
    let reply = restock.post("/api/apps/web/update").await;
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_clean("the answer", &reply.text());
    let job = format!("/api/jobs/{}", reply.json()["job"].as_str().unwrap());
    assert_clean("the job", &restock.get(&job).await.text());
    for path in ["/api/history", "/api/jobs"] {
        assert_none(path, &restock.get(path).await.text());
    }
    restock.host.service.stopping.cancel();
    assert_clean("the events", &format!("{:?}", everything.rest().await));
}

#[tokio::test]
async fn a_failed_config_tells_none() {
    fails("config", 422).await;
}

#[tokio::test]
async fn a_failed_pull_tells_none() {
    fails("pull", 502).await;
}

#[tokio::test]
async fn a_failed_up_tells_none() {
    fails("up", 500).await;
}

#[tokio::test]
async fn a_healthcheck_that_says_too_much_tells_none() {
    let world = World::new();
    // What the fake engine's unhealthy containers say.
    world.app("web").file(".env", "B=\"no answer\"\n").service("web", WEB).running();
    world.engine.publish_with(WEB, "web new", Life::Unhealthy);
    let restock = world.restock().await;
    let reply = restock.post("/api/apps/web/update").await;
    assert_eq!(reply.status, 500, "{}", reply.text());
    for text in [reply.text(), restock.get("/api/history").await.text()] {
        assert!(text.contains("unhealthy: ***") && !text.contains("no answer"), "{text}");
    }
}

#[tokio::test]
async fn an_app_s_description_has_no_environment() {
    let world = world();
    let restock = world.restock().await;
    let text = restock.get("/api/apps/web").await.text();
    assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
}
