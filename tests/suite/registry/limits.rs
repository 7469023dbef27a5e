//! "Too many requests".

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use restock::adapters::registry::RegistryError;

use super::fake::{Answer, Fake, index_digest};
use super::setup::Client;

/// A registry that answers its first contact and refuses every manifest.
async fn limiting(refusal: impl Fn() -> Answer + Send + Sync + 'static) -> Fake {
    Fake::start(move |seen| if seen.is_manifest() { refusal() } else { Answer::status(200) }).await
}

fn seconds_left(error: &RegistryError) -> i64 {
    match error {
        RegistryError::RateLimited { until, .. } => until.duration_since(Timestamp::now()).as_secs(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_that_limits_is_left_alone_and_others_are_not() {
    let limited = limiting(|| Answer::status(429).with("retry-after", "100")).await;
    let other = Fake::start(|_| Answer::index()).await;
    let client = Client::new();
    let error = client.digest(&format!("{}/a", limited.name())).await.expect_err("limited");
    assert!((95..=100).contains(&seconds_left(&error)), "{error}");
    assert_eq!((limited.manifest_requests("HEAD"), limited.manifest_requests("GET")), (1, 0), "no GET follows");

    let before = limited.seen().len();
    let error = client.digest(&format!("{}/b", limited.name())).await.expect_err("still limited");
    assert!(matches!(error, RegistryError::RateLimited { .. }), "{error:?}");
    assert_eq!(limited.seen().len(), before, "nobody was asked");
    assert_eq!(client.digest(&format!("{}/a", other.name())).await, Ok(index_digest()));
}

#[tokio::test]
async fn a_queue_ends_with_the_first_refusal() {
    let limited = limiting(|| Answer::status(429).after(Duration::from_millis(50))).await;
    let client = Client::with(|options| options.host_concurrency = 4);
    let references: Vec<_> = (0..60).map(|n| format!("{}/app{n}", limited.name())).collect();
    let answers = join_all(references.iter().map(|reference| client.digest(reference))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(RegistryError::RateLimited { .. }))));
    assert!(limited.manifest_requests("HEAD") <= 8, "{}", limited.manifest_requests("HEAD"));
}

#[tokio::test]
async fn dates_and_bodies_say_how_long_too_and_no_answer_means_more_than_an_hour() {
    let date = Timestamp::now() + Duration::from_secs(200);
    let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).expect("a date");
    let cases = [
        (Some(date), 195..=200),
        (Some("86400".to_owned()), 3595..=3600),
        (Some("nonsense".to_owned()), 55..=60),
        (None, 55..=60),
    ];
    for (field, expected) in cases {
        let shown = format!("{field:?}");
        let limited = limiting(move || match &field {
            Some(value) => Answer::status(429).with("retry-after", value.as_str()),
            None => Answer::status(429),
        })
        .await;
        let error = Client::new().digest(&format!("{}/a", limited.name())).await.expect_err("limited");
        assert!(expected.contains(&seconds_left(&error)), "{shown}: {error}");
    }
    let body = "toomanyrequests: retry-after: 4m10s, allowed: 44000/minute";
    let fake = Fake::start(move |seen| match (seen.method.as_str(), seen.is_manifest()) {
        ("GET", true) => Answer::status(429).body(body),
        ("HEAD", _) => Answer::status(405),
        _ => Answer::status(200),
    })
    .await;
    let error = Client::new().digest(&format!("{}/a", fake.name())).await.expect_err("limited");
    assert!((245..=250).contains(&seconds_left(&error)), "{error}");
}

#[tokio::test]
async fn after_its_time_the_host_is_asked_again() {
    let refuse = AtomicBool::new(true);
    let limited = limiting(move || match refuse.swap(false, Ordering::Relaxed) {
        true => Answer::status(429).with("retry-after", "1"),
        false => Answer::index(),
    })
    .await;
    let client = Client::new();
    let reference = format!("{}/a", limited.name());
    assert!(client.digest(&reference).await.is_err());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
}

#[tokio::test]
async fn a_token_server_that_limits_spares_those_who_have_a_token() {
    let refuse = AtomicBool::new(false);
    let tokens = Fake::start(move |_| match refuse.swap(true, Ordering::Relaxed) {
        true => Answer::status(429).with("retry-after", "100"),
        false => Answer::token("good"),
    })
    .await;
    let realm = tokens.url("/token");
    let fake = Fake::start(move |seen| match seen.authorization() {
        Some("Bearer good") => Answer::index(),
        _ => Answer::wants_token(&realm),
    })
    .await;
    let client = Client::new();
    let (first, second) = (format!("{}/a", fake.name()), format!("{}/b", fake.name()));
    assert_eq!(client.digest(&first).await, Ok(index_digest()));
    let error = client.digest(&second).await.expect_err("limited");
    assert!(matches!(&error, RegistryError::RateLimited { host, .. } if *host == tokens.name()), "{error:?}");
    assert_eq!(client.digest(&first).await, Ok(index_digest()));
}
