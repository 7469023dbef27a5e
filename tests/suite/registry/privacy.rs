//! Credentials go where they were meant to go, and nowhere else.

use std::net::Ipv4Addr;

use restock::adapters::registry::RegistryError;

use super::fake::{Answer, Fake, Seen, index_digest};
use super::setup::{Client, basic, login};

/// Another host, as far as names go.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn authorizations(fake: &Fake) -> Vec<String> {
    fake.seen().iter().filter_map(|seen| seen.authorization().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_authorization_along() {
    let target = Fake::start_at(ELSEWHERE.into(), |_| Answer::index()).await;
    let location = target.url("/v2/x/manifests/latest");
    let fake = Fake::start(move |seen| match seen.authorization() {
        Some(shown) if shown == basic("me", "right") => Answer::status(307).with("location", location.as_str()),
        _ => Answer::wants_basic(),
    })
    .await;
    let client = Client::new();
    client.write_config(&login(&fake.name(), "me", "right"));
    assert_eq!(client.digest(&format!("{}/x", fake.name())).await, Ok(index_digest()));
    assert_eq!(target.manifest_requests("HEAD"), 1);
    assert_eq!(authorizations(&target), [""; 0]);
}

#[tokio::test]
async fn a_redirect_within_the_host_keeps_it() {
    let fake = Fake::start(|seen| match (seen.authorization(), seen.path.as_str()) {
        (Some(shown), _) if shown != basic("me", "right") => Answer::status(403),
        (Some(_), "/v2/old/manifests/latest") => Answer::status(301).with("location", "/v2/new/manifests/latest"),
        (Some(_), _) => Answer::index(),
        (None, _) => Answer::wants_basic(),
    })
    .await;
    let client = Client::new();
    client.write_config(&login(&fake.name(), "me", "right"));
    assert_eq!(client.digest(&format!("{}/old", fake.name())).await, Ok(index_digest()));
}

#[tokio::test]
async fn a_redirect_to_a_registry_with_tokens_is_followed_anonymously() {
    let target = Fake::start_at(ELSEWHERE.into(), |seen| match (seen.path.as_str(), seen.authorization()) {
        ("/token", None) => Answer::token("anonymous"),
        (_, Some("Bearer anonymous")) => Answer::index(),
        (_, None) => Answer::wants_token("/token"),
        _ => Answer::status(500),
    })
    .await;
    let location = target.url("/v2/real/x/manifests/latest");
    let fake = Fake::start(move |seen| match seen.path.as_str() {
        "/token" => Answer::token("secret"),
        _ if seen.authorization().is_some() => Answer::status(302).with("location", location.as_str()),
        _ => Answer::wants_token("/token"),
    })
    .await;
    let client = Client::new();
    client.write_config(&login(&fake.name(), "me", "right"));
    assert_eq!(client.digest(&format!("{}/x", fake.name())).await, Ok(index_digest()));
    assert_eq!(authorizations(&target), ["Bearer anonymous"]);
    let scope = target.seen().into_iter().find(|seen| seen.path == "/token").map(|seen| seen.query);
    assert_eq!(scope.as_deref(), Some("service=fake&scope=repository%3Areal%2Fx%3Apull"));
}

#[tokio::test]
async fn redirects_end_after_three() {
    let fake = Fake::start(|seen| match seen.is_manifest() {
        true => Answer::status(307).with("location", seen.path.as_str()),
        false => Answer::status(200),
    })
    .await;
    let error = Client::new().digest(&format!("{}/x", fake.name())).await.expect_err("no end");
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error:?}");
    assert_eq!(fake.manifest_requests("HEAD"), 4);
}

