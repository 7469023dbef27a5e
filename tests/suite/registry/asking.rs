//! How few requests a question costs, and what happens when a registry answers in its own way.

use std::time::Duration;

use axum::body::Body;
use futures_util::future::join_all;
use restock::adapters::registry::{RegistryError, RequestKind};

use super::fake::{Answer, Fake, INDEX, INDEX_TYPE, index_digest};
use super::setup::{Client, parsed};

#[tokio::test]
async fn one_question_is_one_head_that_accepts_every_kind_of_manifest() {
    let fake = Fake::start(|_| Answer::index()).await;
    let client = Client::new();
    let reference = format!("{}/demo/web:1.2", fake.name());
    for _ in 0..3 {
        let remote = client.remote(&reference).await.expect("a digest");
        assert_eq!(remote.digest.as_str(), index_digest());
        assert_eq!(remote.media_type.as_deref(), Some(INDEX_TYPE));
    }
    assert_eq!(fake.count("HEAD", "/v2/demo/web/manifests/1.2"), 3);
    assert_eq!(fake.manifest_requests("GET"), 0);
    assert_eq!(fake.count("GET", "/v2/"), 1, "the first contact is made once");
    let head = fake.seen().into_iter().find(|seen| seen.is_manifest()).expect("a HEAD");
    let accept = head.header("accept").expect("an Accept field");
    for kind in ["oci.image.index.v1+json", "manifest.list.v2+json", "oci.image.manifest.v1+json", "manifest.v2+json"] {
        assert!(accept.contains(kind), "{accept}");
    }
    assert_eq!(client.counted(RequestKind::ManifestHead), 3);
}

#[tokio::test]
async fn many_questions_find_out_once_how_a_registry_is_spoken_to() {
    let fake = Fake::start(|_| Answer::index()).await;
    let client = Client::new();
    let questions = (0..300).map(|n| {
        let (registry, reference) = (client.registry.clone(), parsed(&format!("{}/demo/app{n}", fake.name())));
        tokio::spawn(async move { registry.digest(&reference, None).await })
    });
    for answer in join_all(questions).await {
        assert_eq!(answer.expect("no panic").expect("a digest").digest.as_str(), index_digest());
    }
    assert_eq!((fake.manifest_requests("HEAD"), fake.seen().len()), (300, 301));
}

#[tokio::test]
async fn names_of_this_machine_may_speak_plain_http() {
    let fake = Fake::start(|_| Answer::index()).await;
    let reference = format!("localhost:{}/x", fake.address.port());
    assert_eq!(Client::new().digest(&reference).await, Ok(index_digest()));
}

#[tokio::test]
async fn a_reference_with_a_digest_asks_nobody() {
    let client = Client::new();
    let digest = index_digest();
    assert_eq!(client.digest(&format!("127.0.0.1:1/x:1@{digest}")).await, Ok(digest));
    assert_eq!(client.registry.stats().counts(), []);
}

#[tokio::test]
async fn a_registry_without_head_is_asked_with_get() {
    for status in [400, 404, 405, 501] {
        let fake = Fake::start(move |seen| match (seen.method.as_str(), seen.is_manifest()) {
            ("HEAD", _) => Answer::status(status),
            (_, true) => Answer::index(),
            (_, false) => Answer::status(200),
        })
        .await;
        let client = Client::new();
        assert_eq!(client.digest(&format!("{}/x", fake.name())).await, Ok(index_digest()), "{status}");
        assert_eq!((fake.manifest_requests("HEAD"), fake.manifest_requests("GET")), (1, 1), "{status}");
        let accept = |method: &str| {
            let found = fake.seen().into_iter().find(|seen| seen.method == method && seen.is_manifest());
            found.and_then(|seen| seen.header("accept").map(str::to_owned))
        };
        assert_eq!(accept("GET"), accept("HEAD"));
    }
}

#[tokio::test]
async fn where_no_field_says_the_digest_it_is_computed() {
    for field in [None, Some(""), Some("latest"), Some("sha256:12")] {
        let fake = Fake::start(move |_| match field {
            None => Answer::plain_index(),
            Some(value) => Answer::plain_index().with("docker-content-digest", value),
        })
        .await;
        let client = Client::new();
        assert_eq!(client.digest(&format!("{}/x", fake.name())).await, Ok(index_digest()), "{field:?}");
        assert_eq!((fake.manifest_requests("HEAD"), fake.manifest_requests("GET")), (1, 1));
    }
}

#[tokio::test]
async fn what_is_not_there_is_asked_for_twice_at_most() {
    let fake = Fake::start(|_| Answer::status(404)).await;
    let client = Client::new();
    let error = client.digest(&format!("{}/x", fake.name())).await.expect_err("not found");
    assert!(matches!(error, RegistryError::NotFoundOrUnauthorized { .. }), "{error}");
    assert_eq!((fake.manifest_requests("HEAD"), fake.manifest_requests("GET")), (1, 1));
}

#[tokio::test]
async fn a_server_error_is_not_asked_again() {
    for status in [500, 502, 503] {
        let fake = Fake::start(move |_| Answer::status(status)).await;
        let client = Client::new();
        let error = client.digest(&format!("{}/x", fake.name())).await;
        assert_eq!(error, Err(RegistryError::Server { registry: fake.name(), status }));
        assert_eq!((fake.manifest_requests("HEAD"), fake.manifest_requests("GET")), (1, 0));
    }
}

