//! Where credentials come from: `config.json`, helpers, auth files; while the client runs.

use std::time::Duration;

use futures_util::future::join_all;
use restock::adapters::registry::RegistryError;

use super::fake::{Answer, Fake, index_digest};
use super::setup::{Client, basic, login, parsed, write_config};

/// A registry that wants `me` and `right`.
async fn private() -> Fake {
    Fake::start(|seen| match seen.authorization() {
        Some(shown) if shown == basic("me", "right") => Answer::index(),
        _ => Answer::wants_basic(),
    })
    .await
}

#[tokio::test]
async fn missing_and_wrong_credentials_are_told_apart() {
    let fake = private().await;
    let client = Client::new();
    let reference = format!("{}/x", fake.name());
    let registry = fake.name();
    assert_eq!(client.digest(&reference).await, Err(RegistryError::MissingCredentials { registry: registry.clone() }));
    client.write_config(&login(&registry, "me", "wrong"));
    assert_eq!(client.digest(&reference).await, Err(RegistryError::WrongCredentials { registry: registry.clone() }));
    assert_eq!(fake.manifest_requests("HEAD"), 2, "a refusal is not answered with the same again");
    assert_eq!(fake.manifest_requests("GET"), 0);
}

#[tokio::test]
async fn a_replaced_config_is_used_at_once_and_its_tokens_are_not_shared() {
    let fake = Fake::start(|seen| match (seen.path.as_str(), seen.authorization()) {
        ("/token", Some(shown)) if shown == basic("me", "right") => Answer::token("full"),
        ("/token", Some(_)) => Answer::status(401),
        ("/token", None) => Answer::token("poor"),
        (_, Some("Bearer full")) => Answer::index(),
        _ => Answer::wants_token("/token"),
    })
    .await;
    let client = Client::new();
    let reference = format!("{}/x", fake.name());
    let hidden =
        |answer: Result<String, RegistryError>| matches!(answer, Err(RegistryError::NotFoundOrUnauthorized { .. }));
    assert!(hidden(client.digest(&reference).await));
    client.write_config(&login(&fake.name(), "me", "right"));
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
    // The same length, and perhaps the same tick of the clock.
    client.write_config(&login(&fake.name(), "me", "wrong"));
    assert_eq!(client.digest(&reference).await, Err(RegistryError::WrongCredentials { registry: fake.name() }));
    client.write_config("{}");
    assert!(hidden(client.digest(&reference).await));
}

#[tokio::test]
async fn a_broken_config_is_as_good_as_none() {
    let open = Fake::start(|_| Answer::index()).await;
    let closed = private().await;
    let client = Client::new();
    client.write_config("{ broken");
    assert_eq!(client.digest(&format!("{}/x", open.name())).await, Ok(index_digest()));
    let error = client.digest(&format!("{}/x", closed.name())).await.expect_err("no credentials");
    assert!(matches!(error, RegistryError::CredentialsFile { .. }), "{error:?}");
}

#[tokio::test]
async fn a_helper_is_asked_once_for_all_who_wait() {
    let fake = private().await;
    let client = Client::new();
    client.write_config(&format!(r#"{{"credHelpers":{{"{}":"one"}},"credsStore":"other"}}"#, fake.name()));
    let log = client.home.path().join("log");
    let script = format!(
        r#"read server; echo "$1 $server" >>{}; sleep 0.1; echo '{{"Username":"me","Secret":"right"}}'"#,
        log.display()
    );
    client.write_helper("one", &script);
    let references: Vec<_> = (0..20).map(|n| format!("{}/app{n}", fake.name())).collect();
    let answers = join_all(references.iter().map(|reference| client.digest(reference))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(std::fs::read_to_string(log).expect("a log"), format!("get {}\n", fake.name()));
}

#[tokio::test]
async fn a_helper_that_hangs_times_out_with_everything_it_started() {
    let fake = private().await;
    let open = Fake::start(|_| Answer::index()).await;
    let client = Client::with(|options| options.helper_timeout = Duration::from_millis(500));
    let pid = client.home.path().join("pid");
    client.write_config(r#"{"credsStore":"hangs"}"#);
    client.write_helper("hangs", &format!("sleep 60 & echo $! >{}; wait", pid.display()));
    let error = client.digest(&format!("{}/x", fake.name())).await.expect_err("no credentials");
    assert!(matches!(&error, RegistryError::Helper { helper, .. } if helper == "hangs"), "{error:?}");
    let pid = std::fs::read_to_string(pid).expect("a process");
    let status = format!("/proc/{}/status", pid.trim());
    let ended = || std::fs::read_to_string(&status).map_or(true, |status| status.contains("State:\tZ"));
    for _ in 0..100 {
        if ended() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(ended(), "what the helper started is still there");
    // Public images need no credentials.
    assert_eq!(client.digest(&format!("{}/x", open.name())).await, Ok(index_digest()));
}

#[tokio::test]
async fn a_helper_that_is_missing_or_fails_matters_only_where_credentials_are_wanted() {
    let open = Fake::start(|_| Answer::index()).await;
    let closed = private().await;
    for (helper, script) in
        [("missing", None), ("fails", Some("echo s3cret; exit 3")), ("rubbish", Some("echo s3cret"))]
    {
        let client = Client::new();
        client.write_config(&format!(r#"{{"credsStore":"{helper}"}}"#));
        if let Some(script) = script {
            client.write_helper(helper, script);
        }
        assert_eq!(client.digest(&format!("{}/x", open.name())).await, Ok(index_digest()), "{helper}");
        let error = client.digest(&format!("{}/x", closed.name())).await.expect_err("no credentials");
        assert!(matches!(error, RegistryError::Helper { .. }), "{helper}: {error:?}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    let client = Client::new();
    client.write_config(r#"{"credsStore":"empty"}"#);
    client.write_helper("empty", "echo credentials not found in native keychain; exit 1");
    let error = client.digest(&format!("{}/x", closed.name())).await;
    assert_eq!(error, Err(RegistryError::MissingCredentials { registry: closed.name() }));
}

#[tokio::test]
async fn a_helper_runs_with_its_own_environment_only() {
    let fake = private().await;
    let client = Client::new();
    client.write_config(r#"{"credsStore":"env"}"#);
    // The variables that a shell sets by itself aside, there is only PATH.
    let script =
        r#"if env | grep -qvE '^(PATH|PWD|SHLVL|_)='; then exit 1; fi; echo '{"Username":"me","Secret":"right"}'"#;
    client.write_helper("env", script);
    assert_eq!(client.digest(&format!("{}/x", fake.name())).await, Ok(index_digest()));
}

#[tokio::test]
async fn an_auth_file_takes_the_place_of_the_config() {
    let fake = private().await;
    let client = Client::new();
    client.write_config(&login(&fake.name(), "me", "wrong"));
    let authfile = client.home.path().join("auth.json");
    let reference = parsed(&format!("{}/team/app", fake.name()));
    let ask =
        async || client.registry.digest(&reference, Some(&authfile)).await.map(|remote| remote.digest.to_string());

    assert!(matches!(ask().await, Err(RegistryError::CredentialsFile { .. })), "there is none yet");
    write_config(&authfile, &login(&format!("{}/team", fake.name()), "me", "right"));
    assert_eq!(ask().await, Ok(index_digest()));
    write_config(&authfile, "[");
    assert!(matches!(ask().await, Err(RegistryError::CredentialsFile { .. })));
}
