//! Which certificates are accepted, and how a registry's way of speaking is found out.

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use restock::adapters::registry::{RegistryError, RequestKind};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::fake::{Answer, Fake, index_digest};
use super::setup::{Client, basic, login};

/// A server's certificate and the one that has to be trusted for it.
struct Certificates {
    server: ServerConfig,
    authority: String,
}

fn server(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> ServerConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate")
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn certificate_of(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    (params.signed_by(&key, authority).expect("a certificate"), key)
}

/// A certificate that a private authority signed.
fn signed() -> Certificates {
    let authority = authority();
    let (certificate, key) = certificate_of(&authority, "127.0.0.1");
    Certificates { server: server(vec![certificate.der().clone()], &key), authority: authority.pem() }
}

/// What `openssl req -x509` makes, as the Docker manual tells: one certificate that is its own authority.
fn self_signed(name: &str) -> Certificates {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Certificates { server: server(vec![certificate.der().clone()], &key), authority: certificate.pem() }
}

fn trust(client: &Client, registry: &str, certificate: &str) {
    let folder = client.home.path().join("certs.d").join(registry);
    std::fs::create_dir_all(&folder).expect("created");
    std::fs::write(folder.join("ca.crt"), certificate).expect("written");
}

#[tokio::test]
async fn an_unknown_authority_a_missing_and_a_wrong_password_are_three_things() {
    for certificates in [signed(), self_signed("127.0.0.1")] {
        let fake = Fake::start_tls(certificates.server, |seen| match seen.authorization() {
            Some(shown) if shown == basic("me", "right") => Answer::index(),
            _ => Answer::wants_basic(),
        })
        .await;
        let registry = fake.name();
        let reference = format!("{registry}/x");
        let client = Client::new();
        client.write_config(&login(&registry, "me", "right"));
        let unknown = client.digest(&reference).await.expect_err("unknown");
        assert_eq!(unknown, RegistryError::UnknownCa { registry: registry.clone() });
        assert!(fake.seen().is_empty());

        // What is changed counts without a restart.
        trust(&client, &registry, &certificates.authority);
        client.write_config("{}");
        let missing = client.digest(&reference).await.expect_err("missing");
        assert_eq!(missing, RegistryError::MissingCredentials { registry: registry.clone() });
        client.write_config(&login(&registry, "me", "wrong"));
        let wrong = client.digest(&reference).await.expect_err("wrong");
        assert_eq!(wrong, RegistryError::WrongCredentials { registry: registry.clone() });
        client.write_config(&login(&registry, "me", "right"));
        assert_eq!(client.digest(&reference).await, Ok(index_digest()));
        let summaries = [unknown.summary(), missing.summary(), wrong.summary()];
        assert!(summaries[0] != summaries[1] && summaries[1] != summaries[2] && summaries[0] != summaries[2]);
    }
}

#[tokio::test]
async fn a_registry_that_wants_a_client_certificate_is_shown_the_engines() {
    let authority = authority();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority");
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().expect("a check");
    let (chain, key) = certificate_of(&authority, "127.0.0.1");
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![chain.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
        .expect("a certificate");
    let fake = Fake::start_tls(server, |_| Answer::index()).await;
    let client = Client::new();
    let reference = format!("{}/x", fake.name());
    trust(&client, &fake.name(), &authority.pem());

    let error = client.digest(&reference).await.expect_err("no certificate");
    assert!(error.to_string().contains("client.cert and client.key"), "{error}");
    let (chain, key) = certificate_of(&authority, "me");
    let folder = client.home.path().join("certs.d").join(fake.name());
    std::fs::write(folder.join("client.cert"), chain.pem()).expect("written");
    // Without its key it is of no use.
    assert!(client.digest(&reference).await.is_err());
    std::fs::write(folder.join("client.key"), key.serialize_pem()).expect("written");
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
}

#[tokio::test]
async fn a_trusted_certificate_for_another_name_is_refused() {
    let certificates = self_signed("127.0.0.9");
    let fake = Fake::start_tls(certificates.server, |_| Answer::index()).await;
    let client = Client::new();
    trust(&client, &fake.name(), &certificates.authority);
    let error = client.digest(&format!("{}/x", fake.name())).await.expect_err("another name");
    assert!(matches!(error, RegistryError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn an_authority_can_be_trusted_for_all_hosts() {
    let certificates = signed();
    let fake = Fake::start_tls(certificates.server, |_| Answer::index()).await;
    let home = tempfile::TempDir::new().expect("a directory");
    let file = home.path().join("authority.pem");
    std::fs::write(&file, &certificates.authority).expect("written");
    let client = Client::at(home, |options| options.authorities = vec![file]);
    assert_eq!(client.digest(&format!("{}/x", fake.name())).await, Ok(index_digest()));
}

#[tokio::test]
async fn a_registry_that_is_listed_as_insecure_needs_no_known_authority() {
    let tls = Fake::start_tls(self_signed("other.example").server, |_| Answer::index()).await;
    let plain = Fake::start(|_| Answer::index()).await;
    let client = Client::new();
    let reference = format!("{}/x", tls.name());
    assert!(matches!(client.digest(&reference).await, Err(RegistryError::UnknownCa { .. })));
    // The engine says it later, or says something else after a restart.
    client.registry.set_insecure([tls.name(), plain.name()].into_iter().collect());
    assert_eq!(client.digest(&reference).await, Ok(index_digest()));
    assert_eq!(client.digest(&format!("{}/x", plain.name())).await, Ok(index_digest()));
    client.registry.set_insecure(["127.0.0.0/8"].into_iter().collect());
    assert!(matches!(client.digest(&reference).await, Err(RegistryError::UnknownCa { .. })));
}

#[tokio::test]
async fn the_way_of_speaking_is_found_out_once_for_all() {
    let certificates = signed();
    let fake = Fake::start_tls(certificates.server, |_| Answer::index()).await;
    let client = Client::new();
    trust(&client, &fake.name(), &certificates.authority);
    let references: Vec<_> = (0..100).map(|n| format!("{}/app{n}", fake.name())).collect();
    let answers = futures_util::future::join_all(references.iter().map(|reference| client.digest(reference))).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    // Plain http first, then https.
    assert_eq!(client.counted(RequestKind::Ping), 2);
}
