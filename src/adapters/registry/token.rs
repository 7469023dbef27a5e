//! Tokens: fetched once for all who need the same one, and kept until they expire.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::client::Inner;
use super::contact::Contact;
use super::error::RegistryError;
use super::exchange::{MAX_REDIRECTS, Question, body, redirect};
use super::grant::basic;
use super::login::Credentials;
use super::stats::RequestKind;

/// What the specification says of a token without a lifetime.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// A token is not used in the last part of its life: it has to arrive before it ends. A tenth, but never more than this.
const MARGIN: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 1024 * 1024;
const CLIENT_ID: &str = "restock";

/// A token for one scope.
#[derive(Clone)]
pub(super) struct Token {
    pub secret: Arc<str>,
    pub obtained: Instant,
    lifetime: Duration,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(hidden, {:?})", self.lifetime)
    }
}

/// What a token depends on. The host is part of it: a token is shown only to the host it was fetched for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    pub host: String,
    pub realm: Url,
    pub service: Option<String>,
    pub scope: String,
    pub credentials: Credentials,
}

/// Why there is no token.
#[derive(Debug, Clone)]
pub(super) enum TokenFailure {
    /// The token server said so, with this status.
    Refused(u16),
    Other(RegistryError),
}

impl From<RegistryError> for TokenFailure {
    fn from(error: RegistryError) -> Self {
        Self::Other(error)
    }
}

/// The tokens that are valid now.
pub(super) struct Tokens {
    cache: Cache<TokenKey, Token>,
}

struct Lifetime;

impl Expiry<TokenKey, Token> for Lifetime {
    fn expire_after_create(&self, _: &TokenKey, token: &Token, _: Instant) -> Option<Duration> {
        Some(token.lifetime - (token.lifetime / 10).min(MARGIN))
    }
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { cache: Cache::builder().max_capacity(10_000).expire_after(Lifetime).build() }
    }

    /// The token that is kept; else the one that `fetch` gives to this caller and all who ask at the same time.
    pub(super) async fn get(
        &self,
        key: &TokenKey,
        fetch: impl Future<Output = Result<Token, TokenFailure>>,
    ) -> Result<Token, TokenFailure> {
        self.cache.try_get_with_by_ref(key, fetch).await.map_err(|failure| TokenFailure::clone(&failure))
    }

    /// Drops a token that a registry refused, unless another one has taken its place.
    pub(super) async fn forget(&self, key: &TokenKey, token: &Token) {
        if self.cache.get(key).await.is_some_and(|kept| kept.obtained == token.obtained) {
            self.cache.invalidate(key).await;
        }
    }
}

impl Inner {
    /// Gets a new token.
    pub(super) async fn fetch_token(
        &self,
        question: &Question<'_>,
        contact: &Contact,
        key: &TokenKey,
    ) -> Result<Token, TokenFailure> {
        let (mut url, form) = match &key.credentials {
            Credentials::IdentityToken(token) => (key.realm.clone(), Some(refresh_form(key, token))),
            _ => (question_url(key), None),
        };
        let mut header = match &key.credentials {
            Credentials::Password { username, password } => basic(username, password),
            _ => None,
        };
        let realm = key.realm.host_str().unwrap_or_default();
        let rubbish = |reason: String| RegistryError::protocol(realm, reason);
        for _ in 0..=MAX_REDIRECTS {
            let client = self.client_for(contact, &url)?;
            let mut request = match &form {
                None => client.get(url.clone()),
                Some(form) => {
                    let request = client.post(url.clone()).body(form.clone());
                    request.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                }
            };
            if let Some(header) = &header {
                request = request.header(AUTHORIZATION, header.clone());
            }
            let answer = self.send(question, RequestKind::Token, &url, request).await?;
            match redirect(&answer, &url).map_err(rubbish)? {
                // The body is a secret, and it would be sent again.
                Some(_) if form.is_some() => return Err(rubbish("redirects a login".to_owned()).into()),
                Some(next) => {
                    header = header.filter(|_| next.origin() == url.origin());
                    url = next;
                }
                None if answer.status() == StatusCode::OK => {
                    let content = body(realm, answer, MAX_ANSWER).await?;
                    return Ok(read(&content).map_err(rubbish)?);
                }
                None => return Err(TokenFailure::Refused(answer.status().as_u16())),
            }
        }
        Err(rubbish("redirects without end".to_owned()).into())
    }
}

fn question_url(key: &TokenKey) -> Url {
    let mut url = key.realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &key.service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", &key.scope);
    }
    url
}

/// The exchange of an identity token (OAuth 2, section 6), as Docker's own client does it.
fn refresh_form(key: &TokenKey, token: &str) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    if let Some(service) = &key.service {
        form.append_pair("service", service);
    }
    form.append_pair("scope", &key.scope).append_pair("client_id", CLIENT_ID).append_pair("refresh_token", token);
    form.finish()
}

/// Reads a token server's answer: `token`, or `access_token` as OAuth 2 calls it, and `expires_in`, in seconds. The answer
/// is never part of an error.
fn read(content: &[u8]) -> Result<Token, String> {
    let answer: Value = serde_json::from_slice(content).map_err(|_| "gave a token that is not JSON".to_owned())?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let secret = text("token").or_else(|| text("access_token")).ok_or("gave an answer without a token")?;
    let seconds = answer.get("expires_in").and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    let lifetime = match seconds {
        None => DEFAULT_LIFETIME,
        // Negative: it is over already. Too large to be a duration: the longest.
        Some(seconds) if seconds <= 0.0 => Duration::ZERO,
        Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_LIFETIME),
    };
    Ok(Token { secret: secret.into(), obtained: Instant::now(), lifetime: lifetime.min(LONGEST_LIFETIME) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_token_servers_are_read() {
        let table = [
            (r#"{"token":"t","expires_in":300}"#, Ok(("t", 300))),
            (r#"{"access_token":"a"}"#, Ok(("a", 60))),
            (r#"{"token":"","access_token":"a","expires_in":"120"}"#, Ok(("a", 120))),
            (r#"{"token":"t","access_token":"a","expires_in":null}"#, Ok(("t", 60))),
            (r#"{"token":"t","expires_in":-1}"#, Ok(("t", 0))),
            (r#"{"token":"t","expires_in":1e300}"#, Ok(("t", 86400))),
            (r#"{"tokens":"t"}"#, Err("gave an answer without a token")),
            (r#"{"token":7}"#, Err("gave an answer without a token")),
            ("s3cret", Err("gave a token that is not JSON")),
        ];
        for (answer, expected) in table {
            let token = read(answer.as_bytes());
            let seen = token.as_ref().map(|token| (&*token.secret, token.lifetime.as_secs())).map_err(String::as_str);
            assert_eq!(seen, expected, "{answer}");
        }
    }

    #[test]
    fn a_realm_keeps_its_own_query() {
        let key = TokenKey {
            host: "r".to_owned(),
            realm: "https://auth.example/token?tenant=a".parse().expect("a URL"),
            service: Some("r e".to_owned()),
            scope: "repository:a/b:pull".to_owned(),
            credentials: Credentials::Anonymous,
        };
        let expected = "https://auth.example/token?tenant=a&service=r+e&scope=repository%3Aa%2Fb%3Apull";
        assert_eq!(question_url(&key).as_str(), expected);
        assert!(refresh_form(&key, "s&t").ends_with("client_id=restock&refresh_token=s%26t"));
    }

    #[test]
    fn a_token_does_not_show_in_debug_output() {
        let token = read(br#"{"token":"s3cret"}"#).expect("a token");
        assert!(!format!("{token:?}").contains("s3cret"));
    }
}
