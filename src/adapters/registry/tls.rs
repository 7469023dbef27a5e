//! The HTTP clients, one for each way of trusting the other end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::error::{RegistryError, SELF_SIGNED};

const NO_AUTHORITIES: &str =
    "this system has no certificates of authorities; install the package ca-certificates or mount /etc/ssl/certs";
/// Shorter than what proxies and registries keep connections for (60 s and more), so that a connection is not used in the
/// moment when the other end gives it up.
const IDLE_CONNECTION: Duration = Duration::from_secs(15);

/// Makes clients, which share their connections as long as they are kept.
pub(super) struct Clients {
    /// Certificates of further authorities, trusted for all hosts.
    authorities: Vec<PathBuf>,
    /// The engine's folder of certificates, one folder for each registry.
    certs_dir: PathBuf,
    plain: OnceLock<Client>,
    system: OnceLock<Client>,
}

/// Addresses that a name has to mean for a client; none for whatever the name means with each connection.
#[derive(Default, Clone, Copy)]
pub(super) struct Stick<'a> {
    pub name: &'a str,
    pub places: &'a [SocketAddr],
}

impl Stick<'_> {
    fn to(self, builder: ClientBuilder) -> ClientBuilder {
        if self.places.is_empty() { builder } else { builder.resolve_to_addrs(self.name, self.places) }
    }
}

impl Clients {
    pub(super) fn new(authorities: Vec<PathBuf>, certs_dir: PathBuf) -> Self {
        install_provider();
        Self { authorities, certs_dir, plain: OnceLock::new(), system: OnceLock::new() }
    }

    /// For plain http on this machine: no authorities are needed, so it works where there are none, and no proxy, as with
    /// every program in Go.
    pub(super) fn loopback(&self, host: &str, stick: Stick<'_>) -> Result<Client, RegistryError> {
        let build = || build(host, stick.to(Client::builder().tls_certs_only([]).no_proxy()));
        if stick.places.is_empty() { keep(&self.plain, build) } else { build() }
    }

    /// For plain http and for unverified https.
    pub(super) fn unverified(&self, host: &str, stick: Stick<'_>) -> Result<Client, RegistryError> {
        build(host, stick.to(Client::builder().tls_danger_accept_invalid_certs(true)))
    }

    /// For https to any host: the system's authorities and the further ones.
    pub(super) fn system(&self, host: &str) -> Result<Client, RegistryError> {
        keep(&self.system, || self.trusting(host, &self.authorities, &[], false))
    }

    /// For https to one registry: as [`system`](Self::system), and with what the engine trusts for this registry and shows
    /// to it. It is read anew each time, so that a certificate that is added later counts.
    pub(super) fn registry(&self, host: &str, loopback: bool) -> Result<Client, RegistryError> {
        let folder = self.certs_dir.join(host);
        let (own, shown) = (files_of(&folder, "crt"), files_of(&folder, "cert"));
        if own.is_empty() && shown.is_empty() && !loopback {
            return self.system(host);
        }
        let files: Vec<_> = self.authorities.iter().cloned().chain(own).collect();
        self.trusting(host, &files, &shown, loopback)
    }

    fn trusting(
        &self,
        host: &str,
        files: &[PathBuf],
        shown: &[PathBuf],
        loopback: bool,
    ) -> Result<Client, RegistryError> {
        let mut extra = Vec::new();
        for file in files {
            match CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(certificates) => extra.extend(certificates),
                Err(error) => tracing::warn!(file = %file.display(), %error, "the certificates cannot be used"),
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Authorities::new(extra, provider.clone());
        let unusable = |error: TlsError| RegistryError::Tls { registry: host.to_owned(), reason: error.to_string() };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match shown.iter().find_map(|file| identity(file)) {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(unusable)?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let builder = Client::builder().tls_backend_preconfigured(config);
        build(host, if loopback { builder.no_proxy() } else { builder })
    }
}

/// reqwest panics where no provider of cryptography is installed. Another part of the program may have been first.
pub(in crate::adapters) fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn keep(
    place: &OnceLock<Client>,
    build: impl FnOnce() -> Result<Client, RegistryError>,
) -> Result<Client, RegistryError> {
    if let Some(client) = place.get() {
        return Ok(client.clone());
    }
    let client = build()?;
    Ok(place.get_or_init(|| client).clone())
}

fn build(host: &str, builder: ClientBuilder) -> Result<Client, RegistryError> {
    builder
        .user_agent(concat!("restock/", env!("CARGO_PKG_VERSION")))
        // Followed by hand: an `Authorization` must not travel to another host.
        .redirect(reqwest::redirect::Policy::none())
        .pool_idle_timeout(IDLE_CONNECTION)
        .build()
        .map_err(|error| RegistryError::Tls { registry: host.to_owned(), reason: error.without_url().to_string() })
}

/// The files of a registry's folder with one extension, in a stable order. The engine takes `crt` for certificates of
/// authorities and `cert` for those of clients.
fn files_of(folder: &Path, wanted: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == wanted)).collect();
    files.sort();
    files
}

/// The certificate in `file` and its key, from the file beside it with the extension `key`; `None` if either cannot be
/// used, and the next one is tried.
fn identity(file: &Path) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let key = file.with_extension("key");
    let chain = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match (chain, PrivateKeyDer::from_pem_file(&key)) {
        (Ok(chain), Ok(key)) if !chain.is_empty() => Some((chain, key)),
        (Err(error), _) => {
            tracing::warn!(file = %file.display(), %error, "the client's certificate cannot be used");
            None
        }
        (Ok(_), Err(error)) => {
            tracing::warn!(file = %key.display(), %error, "the key of the client's certificate cannot be used");
            None
        }
        (Ok(_), Ok(_)) => None,
    }
}

/// The system's authorities and further ones.
///
/// It differs from the usual verifier in two things. Without any authorities it fails at the first certificate and not
/// when the client is made, so that plain http works. And it accepts a server certificate that is itself among the further
/// ones: the Docker manual's self-signed certificate (`openssl req -x509`) is marked as an authority's, which webpki does
/// not accept of a server and Go, and so the engine, does.
#[derive(Debug)]
struct Authorities {
    usual: Option<Arc<WebPkiServerVerifier>>,
    extra: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Authorities {
    fn new(extra: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Self {
        let system = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system.certs.into_iter().chain(extra.iter().cloned()));
        if roots.is_empty() {
            tracing::warn!(errors = ?system.errors, "no certificates of authorities, only plain http registries can be asked");
        }
        let usual = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build().ok();
        Self { usual, extra, provider }
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let usual = self.usual.as_ref().ok_or_else(|| TlsError::General(NO_AUTHORITIES.to_owned()))?;
        match usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The period of validity has been checked when webpki comes to this, the name has not.
            Err(TlsError::InvalidCertificate(CertificateError::Other(reason)))
                if reason.to_string() == SELF_SIGNED && self.extra.iter().any(|trusted| trusted == end_entity) =>
            {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