#[tokio::test]
async fn rubbish_is_no_digest() {
    let rubbish: [(&str, Body); 3] = [
        ("text/html", Body::from("<html>please log in</html>")),
        ("application/json", Body::from("{}")),
        (INDEX_TYPE, Body::from(vec![b' '; 5 * 1024 * 1024])),
    ];
    for (kind, body) in rubbish {
        let body = std::sync::Mutex::new(Some(body));
        let fake = Fake::start(move |seen| {
            let answer = Answer::status(200).with("content-type", kind);
            match (seen.method.as_str(), seen.is_manifest()) {
                ("GET", true) => answer.body(body.lock().expect("no panic").take().expect("one GET")),
                _ => answer,
            }
        })
        .await;
        let error = Client::new().digest(&format!("{}/x", fake.name())).await.expect_err("rubbish");
        assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
    }
}

#[tokio::test]
async fn something_that_does_not_speak_http_is_reported() {
    use tokio::io::AsyncWriteExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let name = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        }
    });
    let error = Client::new().digest(&format!("{name}/x")).await.expect_err("rubbish");
    let known =
        matches!(error, RegistryError::Protocol { .. } | RegistryError::Unreachable { .. } | RegistryError::Tls { .. });
    assert!(known, "{error:?}");
}

#[tokio::test]
async fn a_slow_answer_ends_with_the_time_for_a_request() {
    let quick = |options: &mut restock::adapters::registry::RegistryOptions| {
        options.request_timeout = Duration::from_millis(200);
    };
    let head = Fake::start(|seen| {
        let delay = if seen.is_manifest() { Duration::from_secs(30) } else { Duration::ZERO };
        Answer::index().after(delay)
    })
    .await;
    let error = Client::with(quick).digest(&format!("{}/x", head.name())).await;
    assert_eq!(error, Err(RegistryError::Timeout { registry: head.name() }));

    let body = Fake::start(|seen| {
        let endless = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        match seen.method.as_str() {
            "GET" if seen.is_manifest() => Answer::status(200).body(Body::from_stream(endless)),
            _ => Answer::status(200),
        }
    })
    .await;
    let error = Client::with(quick).digest(&format!("{}/x", body.name())).await;
    assert!(matches!(error, Err(RegistryError::Timeout { .. })), "{error:?}");
}

#[tokio::test]
async fn a_question_ends_with_its_time_whatever_it_waits_for() {
    let fake = Fake::start(|_| Answer::index().after(Duration::from_secs(30))).await;
    let client = Client::with(|options| options.question_timeout = Duration::from_millis(200));
    let error = client.digest(&format!("{}/x", fake.name())).await;
    assert_eq!(error, Err(RegistryError::Timeout { registry: fake.name() }));
}

#[tokio::test]
async fn a_registry_that_hangs_costs_a_queue_one_timeout_and_its_neighbours_nothing() {
    let slow = Fake::start(|seen| {
        let delay = if seen.is_manifest() { Duration::from_secs(30) } else { Duration::ZERO };
        Answer::index().after(delay)
    })
    .await;
    let good = Fake::start(|_| Answer::index()).await;
    let client = Client::with(|options| {
        options.request_timeout = Duration::from_secs(1);
        options.host_concurrency = 2;
    });
    let references: Vec<_> = (0..40).map(|n| format!("{}/app{n}", slow.name())).collect();
    let waiting = join_all(references.iter().map(|reference| client.digest(reference)));
    let neighbour = format!("{}/x", good.name());
    let (answers, neighbour) = tokio::join!(waiting, client.digest(&neighbour));
    assert!(answers.iter().all(|answer| matches!(answer, Err(RegistryError::Timeout { .. }))));
    assert_eq!(neighbour, Ok(index_digest()));
    assert!(slow.manifest_requests("HEAD") <= 4, "{}", slow.manifest_requests("HEAD"));
}

#[tokio::test]
async fn a_registry_that_comes_back_is_noticed_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let client = Client::new();
    let reference = format!("{address}/x");
    let error = client.digest(&reference).await.expect_err("down");
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");

    let listener = tokio::net::TcpListener::bind(address).await.expect("the same port");
    let router = axum::Router::new().fallback(|| async { [("docker-content-digest", index_digest())] });
    tokio::spawn(async move { axum::serve(listener, router).await });
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
}

#[tokio::test]
async fn a_manifest_is_read_by_its_digest_and_verified() {
    let fake = Fake::start(|seen| match seen.path.contains("/manifests/sha256:") {
        true => Answer::plain_index(),
        false => Answer::status(200),
    })
    .await;
    let client = Client::new();
    let reference = parsed(&format!("{}/demo/web", fake.name()));
    let digest = index_digest().parse().expect("a digest");
    let manifest = client.registry.manifest(&reference, &digest, None).await.expect("the index");
    assert_eq!((manifest.bytes.as_ref(), manifest.media_type.as_deref()), (INDEX.as_bytes(), Some(INDEX_TYPE)));
    assert_eq!(client.counted(RequestKind::ManifestGet), 1);

    let other = format!("sha256:{:064}", 0).parse().expect("a digest");
    let error = client.registry.manifest(&reference, &other, None).await.expect_err("another content");
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
}
