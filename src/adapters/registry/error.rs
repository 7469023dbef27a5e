//! Every way a registry can fail to answer, as a person has to act on it.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

/// What webpki calls a server certificate that is marked as an authority's, which is how a self-signed one usually looks.
pub(super) const SELF_SIGNED: &str = "CaUsedAsEndEntity";

/// Why a registry's answer is not known.
///
/// The messages name hosts, files and helpers and are meant for the log; they never contain a credential, a token or a
/// URL. [`summary`](Self::summary) is the text for clients, which must not learn a registry's address either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The certificate is signed by an authority this system does not know.
    #[error(
        "{registry}: its certificate is signed by an unknown authority; put the authority's certificate into \
         certs.d/{registry}/ca.crt or into the system's trust store"
    )]
    UnknownCa { registry: String },
    /// There is no secure connection, for another reason than an unknown authority.
    #[error("{registry}: no secure connection: {reason}")]
    Tls { registry: String, reason: String },
    /// The registry wants credentials and there are none for it.
    #[error("{registry}: wants credentials and none are configured for it; run `docker login {registry}`")]
    MissingCredentials { registry: String },
    /// The registry refused the credentials that are configured for it.
    #[error("{registry}: refused the configured credentials; run `docker login {registry}` again")]
    WrongCredentials { registry: String },
    /// The registry wants its credentials handed to a host that is not its own, see the rule in `realm`.
    #[error("{registry}: wants its credentials sent to {realm}, which does not belong to it; they were not sent")]
    CredentialsWithheld { registry: String, realm: String },
    /// There is no such image, or it is hidden from this login. Registries do not tell these apart on purpose.
    #[error(
        "{registry}: {repository} has no such tag or digest, or is private and needs a `docker login {registry}` that may see it"
    )]
    NotFoundOrUnauthorized { registry: String, repository: String },
    /// The host wants no more requests before `until`. It may be a token server's host.
    #[error("{host}: too many requests, it is not asked again before {until:.0}")]
    RateLimited { host: String, until: Timestamp },
    /// The registry counts pulls, and what is left is kept for pulls.
    #[error("{registry}: limits pulls, and what is left is kept for updates")]
    NothingToSpare { registry: String },
    /// No connection, or it broke.
    #[error("{registry}: cannot be reached: {reason}")]
    Unreachable { registry: String, reason: String },
    /// No complete answer within the time a request has.
    #[error("{registry}: did not answer in time")]
    Timeout { registry: String },
    /// The registry or its token server answered with a status that says "not now" or "broken".
    #[error("{registry}: answered with status {status}")]
    Server { registry: String, status: u16 },
    /// The answer is not one that a registry may give.
    #[error("{registry}: {reason}")]
    Protocol { registry: String, reason: String },
    /// A credential helper gave no credentials, and without them the registry refused.
    #[error("docker-credential-{helper}: {reason}")]
    Helper { helper: String, reason: String },
    /// A file with credentials cannot be used, and without it the registry refused.
    #[error("{}: {reason}", path.display())]
    CredentialsFile { path: PathBuf, reason: String },
}

impl RegistryError {
    /// What a client may know: no address, no file, no reason that could contain one.
    pub fn summary(&self) -> &'static str {
        match self {
            Self::UnknownCa { .. } => "the registry's certificate is signed by an unknown authority",
            Self::Tls { .. } => "there is no secure connection to the registry",
            Self::MissingCredentials { .. } => "the registry wants credentials and none are configured",
            Self::WrongCredentials { .. } => "the registry refused the configured credentials",
            Self::CredentialsWithheld { .. } => "the registry wants its credentials sent to a foreign host",
            Self::NotFoundOrUnauthorized { .. } => {
                "the image is not in the registry, or is private and needs a `docker login` that may see it"
            }
            Self::RateLimited { .. } | Self::NothingToSpare { .. } => "the registry limits requests at the moment",
            Self::Unreachable { .. } => "the registry cannot be reached",
            Self::Timeout { .. } => "the registry did not answer in time",
            Self::Server { .. } => "the registry has a problem at the moment",
            Self::Protocol { .. } => "the registry gave an unusable answer",
            Self::Helper { .. } => "the credential helper failed",
            Self::CredentialsFile { .. } => "the credentials file cannot be used",
        }
    }

    /// Returns whether the same question may get another answer later, though nobody changes anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::NothingToSpare { .. } => true,
            Self::Server { status, .. } => *status >= 500,
            error => error.is_host_down(),
        }
    }

    /// Returns whether the host itself is out of reach, so that whoever waits for it need not find out again.
    pub(super) fn is_host_down(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. }) || self.is_insecure_connection()
    }

    /// Returns whether https is spoken, and cannot be trusted.
    pub(super) fn is_insecure_connection(&self) -> bool {
        matches!(self, Self::Tls { .. } | Self::UnknownCa { .. })
    }

    /// A rubbish answer of `registry`.
    pub(super) fn protocol(registry: &str, reason: impl Into<String>) -> Self {
        Self::Protocol { registry: registry.to_owned(), reason: reason.into() }
    }

    /// Reads a failed request. Only the innermost cause is kept as text: the outer ones contain the URL.
    pub(super) fn from_request(registry: &str, error: &reqwest::Error) -> Self {
        let registry = registry.to_owned();
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::from_tls(registry, tls);
        }
        if error.is_timeout() {
            return Self::Timeout { registry };
        }
        let reason = root_cause(error);
        if error.is_body() || error.is_decode() || find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
            return Self::Protocol { registry, reason: format!("answered with something that is not HTTP: {reason}") };
        }
        Self::Unreachable { registry, reason }
    }

    fn from_tls(registry: String, error: &rustls::Error) -> Self {
        use rustls::CertificateError::{Other, UnknownIssuer};
        match error {
            rustls::Error::InvalidCertificate(UnknownIssuer) => Self::UnknownCa { registry },
            rustls::Error::InvalidCertificate(Other(reason)) if reason.to_string() == SELF_SIGNED => {
                Self::UnknownCa { registry }
            }
            rustls::Error::InvalidMessage(_) => Self::protocol(&registry, "does not speak https"),
            rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired) => {
                let reason =
                    format!("it wants a client's certificate; put client.cert and client.key into certs.d/{registry}");
                Self::Tls { registry, reason }
            }
            rustls::Error::General(reason) => Self::Tls { registry, reason: reason.clone() },
            other => Self::Tls { registry, reason: other.to_string() },
        }
    }
}

/// The first error of type `E` in the chain of causes. What an `io::Error` carries is hidden from `source`.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::addr_eq(cause, error) { "the request failed".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_inside_io_errors_is_found() {
        let inner = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner.clone()));
        assert_eq!(find::<rustls::Error>(&error), Some(&inner));
    }

    #[test]
    fn a_host_without_tls_is_told_from_one_with_bad_tls() {
        let other = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
        assert!(!RegistryError::from_tls("r".to_owned(), &other).is_insecure_connection());
        assert!(RegistryError::from_tls("r".to_owned(), &alert).is_insecure_connection());
    }

    #[test]
    fn certificates_of_unknown_authorities_are_told_from_other_failures() {
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let of = |error| RegistryError::from_tls("r".to_owned(), error);
        assert!(matches!(of(&unknown), RegistryError::UnknownCa { .. }));
        assert!(matches!(of(&expired), RegistryError::Tls { .. }));
    }
}
