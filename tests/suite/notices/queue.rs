//! What waits to be told: it arrives once, whatever fails meanwhile.

use restock::domain::app::ServiceName;
use restock::domain::host::{Subject, Target};
use restock::domain::image::ImageId;
use restock::domain::job::{OneOrMany, ServiceChange};
use serde_json::{Value, json};

use super::fakes::HttpReceiver;
use crate::registry::fake::{Answer, Fake, index_digest};
use crate::world::{Options, Service, World, image_id, soon};

fn webhook(receiver: &HttpReceiver) -> Value {
    json!([{"type": "webhook", "url": receiver.url}])
}

async fn restock(world: &World, notify: Value) -> Service {
    world.restock_with(Options { notify, ..Options::default() }).await
}

async fn waiting(restock: &Service) -> u32 {
    restock.host.service.receivers().await.unwrap().iter().map(|receiver| receiver.waiting).sum()
}

fn newer(digest: &str) -> Vec<ServiceChange> {
    vec![ServiceChange {
        service: ServiceName::new("web"),
        from: OneOrMany::One(ImageId::new(image_id("web old"))),
        to: digest.to_owned(),
        tag: "registry.test/web:1".into(),
        version_from: None,
        version_to: None,
        source: None,
    }]
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_until_it_has_the_message_once() {
    let world = World::with_new_web();
    let receiver = HttpReceiver::that_answers(&[500, 503]).await;
    let restock = restock(&world, webhook(&receiver)).await;
    let worker = tokio::spawn(restock.host.service.clone().keep_notifying());
    // What fails changes nothing of the update.
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "updated");
    let got = receiver.wait_for(3).await;
    let ids: Vec<_> = got.iter().map(|got| got.json()["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "each try has the same id: {ids:?}");
    soon("the end of the delivery", async {
        while waiting(&restock).await > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    restock.host.service.deliver_due().await;
    assert_eq!(receiver.got().len(), 3);
    restock.host.service.stopping.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn one_that_fails_keeps_no_other_waiting_and_survives_a_restart() {
    let world = World::with_new_web();
    let (bad, good) = (HttpReceiver::that_answers(&[500]).await, HttpReceiver::start().await);
    let both = json!([{"type": "webhook", "url": bad.url}, {"type": "webhook", "url": good.url}]);
    let first = restock(&world, both.clone()).await;
    first.post("/api/apps/web/update").await.ok();
    first.host.service.deliver_due().await;
    assert_eq!((good.got().len(), bad.got().len(), waiting(&first).await), (1, 1, 1));
    drop(first);
    let second = restock(&world, both).await;
    soon("the second try", async {
        while waiting(&second).await > 0 {
            second.host.service.deliver_due().await;
        }
    })
    .await;
    assert_eq!((good.got().len(), bad.got().len()), (1, 2));
}

#[tokio::test]
async fn a_message_that_is_refused_holds_up_no_other() {
    let world = World::new();
    let receiver = HttpReceiver::that_refuses("first").await;
    let restock = restock(&world, webhook(&receiver)).await;
    for app in ["first", "second", "third"] {
        restock
            .host
            .service
            .announce_found(Target::local(Subject::App(app.into())), newer(&format!("sha256:{app}")))
            .await;
    }
    soon("the two others", async {
        while waiting(&restock).await > 1 {
            restock.host.service.deliver_due().await;
        }
    })
    .await;
    let apps: Vec<_> = receiver.got().iter().map(|got| got.json()["app"].clone()).collect();
    assert!(apps.contains(&json!("second")) && apps.contains(&json!("third")), "{apps:?}");
}

#[tokio::test]
async fn receivers_get_what_they_asked_for_and_nothing_else() {
    let world = World::with_new_web();
    let receiver = HttpReceiver::start().await;
    let notify = json!([{"type": "webhook", "url": receiver.url, "events": ["found", "failed"]}]);
    let restock = restock(&world, notify).await;
    restock.post("/api/apps/web/update").await.ok();
    restock.post("/api/apps/web/update").await.ok();
    assert_eq!(waiting(&restock).await, 0);
    world.docker.on("web", "pull", "fail 1 'manifest unknown'");
    restock.post("/api/apps/web/update").await.problem(502, "no_such_image");
    restock.host.service.deliver_due().await;
    assert_eq!(receiver.got()[0].json()["event"], "failed");
}

#[tokio::test]
async fn a_pending_update_is_announced_once_also_across_a_restart() {
    let world = World::with_web();
    let receiver = HttpReceiver::start().await;
    let web = || Target::local(Subject::App("web".into()));
    for _ in 0..2 {
        let restock = restock(&world, webhook(&receiver)).await;
        for _ in 0..2 {
            restock.host.service.announce_found(web(), newer("sha256:a")).await;
            restock.host.service.deliver_due().await;
        }
    }
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    let body = got[0].json();
    assert_eq!((&body["event"], &body["services"][0]["to"]), (&json!("found"), &json!("sha256:a")));
    let restock = restock(&world, webhook(&receiver)).await;
    restock.host.service.announce_found(web(), newer("sha256:b")).await;
    restock.host.service.announce_found(Target::local(Subject::App("other".into())), newer("sha256:b")).await;
    restock.host.service.deliver_due().await;
    assert_eq!(receiver.got().len(), 3);
}

#[tokio::test]
async fn without_receivers_nothing_is_remembered() {
    let world = World::with_web();
    let silent = restock(&world, Value::Null).await;
    silent.host.service.announce_found(Target::local(Subject::App("web".into())), newer("sha256:a")).await;
    let receiver = HttpReceiver::start().await;
    let restock = restock(&world, webhook(&receiver)).await;
    restock.host.service.announce_found(Target::local(Subject::App("web".into())), newer("sha256:a")).await;
    restock.host.service.deliver_due().await;
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test]
async fn a_pass_tells_whose_image_it_could_not_pull() {
    let fake = Fake::start(|_| Answer::index()).await;
    let world = World::new();
    let (name, image) = (format!("{}/demo/web", fake.name()), format!("{}/demo/web:1", fake.name()));
    world.app("web").service("web", &image).key("x-restock", json!({"auto_update": "registry"})).running();
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("fromImage", &name)
        .append_pair("tag", "1")
        .finish();
    world.engine.answer_instead(&format!("/images/create?{query}"), 500, json!({"message": "a layer is gone"}));
    let receiver = HttpReceiver::start().await;
    let restock = restock(&world, webhook(&receiver)).await;
    assert_eq!(restock.post("/api/auto-update").await.ok()["reports"][0]["Updated"], "failed");
    restock.host.service.deliver_due().await;
    let told: Vec<_> = receiver.got().iter().map(|got| got.json()).filter(|told| told["event"] == "failed").collect();
    assert_eq!((told.len(), &told[0]["app"]), (1, &json!("web")), "{told:?}");
    assert!(told[0]["reason"].as_str().unwrap().contains("a layer is gone"), "{told:?}");
}

#[tokio::test]
async fn a_pass_tells_once_of_what_no_policy_marks() {
    let fake = Fake::start(|_| Answer::index()).await;
    let world = World::new();
    let app = world.app("web").service("web", &format!("{}/demo/web:1", fake.name()));
    app.service("built", "registry.test/built:1").running();
    let receiver = HttpReceiver::start().await;
    let restock = restock(&world, webhook(&receiver)).await;
    for _ in 0..2 {
        restock.post("/api/auto-update").await.ok();
        restock.host.service.deliver_due().await;
    }
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    let body = got[0].json();
    assert_eq!((&body["event"], &body["services"][0]["service"]), (&json!("found"), &json!("web")), "{body}");
    assert_eq!(body["services"][0]["to"], index_digest());
    assert_eq!(body["services"].as_array().unwrap().len(), 1, "{body}");
}
