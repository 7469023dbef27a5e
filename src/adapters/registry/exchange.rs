//! One question as HTTP requests: sending, redirects, refusals.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use url::Url;

use super::backoff;
use super::challenge::{self, Asked};
use super::client::Inner;
use super::contact::{Contact, ContactKey, Endpoint, is_for_https};
use super::error::RegistryError;
use super::grant::{Grant, Hop};
use super::login::Login;
use super::manifest;
use super::mirrors::HUB;
use super::stats::RequestKind;
use crate::domain::image::Digest;

pub(super) const MAX_REDIRECTS: usize = 3;
/// How much of a refusal is read to find out how long it holds.
const REFUSAL: usize = 4096;

/// What a registry is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// A manifest by tag or digest.
    Manifest(&'a str),
    Blob(&'a Digest),
}

impl Wanted<'_> {
    fn path(self, repository: &str) -> String {
        match self {
            Self::Manifest(wanted) => format!("{repository}/manifests/{wanted}"),
            Self::Blob(digest) => format!("{repository}/blobs/{digest}"),
        }
    }

    fn kind(self, method: &Method) -> RequestKind {
        match self {
            Self::Manifest(_) if method == Method::HEAD => RequestKind::ManifestHead,
            Self::Manifest(_) => RequestKind::ManifestGet,
            Self::Blob(_) => RequestKind::Blob,
        }
    }

    fn accept(self) -> &'static str {
        match self {
            Self::Manifest(_) => manifest::ACCEPT,
            Self::Blob(_) => "*/*",
        }
    }
}

/// What all requests for one question have in common.
pub(super) struct Question<'a> {
    /// The registry as references name it.
    pub registry: &'a str,
    pub repository: &'a str,
    pub login: Login,
    /// When it was asked. What is learnt of a host after that counts for this question too.
    pub began: Instant,
}

impl Inner {
    /// Asks for a manifest or a blob where a pull would look for it: Docker Hub's at the engine's mirrors first.
    /// Gives back the answer, which is a refusal only in the sense of "not
    /// found", "not like this" or "not now"; those for want of rights and for too many requests are errors.
    pub(super) async fn ask(
        &self,
        question: &Question<'_>,
        method: &Method,
        wanted: Wanted<'_>,
    ) -> Result<Response, RegistryError> {
        if question.registry == HUB {
            for mirror in self.mirrors().endpoints() {
                let host = mirror.host.clone();
                let anonymous = Question {
                    registry: &host,
                    repository: question.repository,
                    login: Login::anonymous(),
                    began: question.began,
                };
                match self.ask_endpoint(&anonymous, mirror, method, wanted).await {
                    Ok(answer) if answer.status() == StatusCode::OK => return Ok(answer),
                    Ok(answer) => tracing::debug!(mirror = host, status = %answer.status(), "asking elsewhere"),
                    Err(error) => tracing::debug!(mirror = host, %error, "asking elsewhere"),
                }
            }
        }
        self.ask_endpoint(question, self.endpoint(question.registry), method, wanted).await
    }

    async fn ask_endpoint(
        &self,
        question: &Question<'_>,
        endpoint: Endpoint,
        method: &Method,
        wanted: Wanted<'_>,
    ) -> Result<Response, RegistryError> {
        let key = ContactKey { endpoint, insecure: self.insecure() };
        let contact = self.contact(question, &key).await?;
        let answer = self.ask_contact(question, &contact, method, wanted).await;
        let has_changed = match &answer {
            Ok(answer) => is_for_https(&contact.base, answer),
            Err(error) => error.is_host_down() || matches!(error, RegistryError::Protocol { .. }),
        };
        if has_changed {
            // It may come back in another way: with a new certificate, or with https instead of plain http.
            self.contacts.invalidate(&key).await;
        }
        answer
    }

    /// Returns where a registry's API is. Only the Hub's is elsewhere than its name says.
    pub(super) fn endpoint(&self, registry: &str) -> Endpoint {
        let host = if registry == HUB { self.hub.clone() } else { registry.to_lowercase() };
        Endpoint { host, address: None }
    }

