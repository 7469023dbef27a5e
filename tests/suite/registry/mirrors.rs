//! What the engine's mirrors of Docker Hub are asked, and what the Hub itself.

use restock::adapters::registry::RegistryError;

use super::fake::{Answer, Fake, INDEX, index_digest};
use super::setup::{Client, basic, login, parsed};

/// A mirror that has nothing but refusals.
async fn without(answer: fn() -> Answer) -> Fake {
    Fake::start(move |seen| if seen.is_manifest() { answer() } else { Answer::status(200) }).await
}

#[tokio::test]
async fn mirrors_are_asked_in_their_order_and_the_hub_when_none_of_them_answers() {
    let hub = Fake::start(|seen| match seen.authorization() {
        Some(shown) if shown == basic("me", "word") => Answer::index(),
        _ => Answer::wants_basic(),
    })
    .await;
    let empty = without(|| Answer::status(404)).await;
    let closed = without(Answer::wants_basic).await;
    let full = Fake::start(|_| Answer::index()).await;
    let client = Client::with(|options| options.hub = hub.name());
    client.write_config(&login("https://index.docker.io/v1/", "me", "word"));

    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let refusing = [format!("http://{dead}/"), empty.url("/"), closed.url("/")];
    let all = refusing.iter().cloned().chain([full.url("/hub/")]);
    client.registry.set_mirrors(all.collect());
    assert_eq!(client.digest("nginx:1").await, Ok(index_digest()));
    let manifest = client.registry.manifest(&parsed("nginx:1"), &index_digest().parse().expect("a digest"), None).await;
    assert_eq!(manifest.expect("a manifest").bytes, INDEX);
    for refused in [&empty, &closed] {
        assert_eq!(refused.count("HEAD", "/v2/library/nginx/manifests/1"), 1);
    }
    assert_eq!(full.count("HEAD", "/hub/v2/library/nginx/manifests/1"), 1);
    assert!(hub.seen().is_empty(), "a mirror had the answer");

    client.registry.set_mirrors(refusing.iter().collect());
    assert_eq!(client.digest("nginx:1").await, Ok(index_digest()));
    let shown = |fake: &Fake| fake.seen().iter().any(|seen| seen.authorization().is_some());
    assert!(shown(&hub) && !shown(&empty) && !shown(&closed) && !shown(&full), "the login is for the Hub");

    // What is wrong with a mirror is not what is wrong with the Hub.
    client.write_config("{}");
    let error = client.digest("nginx:1").await.expect_err("no login");
    assert_eq!(error, RegistryError::MissingCredentials { registry: "docker.io".to_owned() });
}

#[tokio::test]
async fn other_registries_have_no_mirrors() {
    let mirror = Fake::start(|_| Answer::index()).await;
    let other = Fake::start(|_| Answer::index()).await;
    let client = Client::new();
    client.registry.set_mirrors([mirror.url("/")].iter().collect());
    assert_eq!(client.digest(&format!("{}/x", other.name())).await, Ok(index_digest()));
    assert!(mirror.seen().is_empty());
}
