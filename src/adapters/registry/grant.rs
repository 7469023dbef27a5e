//! What is shown to a host, and what it means when the host refuses it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use url::Url;

use super::challenge::{Asked, Challenge};
use super::client::Inner;
use super::contact::Contact;
use super::error::RegistryError;
use super::exchange::Question;
use super::hosts::Host;
use super::login::Credentials;
use super::realm;
use super::token::{Token, TokenFailure, TokenKey};

/// One host on the way to a manifest: the registry, or where it redirects to.
pub(super) struct Hop<'a> {
    pub question: &'a Question<'a>,
    pub contact: &'a Contact,
    pub host: Arc<Host>,
    url: &'a Url,
    is_home: bool,
}

/// The proof for one request.
pub(super) struct Grant {
    /// The `Authorization` field; none to ask without.
    pub header: Option<HeaderValue>,
    /// The token in it, if it is a shared one.
    pub token: Option<(TokenKey, Token)>,
    /// The host that would have had to see the credentials and did not.
    withheld: Option<String>,
}

impl Grant {
    fn showing(header: Option<HeaderValue>) -> Self {
        Self { header, token: None, withheld: None }
    }
}

impl<'a> Hop<'a> {
    pub(super) fn new(question: &'a Question<'a>, contact: &'a Contact, url: &'a Url, host: Arc<Host>) -> Self {
        Self { question, contact, host, url, is_home: contact.is_home(url) }
    }

    fn credentials(&self) -> &Credentials {
        if self.is_home { &self.question.login.credentials } else { &Credentials::Anonymous }
    }

    /// Returns whether there is something to show to a host that wants this.
    pub(super) fn can_answer(&self, challenge: &Challenge) -> bool {
        match challenge {
            Challenge::Basic => matches!(self.credentials(), Credentials::Password { .. }),
            Challenge::Bearer { .. } => !matches!(self.credentials(), Credentials::RegistryToken(_)),
        }
    }

    /// What a token must allow. It follows from the path that is asked for, because some registries put a placeholder or
    /// nothing into their challenge; behind a redirect the path may follow other rules, and the challenge counts.
    pub(super) fn scope(&self, asked: Option<&Asked>) -> String {
        let path = self.url.path().strip_prefix("/v2/").and_then(|path| path.rsplit_once("/manifests/"));
        match (path, asked.and_then(|asked| asked.scope.clone())) {
            (Some((repository, _)), _) => format!("repository:{repository}:pull"),
            (None, Some(scope)) => scope,
            (None, None) => format!("repository:{}:pull", self.question.repository),
        }
    }

    /// What a refusal with 401 or 403 means, after all that could be shown has been shown.
    pub(super) fn refusal(&self, grant: &Grant, challenge: Option<&Challenge>, status: StatusCode) -> RegistryError {
        let registry = || self.question.registry.to_owned();
        if let Some(error) = self.obstacle(grant.withheld.as_ref()) {
            return error;
        }
        let hidden = RegistryError::NotFoundOrUnauthorized {
            registry: registry(),
            repository: self.question.repository.to_owned(),
        };
        if status == StatusCode::FORBIDDEN {
            return hidden;
        }
        let anonymous = *self.credentials() == Credentials::Anonymous;
        match challenge {
            // A token was given out, so the login is right, or none is asked for: it does not reach this far.
            Some(Challenge::Bearer { .. }) if grant.token.is_some() => hidden,
            _ if anonymous => RegistryError::MissingCredentials { registry: registry() },
            _ if grant.header.is_some() => RegistryError::WrongCredentials { registry: registry() },
            _ => {
                RegistryError::protocol(self.question.registry, "wants another kind of credentials than the configured")
            }
        }
    }

    /// What a token server's refusal means.
    fn token_refusal(&self, key: &TokenKey, withheld: Option<&String>, status: u16) -> RegistryError {
        let registry = self.question.registry.to_owned();
        let anonymous = key.credentials == Credentials::Anonymous;
        match status {
            // 400 is how OAuth 2 refuses a refresh token.
            400 if matches!(key.credentials, Credentials::IdentityToken(_)) => {
                RegistryError::WrongCredentials { registry }
            }
            401 | 403 if !anonymous => RegistryError::WrongCredentials { registry },
            401 | 403 => self.obstacle(withheld).unwrap_or_else(|| {
                if status == 401 {
                    RegistryError::MissingCredentials { registry }
                } else {
                    let repository = self.question.repository.to_owned();
                    RegistryError::NotFoundOrUnauthorized { registry, repository }
                }
            }),
            _ => RegistryError::Server { registry: key.realm.host_str().unwrap_or_default().to_owned(), status },
        }
    }

    /// Why the host was asked without credentials although there are some.
    fn obstacle(&self, withheld: Option<&String>) -> Option<RegistryError> {
        let withheld = withheld.map(|realm| RegistryError::CredentialsWithheld {
            registry: self.question.registry.to_owned(),
            realm: realm.clone(),
        });
        withheld.or_else(|| self.question.login.trouble.clone())
    }
}

impl Inner {
    /// Finds what to show to a host that is known to want `challenge`.
    pub(super) async fn grant(
        &self,
        hop: &Hop<'_>,
        challenge: Option<&Challenge>,
        scope: &str,
    ) -> Result<Grant, RegistryError> {
        match (hop.credentials(), challenge) {
            (Credentials::RegistryToken(token), _) => Ok(Grant::showing(bearer(token))),
            (Credentials::Password { username, password }, Some(Challenge::Basic)) => {
                Ok(Grant::showing(basic(username, password)))
            }
            (credentials, Some(Challenge::Bearer { realm, service })) => {
                self.token_grant(hop, credentials, realm, service.clone(), scope).await
            }
            (_, None | Some(Challenge::Basic)) => Ok(Grant::showing(None)),
        }
    }

    async fn token_grant(
        &self,
        hop: &Hop<'_>,
        credentials: &Credentials,
        realm: &str,
        service: Option<String>,
        scope: &str,
    ) -> Result<Grant, RegistryError> {
        let mut realm =
            hop.url.join(realm).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| {
                RegistryError::protocol(hop.question.registry, "names a token server that is not a web address")
            })?;
        let _ = realm.set_username("");
        let _ = realm.set_password(None);
        let anonymous = *credentials == Credentials::Anonymous;
        let trusted = realm::may_see_credentials(hop.question.registry, &hop.contact.base, &realm);
        let withheld = (!anonymous && !trusted).then(|| realm.host_str().unwrap_or_default().to_owned());
        let key = TokenKey {
            host: hop.host.name.clone(),
            realm,
            service,
            scope: scope.to_owned(),
            credentials: if withheld.is_some() { Credentials::Anonymous } else { credentials.clone() },
        };
        match self.tokens.get(&key, self.fetch_token(hop.question, hop.contact, &key)).await {
            Ok(token) => Ok(Grant { header: bearer(&token.secret), token: Some((key, token)), withheld }),
            Err(TokenFailure::Refused(status)) => Err(hop.token_refusal(&key, withheld.as_ref(), status)),
            Err(TokenFailure::Other(error)) => Err(error),
        }
    }
}

/// None if the secret cannot be part of a header, which a registry refuses as it would refuse a wrong one.
fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(format!("Bearer {token}"))
}

pub(super) fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    sensitive(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