    async fn ask_contact(
        &self,
        question: &Question<'_>,
        contact: &Contact,
        method: &Method,
        wanted: Wanted<'_>,
    ) -> Result<Response, RegistryError> {
        let mut url = contact.api(&wanted.path(question.repository));
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.ask_hop(question, contact, method, wanted, &url).await?;
            match redirect(&answer, &url).map_err(|reason| RegistryError::protocol(question.registry, reason))? {
                Some(next) => url = next,
                None => return Ok(answer),
            }
        }
        Err(RegistryError::protocol(question.registry, "redirects without end"))
    }

    /// Asks one host. Each host of a chain of redirects is asked with what that host may see: the registry itself with
    /// the login, any other one anonymously, whatever was shown to the one before.
    async fn ask_hop(
        &self,
        question: &Question<'_>,
        contact: &Contact,
        method: &Method,
        wanted: Wanted<'_>,
        url: &Url,
    ) -> Result<Response, RegistryError> {
        let kind = wanted.kind(method);
        let hop = Hop::new(question, contact, url, self.hosts.of(url));
        let client = self.client_for(contact, url)?;
        let mut challenge = hop.host.challenge();
        let mut scope = hop.scope(None);
        // The second round is for a challenge that was not known or has changed, and for a token that no longer holds.
        let mut last_round = false;
        loop {
            let grant = self.grant(&hop, challenge.as_ref(), &scope).await?;
            let mut request = client.request(method.clone(), url.clone()).header(ACCEPT, wanted.accept());
            if let Some(header) = &grant.header {
                request = request.header(AUTHORIZATION, header.clone());
            }
            let answer = self.send(question, kind, url, request).await?;
            let status = answer.status();
            if status == StatusCode::FORBIDDEN {
                return Err(hop.refusal(&grant, challenge.as_ref(), status));
            }
            if status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            let asked = challenge_of(&answer);
            if last_round || !self.is_worth_another_round(&hop, &grant, challenge.as_ref(), asked.as_ref()).await {
                let challenge = asked.map(|asked| asked.challenge);
                return Err(hop.refusal(&grant, challenge.as_ref(), status));
            }
            scope = hop.scope(asked.as_ref());
            challenge = asked.map(|asked| asked.challenge);
            last_round = true;
        }
    }

    /// After a 401: notes what the host wants and says whether there is something new to show.
    async fn is_worth_another_round(
        &self,
        hop: &Hop<'_>,
        grant: &Grant,
        shown: Option<&challenge::Challenge>,
        asked: Option<&Asked>,
    ) -> bool {
        let Some(asked) = asked else { return false };
        hop.host.remember(&asked.challenge);
        if Some(&asked.challenge) != shown {
            return hop.can_answer(&asked.challenge);
        }
        // A token that was fetched for this question, or that is valid but does not allow enough, would be refused again.
        match &grant.token {
            Some((key, token)) if token.obtained < hop.question.began && !asked.insufficient => {
                self.tokens.forget(key, token).await;
                true
            }
            _ => false,
        }
    }

    /// Sends one request and notes what its fate says of the host.
    pub(super) async fn send(
        &self,
        question: &Question<'_>,
        kind: RequestKind,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let began = Instant::now();
        let answer = self.send_unnoted(question, kind, url, request.timeout(self.timeout)).await;
        if let Err(error) = answer.as_ref()
            && error.is_host_down()
        {
            self.hosts.of(url).failed(began, error);
        }
        answer
    }

    /// Sends one request without telling those who wait for the same host of a failure.
    pub(super) async fn send_unnoted(
        &self,
        question: &Question<'_>,
        kind: RequestKind,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let host = self.hosts.of(url);
        let _place = host.enter(question.began).await?;
        let result = request.send().await;
        let status = result.as_ref().ok().map(|answer| answer.status().as_u16());
        self.stats.count(&host.name, kind, status);
        let mut answer = result.map_err(|error| RegistryError::from_request(&host.name, &error))?;
        host.note_allowance(answer.headers());
        if answer.status() != StatusCode::TOO_MANY_REQUESTS {
            host.answered();
            return Ok(answer);
        }
        let beginning = beginning(&mut answer).await;
        let field = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Err(host.limited(|strikes| -> Duration {
            backoff::wait(field, &String::from_utf8_lossy(&beginning), strikes, Timestamp::now())
        }))
    }
}

pub(super) fn challenge_of(answer: &Response) -> Option<Asked> {
    let fields = answer.headers().get_all(WWW_AUTHENTICATE).iter();
    challenge::choose(fields.filter_map(|field| field.to_str().ok()))
}

/// The target of a redirect; none if the answer is no redirect.
pub(super) fn redirect(answer: &Response, from: &Url) -> Result<Option<Url>, String> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let mut next = location.and_then(|location| from.join(location).ok()).ok_or("redirects to nowhere")?;
    // What a user part contains would be sent as credentials.
    let _ = next.set_username("");
    let _ = next.set_password(None);
    match (from.scheme(), next.scheme()) {
        (_, "https") | ("http", "http") => Ok(Some(next)),
        _ => Err("redirects from https to something less secure".to_owned()),
    }
}

/// Reads a body that must not be longer than `most` bytes.
pub(super) async fn body(registry: &str, mut answer: Response, most: usize) -> Result<Bytes, RegistryError> {
    let mut content = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| RegistryError::from_request(registry, &error))? {
        if content.len() + chunk.len() > most {
            return Err(RegistryError::protocol(registry, format!("answered with more than {most} bytes")));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content.freeze())
}

/// The beginning of a body, as far as it comes.
async fn beginning(answer: &mut Response) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < REFUSAL
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        content.extend_from_slice(&chunk);
    }
    content.truncate(REFUSAL);
    content
}
