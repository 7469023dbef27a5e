//! What each sort of receiver gets.

use hmac::{Hmac, Mac};
use serde_json::{Value, json};

use super::fakes::{HttpReceiver, mail_server};
use crate::world::{Life, Options, WEB, World, image_id, until};

fn secret(world: &World, text: &str) -> String {
    let path = world.path("secret");
    std::fs::write(&path, format!("{text}\n")).unwrap();
    path.display().to_string()
}

/// Updates the app `web` of the world, with these receivers, and waits until everything is told.
async fn update(world: &World, notify: Value) {
    let restock = world.restock_with(Options { notify, ..Options::default() }).await;
    restock.post("/api/apps/web/update").await;
    restock.host.service.deliver_due().await;
    let waiting = restock.host.service.receivers().await.unwrap();
    assert!(waiting.iter().all(|receiver| receiver.waiting == 0), "{waiting:?}");
}

#[tokio::test]
async fn a_webhook_is_signed_and_tells_everything() {
    let world = World::with_new_web();
    let receiver = HttpReceiver::start().await;
    let hook =
        json!({"type": "webhook", "url": format!("{}/hook?a=b", receiver.url), "secret_file": secret(&world, "k3y")});
    update(&world, json!([hook])).await;
    let got = receiver.got();
    assert_eq!((got.len(), got[0].uri.as_str(), got[0].header("content-type")), (1, "/hook?a=b", "application/json"));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"k3y").unwrap();
    mac.update(&got[0].body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(got[0].header("x-restock-signature"), format!("sha256={hex}"));
    let body = got[0].json();
    assert_eq!(
        (&body["event"], &body["app"], &body["title"]),
        (&json!("updated"), &json!("web"), &json!("web: updated"))
    );
    let change = &body["services"][0];
    assert_eq!((&change["to"], &change["tag"]), (&json!(image_id("web new")), &json!(WEB)));
    assert!(body["job"].is_string() && body["id"].is_string() && body["at"].is_string(), "{body}");
}

#[tokio::test]
async fn a_failed_update_is_told_with_its_reason() {
    let world = World::with_web();
    world.engine.publish_with(WEB, "web bad", Life::Exits(3));
    let receiver = HttpReceiver::start().await;
    update(&world, json!([{"type": "webhook", "url": receiver.url}])).await;
    let body = receiver.got()[0].json();
    assert_eq!(body["event"], "rolled_back");
    assert!(body["reason"].as_str().unwrap().contains("exited with code 3"), "{body}");
    assert!(body["body"].as_str().unwrap().contains("exited with code 3"), "{body}");
}

#[tokio::test]
async fn ntfy_and_gotify_get_what_they_expect() {
    let world = World::with_new_web();
    let (ntfy, gotify) = (HttpReceiver::start().await, HttpReceiver::start().await);
    let token = secret(&world, "t0ken");
    let notify = json!([
        {"type": "ntfy", "url": ntfy.url, "topic": "lab", "token_file": token, "priority": 4, "title": "Ä {{ name }}"},
        {"type": "gotify", "url": format!("{}/push/", gotify.url), "token_file": token, "body": "{{ services | length }} changed"},
    ]);
    update(&world, notify).await;
    let got = &ntfy.got()[0];
    assert_eq!((got.uri.as_str(), got.header("authorization")), ("/", "Bearer t0ken"));
    let body = got.json();
    assert_eq!((&body["topic"], &body["title"], &body["priority"]), (&json!("lab"), &json!("Ä web"), &json!(4)));
    assert!(body["message"].as_str().unwrap().starts_with("web: "), "{body}");
    let got = &gotify.got()[0];
    assert_eq!((got.uri.as_str(), got.header("x-gotify-key")), ("/push/message", "t0ken"));
    assert_eq!(got.json(), json!({"title": "web: updated", "message": "1 changed"}));
}

#[tokio::test]
async fn mail_goes_to_each_address() {
    let world = World::with_new_web();
    let (port, lines) = mail_server().await;
    let mail = json!({
        "type": "mail", "host": "127.0.0.1", "port": port, "security": "none", "user": "me",
        "password_file": secret(&world, "pw"), "from": "Restock <restock@example.org>", "to": ["a@example.org", "b@example.org"],
    });
    update(&world, json!([mail])).await;
    let heard = until("the mail", || Some(lines.lock().unwrap().join("\n")).filter(|all| all.contains("\n.\n"))).await;
    for line in [
        "AUTH PLAIN AG1lAHB3",
        "MAIL FROM:<restock@example.org>",
        "RCPT TO:<a@example.org>",
        "RCPT TO:<b@example.org>",
        "Subject: web: updated",
        "From: Restock <restock@example.org>",
        "Message-ID: <",
    ] {
        assert!(heard.contains(line), "{line} in\n{heard}");
    }
}

#[tokio::test]
async fn a_program_gets_the_words_as_arguments() {
    let world = World::with_new_web();
    let out = world.path("told").display().to_string();
    let script = r#"printf '%s|' "$@" > "$0""#;
    let command = json!(["/bin/sh", "-c", script, out, "-t", "{title}", "--body={body}; touch /never"]);
    update(&world, json!([{"type": "command", "command": command, "body": "$(id) `id` {{ event }}"}])).await;
    let told = std::fs::read_to_string(&out).unwrap();
    assert_eq!(told, "-t|web: updated|--body=$(id) `id` updated; touch /never|");
}

#[tokio::test]
async fn receivers_can_be_tried_out() {
    let world = World::new();
    let (works, moved) = (HttpReceiver::start().await, HttpReceiver::that_answers(&[307]).await);
    let notify = json!([
        {"type": "ntfy", "url": works.url, "topic": "lab", "events": ["failed"]},
        {"type": "webhook", "name": "moved", "url": format!("{}/s3cret", moved.url)},
        {"type": "webhook", "name": "gone", "url": "http://127.0.0.1:1/s3cret"},
        {"type": "command", "name": "false", "command": ["/bin/false", "{title}"]},
        {"type": "command", "name": "none", "command": ["/no/such/program", "{title}"]},
    ]);
    let restock = world.restock_with(Options { notify, ..Options::default() }).await;
    let tested = restock.host.service.test_receivers().await;
    let delivered: Vec<_> = tested.iter().map(|tested| (tested.receiver.as_str(), tested.delivered)).collect();
    assert_eq!(delivered, [("ntfy-1", true), ("moved", false), ("gone", false), ("false", false), ("none", false)]);
    assert_eq!(works.got()[0].json()["title"], "example: this is a test");
    let errors: Vec<_> = tested.iter().filter_map(|tested| tested.error.as_deref()).collect();
    assert!(errors[0].contains("307") && errors[0].contains("not followed"), "{errors:?}");
    assert!(errors[1].contains("could not be reached"), "{errors:?}");
    assert!(errors[2].contains("exited with 1") && errors[3].contains("was not found"), "{errors:?}");
    assert!(!errors.concat().contains("s3cret"), "{errors:?}");
    assert_eq!(moved.got().len(), 1);
}