#[tokio::test]
async fn a_foreign_realm_gives_tokens_but_sees_no_credentials() {
    let tokens = Fake::start_at(ELSEWHERE.into(), |_| Answer::token("anonymous")).await;
    let realm = tokens.url("/token");
    let fake = Fake::start(move |seen| match (seen.authorization(), seen.path.contains("/public/")) {
        (Some("Bearer anonymous"), true) => Answer::index(),
        _ => Answer::wants_token(&realm),
    })
    .await;
    let client = Client::new();
    let identity = format!(r#"{{"auths":{{"{}":{{"identitytoken":"right"}}}}}}"#, fake.name());
    for config in [login(&fake.name(), "me", "right"), identity] {
        client.write_config(&config);
        assert_eq!(client.digest(&format!("{}/public/x", fake.name())).await, Ok(index_digest()));
        let error = client.digest(&format!("{}/private/x", fake.name())).await;
        let expected = RegistryError::CredentialsWithheld { registry: fake.name(), realm: ELSEWHERE.to_string() };
        assert_eq!(error, Err(expected));
    }
    assert_eq!(authorizations(&tokens), [""; 0]);
    assert!(
        tokens.seen().iter().all(|seen| seen.method == "GET" && seen.body.is_empty() && !seen.query.contains("me"))
    );
    assert!(authorizations(&fake).iter().all(|shown| shown == "Bearer anonymous"));
}

#[tokio::test]
async fn a_realm_on_another_port_of_the_host_sees_them() {
    let tokens = Fake::start(|seen| match seen.authorization() {
        Some(shown) if shown == basic("me", "right") => Answer::token("good"),
        _ => Answer::status(401),
    })
    .await;
    let realm = tokens.url("/token");
    let fake = Fake::start(move |seen| match seen.authorization() {
        Some("Bearer good") => Answer::index(),
        _ => Answer::wants_token(&realm),
    })
    .await;
    let client = Client::new();
    client.write_config(&login(&fake.name(), "me", "right"));
    assert_eq!(client.digest(&format!("{}/x", fake.name())).await, Ok(index_digest()));
}

#[tokio::test]
async fn a_token_server_that_redirects_elsewhere_does_not_take_credentials_there() {
    let target = Fake::start_at(ELSEWHERE.into(), |_| Answer::token("anonymous")).await;
    let location = target.url("/token");
    let fake = Fake::start(move |seen| match (seen.path.as_str(), seen.authorization()) {
        ("/token", _) => Answer::status(307).with("location", location.as_str()),
        (_, Some("Bearer anonymous")) => Answer::index(),
        _ => Answer::wants_token("/token"),
    })
    .await;
    let client = Client::new();
    client.write_config(&login(&fake.name(), "me", "right"));
    assert_eq!(client.digest(&format!("{}/x", fake.name())).await, Ok(index_digest()));
    assert_eq!(authorizations(&target), [""; 0]);

    client.write_config(&format!(r#"{{"auths":{{"{}":{{"identitytoken":"right"}}}}}}"#, fake.name()));
    let error = client.digest(&format!("{}/x", fake.name())).await.expect_err("a login is not redirected");
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error:?}");
    assert!(target.seen().iter().all(|seen: &Seen| seen.method == "GET"));
}

#[tokio::test]
async fn credentials_of_one_registry_are_not_shown_to_another() {
    let other = Fake::start(|_| Answer::wants_basic()).await;
    let client = Client::new();
    client.write_config(&login("127.0.0.1:1", "me", "right"));
    let error = client.digest(&format!("{}/x", other.name())).await;
    assert_eq!(error, Err(RegistryError::MissingCredentials { registry: other.name() }));
    assert_eq!(authorizations(&other), [""; 0]);
}

#[tokio::test]
async fn no_message_contains_a_secret_or_a_url() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/token" => Answer::status(200).body("s3cret"),
        _ => Answer::wants_token("http://user:s3cret@127.0.0.1:1/token"),
    })
    .await;
    let rubbish = Fake::start(|seen| match seen.path.as_str() {
        "/token" => Answer::status(200).body("s3cret"),
        _ => Answer::wants_token("/token"),
    })
    .await;
    let client = Client::new();
    for name in [fake.name(), rubbish.name()] {
        client.write_config(&login(&name, "me", "s3cret"));
        let error = client.digest(&format!("{name}/x")).await.expect_err("no token");
        let shown = format!("{error} {error:?} {}", error.summary());
        assert!(!shown.contains("s3cret") && !shown.contains("http://"), "{shown}");
        assert!(!error.summary().contains("127.0.0.1"), "{}", error.summary());
    }
}
