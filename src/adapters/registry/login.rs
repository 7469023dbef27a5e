//! What a registry is shown: credentials, or why there are none.

use std::fmt;

use super::error::RegistryError;

/// What proves to a registry who asks. It is part of the keys of shared tokens, so that a token never outlives the
/// credentials it was given for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Credentials {
    Anonymous,
    Password {
        username: String,
        password: String,
    },
    /// Is exchanged for tokens at the token server.
    IdentityToken(String),
    /// Is a token already.
    RegistryToken(String),
}

impl Credentials {
    /// As the engine's API takes them: JSON in base64 with the URL alphabet and padding (moby, `registry.AuthConfig`).
    /// What cannot be decoded is ignored there, and the pull goes on anonymously.
    pub(super) fn for_engine(&self, registry: &str) -> Option<String> {
        use base64::Engine;
        let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
        let auth = match self {
            Self::Anonymous => return None,
            Self::Password { username, password } => {
                serde_json::json!({"username": username, "password": password, "serveraddress": server})
            }
            Self::IdentityToken(token) => serde_json::json!({"identitytoken": token, "serveraddress": server}),
            Self::RegistryToken(token) => serde_json::json!({"registrytoken": token, "serveraddress": server}),
        };
        Some(base64::engine::general_purpose::URL_SAFE.encode(auth.to_string()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password(hidden)",
            Self::IdentityToken(_) => "IdentityToken(hidden)",
            Self::RegistryToken(_) => "RegistryToken(hidden)",
        })
    }
}

/// The credentials for one question.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub credentials: Credentials,
    /// Why there are no credentials although some are configured. Public images do not need them, so this becomes the
    /// question's error only if the registry refuses.
    pub trouble: Option<RegistryError>,
}

impl Login {
    pub(super) fn anonymous() -> Self {
        Self { credentials: Credentials::Anonymous, trouble: None }
    }

    pub(super) fn without(trouble: RegistryError) -> Self {
        Self { credentials: Credentials::Anonymous, trouble: Some(trouble) }
    }
}
