//! Tokens: how many are fetched, and in which forms they come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use restock::adapters::registry::{RegistryError, RequestKind};

use super::fake::{Answer, Fake, Seen, index_digest};
use super::setup::{Client, basic, login};

/// A registry with its token server on one address. `token` answers the requests for tokens; the token that is good for
/// manifests is the text `good`.
async fn registry(token: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Fake {
    Fake::start(move |seen| match seen.path.as_str() {
        "/token" => token(seen),
        _ if seen.authorization() != Some("Bearer good") => {
            Answer::wants_token(&format!("http://{}/token", seen.header("host").expect("a host")))
        }
        _ => Answer::index(),
    })
    .await
}

#[tokio::test]
async fn many_questions_share_one_token_for_each_scope() {
    let fake = registry(|_| Answer::token("good").after(Duration::from_millis(30))).await;
    let client = Client::new();
    let references: Vec<_> = (0..50).map(|n| format!("{}/demo/app{}", fake.name(), n % 5)).collect();
    let answers = join_all(references.iter().map(|reference| client.digest(reference))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");

    let mut scopes: BTreeMap<String, usize> = BTreeMap::new();
    for seen in fake.seen().iter().filter(|seen| seen.path == "/token") {
        *scopes.entry(seen.query.clone()).or_default() += 1;
    }
    let expected = (0..5).map(|n| (format!("service=fake&scope=repository%3Ademo%2Fapp{n}%3Apull"), 1));
    assert_eq!(scopes, expected.collect());
    // Who asks only once for each reference makes exactly that many manifest requests: no question is refused first.
    assert_eq!(fake.manifest_requests("HEAD"), 50);
    assert_eq!(client.counted(RequestKind::Token), 5);
}

#[tokio::test]
async fn three_hundred_questions_for_one_scope_fetch_one_token() {
    let fake = registry(|_| Answer::token("good").after(Duration::from_millis(50))).await;
    let client = Client::new();
    let references: Vec<_> = (0..300).map(|n| format!("{}/demo/web:{n}", fake.name())).collect();
    let answers = join_all(references.iter().map(|reference| client.digest(reference))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((fake.count("GET", "/token"), fake.manifest_requests("HEAD")), (1, 300));
}

#[tokio::test]
async fn an_answer_with_only_an_access_token_works() {
    let fake = registry(|_| Answer::status(200).body(r#"{"access_token":"good"}"#)).await;
    let client = Client::new();
    let reference = format!("{}/demo/web", fake.name());
    for _ in 0..3 {
        assert_eq!(client.digest(&reference).await, Ok(index_digest()));
    }
    assert_eq!(fake.count("GET", "/token"), 1, "without a lifetime it lives for a minute");
}

#[tokio::test]
async fn a_token_that_has_expired_is_not_tried_first() {
    let fake = registry(|_| Answer::status(200).body(r#"{"token":"good","expires_in":1}"#)).await;
    let client = Client::new();
    let reference = format!("{}/demo/web", fake.name());
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
    assert_eq!(fake.count("GET", "/token"), 1);
    // What this is about is time itself.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
    assert_eq!(fake.count("GET", "/token"), 2);
    assert_eq!(fake.manifest_requests("HEAD"), 2, "no question was refused");
}

#[tokio::test]
async fn a_token_that_no_longer_holds_is_replaced_once() {
    let fetched = AtomicUsize::new(0);
    let fake = Fake::start(move |seen| {
        let newest = || format!("Bearer t{}", fetched.load(Ordering::Relaxed));
        match seen.path.as_str() {
            "/token" => Answer::token(&format!("t{}", fetched.fetch_add(1, Ordering::Relaxed) + 1)),
            // Another client took a token, and this registry keeps only the newest.
            "/other" => {
                fetched.fetch_add(1, Ordering::Relaxed);
                Answer::status(200)
            }
            _ if seen.authorization() == Some(&newest()) => Answer::index(),
            _ => Answer::wants_token("/token"),
        }
    })
    .await;
    let client = Client::new();
    let reference = format!("{}/demo/web", fake.name());
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
    reqwest::get(fake.url("/other")).await.expect("done");
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
    assert_eq!((fake.count("GET", "/token"), fake.manifest_requests("HEAD")), (2, 3));
}

#[tokio::test]
async fn a_token_that_does_not_allow_enough_is_not_fetched_again() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/token" => Answer::token("poor"),
        _ => Answer::status(401).with("www-authenticate", r#"Bearer realm="/token",error="insufficient_scope""#),
    })
    .await;
    let client = Client::new();
    for _ in 0..2 {
        let error = client.digest(&format!("{}/demo/web", fake.name())).await.expect_err("hidden");
        assert!(matches!(error, RegistryError::NotFoundOrUnauthorized { .. }), "{error:?}");
    }
    assert_eq!((fake.count("GET", "/token"), fake.manifest_requests("HEAD"), fake.manifest_requests("GET")), (1, 2, 0));
}

#[tokio::test]
async fn a_challenge_that_only_a_manifest_shows_is_met_and_remembered() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/v2/" => Answer::status(200),
        "/token" => Answer::token("good"),
        _ if seen.authorization() == Some("Bearer good") => Answer::index(),
        _ => Answer::wants_token("/token"),
    })
    .await;
    let client = Client::new();
    for image in ["a", "b"] {
        assert_eq!(client.digest(&format!("{}/{image}", fake.name())).await, Ok(index_digest()));
    }
    let heads: Vec<_> = fake.seen().into_iter().filter(|seen| seen.method == "HEAD").map(|seen| seen.path).collect();
    assert_eq!(heads, ["/v2/a/manifests/latest", "/v2/a/manifests/latest", "/v2/b/manifests/latest"]);
}

#[tokio::test]
async fn credentials_are_exchanged_for_a_token() {
    let fake = registry(|seen| match seen.authorization() {
        Some(shown) if shown == basic("me", "p:w") => Answer::token("good"),
        _ => Answer::status(401),
    })
    .await;
    let client = Client::new();
    client.write_config(&login(&fake.name(), "me", "p:w"));
    assert_eq!(client.digest(&format!("{}/demo/web", fake.name())).await, Ok(index_digest()));
    let manifests = fake.seen().into_iter().filter(Seen::is_manifest);
    assert!(
        manifests
            .map(|seen| seen.authorization().map(str::to_owned))
            .all(|shown| shown.as_deref() == Some("Bearer good"))
    );
}

#[tokio::test]
async fn an_identity_token_is_exchanged_as_oauth_demands() {
    let fake = registry(|seen| {
        let body = std::str::from_utf8(&seen.body).expect("a form");
        let expected = "grant_type=refresh_token&service=fake&scope=repository%3Ademo%2Fweb%3Apull&client_id=restock&refresh_token=id%26entity";
        let kind = seen.header("content-type") == Some("application/x-www-form-urlencoded");
        if seen.method == "POST" && kind && body == expected { Answer::token("good") } else { Answer::status(400) }
    })
    .await;
    let client = Client::new();
    let config = |token: &str| format!(r#"{{"auths":{{"{}":{{"identitytoken":"{token}"}}}}}}"#, fake.name());
    client.write_config(&config("id&entity"));
    let reference = format!("{}/demo/web", fake.name());
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
    client.write_config(&config("revoked"));
    assert_eq!(client.digest(&reference).await, Err(RegistryError::WrongCredentials { registry: fake.name() }));
}

#[tokio::test]
async fn a_registry_token_is_shown_as_it_is() {
    let fake = registry(|_| Answer::status(500)).await;
    let client = Client::new();
    let config = |token: &str| format!(r#"{{"auths":{{"{}":{{"registrytoken":"{token}"}}}}}}"#, fake.name());
    client.write_config(&config("good"));
    let reference = format!("{}/demo/web", fake.name());
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
    client.write_config(&config("bad"));
    assert_eq!(client.digest(&reference).await, Err(RegistryError::WrongCredentials { registry: fake.name() }));
    assert_eq!(fake.count("GET", "/token"), 0);
}

#[tokio::test]
async fn a_token_server_that_refuses_or_fails_is_told_apart() {
    for (status, expected) in [(401, "missing"), (403, "hidden"), (500, "server"), (404, "server")] {
        let fake = registry(move |_| Answer::status(status)).await;
        let error = Client::new().digest(&format!("{}/x", fake.name())).await.expect_err("no token");
        let seen = match error {
            RegistryError::MissingCredentials { .. } => "missing",
            RegistryError::NotFoundOrUnauthorized { .. } => "hidden",
            RegistryError::Server { .. } => "server",
            _ => "something else",
        };
        assert_eq!(seen, expected, "{status}");
        assert_eq!((fake.count("GET", "/token"), fake.manifest_requests("HEAD")), (1, 0), "{status}");
    }
    for answer in ["", "{}", "<html>", r#"{"token":["a"]}"#] {
        let fake = registry(move |_| Answer::status(200).body(answer)).await;
        let error = Client::new().digest(&format!("{}/x", fake.name())).await.expect_err("no token");
        assert!(matches!(error, RegistryError::Protocol { .. }), "{answer}: {error:?}");
    }
}
