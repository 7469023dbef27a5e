//! A token server in front of a real registry, as most public registries have one: who may do what is in signed tokens
//! (<https://distribution.github.io/distribution/spec/auth/token/>).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::case::Case;
use crate::world::{Kind, World, output};

const LOGIN: &str = "me:right";

/// Gives tokens to whom it knows, and poor ones to anybody.
#[derive(Clone)]
struct Tokens {
    key: Arc<EcdsaKeyPair>,
    certificate: String,
    /// The scopes asked for, and whether with the login.
    asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Tokens {
    /// Starts the server; `authority` is written for the registry to believe.
    fn start(authority: &Path) -> (Self, SocketAddr) {
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&pair).unwrap();
        std::fs::write(authority, certificate.pem()).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der(), &SystemRandom::new());
        let tokens = Self {
            key: Arc::new(key.unwrap()),
            certificate: STANDARD.encode(certificate.der()),
            asked: Arc::default(),
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        // The engine tries OAuth 2's way first. Its body has to be read: otherwise the connection is closed under the
        // question that comes next on it.
        let route = get(give).post(|_: String| async { StatusCode::METHOD_NOT_ALLOWED });
        let router = Router::new().route("/token", route).with_state(tokens.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        (tokens, address)
    }

    /// A JSON Web Token, signed with ES256, that carries the certificate of its key.
    fn sign(&self, access: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.certificate] });
        let claims = json!({
            "iss": "tokens", "sub": "me", "aud": "registry", "iat": now, "nbf": now - 10, "exp": now + 300,
            "jti": now.to_string(), "access": access,
        });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// One that allows a repository what is named.
    fn allowing(&self, repository: &str, actions: &[&str]) -> String {
        self.sign(&json!([{ "type": "repository", "name": repository, "actions": actions }]))
    }

    fn take_asked(&self) -> Vec<(String, bool)> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked
    }
}

async fn give(
    State(tokens): State<Tokens>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let query = query.unwrap_or_default();
    let values: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let scope = values.get("scope").cloned().unwrap_or_default();
    let login = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let known = match login {
        Some(login) if login == format!("Basic {}", STANDARD.encode(LOGIN)) => true,
        Some(_) => return Err(StatusCode::UNAUTHORIZED),
        None => false,
    };
    tokens.asked.lock().unwrap().push((scope.clone(), known));
    let parts: Vec<_> = scope.split(':').collect();
    let token = match parts[..] {
        ["repository", name, _] if known => tokens.allowing(name, &["pull"]),
        _ => tokens.sign(&json!([])),
    };
    Ok(Json(json!({ "token": token, "expires_in": 300 })))
}

#[test]
fn an_app_behind_a_token_server_is_checked_and_updated_with_the_login_that_docker_has() {
    let case = Case::on(World::of(Kind::Containerd), "web");
    let authority = case.root.path().join("authority.crt");
    let (tokens, address) = Tokens::start(&authority);
    let realm = format!("http://{address}/token");
    let registry = case.registry(&["--realm".as_ref(), realm.as_ref(), "--authority".as_ref(), authority.as_os_str()]);
    let publish = |repository: &str, tag: &str, version: &str| {
        let token = tokens.allowing(repository, &["push", "pull"]);
        case.publish_to(&["--token", &token], &format!("{registry}/{repository}:{tag}"), version)
    };
    let publish_all = |version: &str| {
        [("demo/one", "a"), ("demo/one", "b"), ("demo/two", "a")].map(|(name, tag)| publish(name, tag, version))
    };
    publish_all("1");
    case.write(
        "compose.yaml",
        &format!(
            "services:\n  a: {{image: \"{registry}/demo/one:a\"}}\n  b: {{image: \"{registry}/demo/one:b\"}}\n  \
             c: {{image: \"{registry}/demo/two:a\"}}\n"
        ),
    );
    let mut up = case.world.command("docker");
    up.env("DOCKER_CONFIG", case.login(&registry, Some(LOGIN))).args(["compose", "up", "-d", "--quiet-pull"]);
    output(up.current_dir(case.dir()));
    publish_all("2");
    let run = |arguments: &[&str], login: Option<&str>| {
        tokens.take_asked();
        let mut command = case.restock(arguments);
        let found = command.env("DOCKER_CONFIG", case.login(&registry, login)).output().unwrap();
        serde_json::from_slice::<Value>(&found.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&found.stderr)))
    };
    let told = |service: &Value| {
        format!("{} {}", service["status"].as_str().unwrap(), service["message"].as_str().unwrap_or_default())
    };
    let check = |login| {
        let found = run(&["check", "--json"], login);
        found["apps"][0]["services"].as_array().unwrap().iter().map(told).collect::<Vec<_>>()
    };
    for (login, expected) in
        [(None, "needs a `docker login`"), (Some("me:wrong"), "refused the configured credentials")]
    {
        let told = check(login);
        assert!(
            told.len() == 3 && told.iter().all(|told| told.starts_with("error") && told.contains(expected)),
            "{told:?}"
        );
    }
    assert_eq!(check(Some(LOGIN)), ["outdated "; 3]);
    let scopes =
        |names: &[&str]| names.iter().map(|name| (format!("repository:{name}:pull"), true)).collect::<Vec<_>>();
    assert_eq!(tokens.take_asked(), scopes(&["demo/one", "demo/two"]), "one token for each repository");

    let done = run(&["update", &case.app, "--json"], Some(LOGIN));
    assert_eq!(done["outcome"], "updated", "{done}");
    for service in ["a", "b", "c"] {
        case.assert_runs(service, "2");
    }
    assert_eq!(check(Some(LOGIN)), ["updated "; 3]);
}
