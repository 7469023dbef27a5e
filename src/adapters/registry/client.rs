//! The client: what it is made of, and the questions it answers.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::future::Cache;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode};

use super::contact::{Contact, ContactKey};
use super::credentials::CredentialStore;
use super::error::RegistryError;
use super::exchange::{Question, Wanted, body};
use super::helper::Helpers;
use super::hosts::Hosts;
use super::insecure::InsecureRegistries;
use super::manifest::{self, Manifest, RemoteDigest};
use super::mirrors::Mirrors;
use super::stats::RegistryStats;
use super::tls::Clients;
use super::token::Tokens;
use crate::domain::image::{Digest, ImageReference};

/// The specification's own limit for a manifest.
const MAX_MANIFEST: usize = 4 * 1024 * 1024;

/// Far more than the configuration of any image that people make.
const MAX_CONFIGURATION: usize = 1024 * 1024;

/// Far more registries than one machine's images come from.
const MOST_HOSTS: u64 = 1000;

/// What the client has to know of its surroundings.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Docker's `config.json`. It may be missing, and it may change at any time.
    pub docker_config: PathBuf,
    /// The search path for credential helpers; none if there are no helpers.
    pub helper_path: Option<OsString>,
    /// The complete environment of a helper, usually with `PATH` and `HOME`.
    pub helper_environment: BTreeMap<OsString, OsString>,
    /// How long a helper may take.
    pub helper_timeout: Duration,
    /// See [`Registry::set_insecure`].
    pub insecure: InsecureRegistries,
    /// Host and port of Docker Hub's API.
    pub hub: String,
    /// Files with certificates (PEM) of authorities that are trusted for all hosts, besides the system's.
    pub authorities: Vec<PathBuf>,
    /// The engine's folder `certs.d`: `*.crt` in a folder with a registry's name are trusted for that registry, and
    /// `*.cert` with a `*.key` of the same name are shown to it.
    pub certs_dir: PathBuf,
    /// The time for one request, from connecting to the last byte of the answer.
    pub request_timeout: Duration,
    /// The time for one question, with waiting for others, for a helper, for a token and for redirects.
    pub question_timeout: Duration,
    /// Requests to one host at the same time. Fewer make a check of hundreds of images wait for round trips; those of
    /// registries that speak HTTP/2 share one connection anyway.
    pub host_concurrency: usize,
}

impl RegistryOptions {
    /// The options that suit a machine with Docker: no helpers, nothing insecure, certificates from `/etc/docker/certs.d`.
    pub fn new(docker_config: impl Into<PathBuf>) -> Self {
        Self {
            docker_config: docker_config.into(),
            helper_path: None,
            helper_environment: BTreeMap::new(),
            helper_timeout: Duration::from_secs(10),
            insecure: InsecureRegistries::default(),
            hub: "registry-1.docker.io".to_owned(),
            authorities: Vec::new(),
            certs_dir: "/etc/docker/certs.d".into(),
            request_timeout: Duration::from_secs(15),
            question_timeout: Duration::from_secs(90),
            host_concurrency: 100,
        }
    }
}

/// Asks registries. Cheap to clone; all clones share tokens, limits and counters.
///
/// Answers are not kept: who asks twice gets two requests. Questions may be dropped at any time.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) hosts: Hosts,
    pub(super) clients: Clients,
    pub(super) contacts: Cache<ContactKey, Contact>,
    pub(super) tokens: Tokens,
    pub(super) stats: Arc<RegistryStats>,
    /// The time for one request.
    pub(super) timeout: Duration,
    credentials: CredentialStore,
    insecure: Mutex<Arc<InsecureRegistries>>,
    mirrors: Mutex<Arc<Mirrors>>,
    /// Host and port of Docker Hub's API.
    pub(super) hub: String,
    question_timeout: Duration,
}

impl Inner {
    pub(super) fn insecure(&self) -> Arc<InsecureRegistries> {
        self.insecure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn mirrors(&self) -> Arc<Mirrors> {
        self.mirrors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Registry {
    /// Makes a client. Nothing is read and nobody is asked before the first question.
    pub fn new(options: RegistryOptions) -> Self {
        let helpers = Helpers {
            path: options.helper_path,
            environment: options.helper_environment,
            timeout: options.helper_timeout,
        };
        Self {
            inner: Arc::new(Inner {
                hosts: Hosts::new(options.host_concurrency),
                clients: Clients::new(options.authorities, options.certs_dir),
                contacts: Cache::new(MOST_HOSTS),
                tokens: Tokens::new(),
                stats: Arc::default(),
                timeout: options.request_timeout,
                credentials: CredentialStore::new(options.docker_config, helpers),
                insecure: Mutex::new(Arc::new(options.insecure)),
                mirrors: Mutex::default(),
                hub: options.hub,
                question_timeout: options.question_timeout,
            }),
        }
    }

    /// Replaces the list of registries that the engine allows without a verified connection. The engine says it in its
    /// `/info`, so it is known only when the engine can be reached, and can change when the engine is restarted.
    pub fn set_insecure(&self, insecure: InsecureRegistries) {
        let mut current = self.inner.insecure.lock().unwrap_or_else(PoisonError::into_inner);
        if **current != insecure {
            *current = Arc::new(insecure);
        }
    }

    /// Replaces the addresses that the engine asks in the place of Docker Hub; it reports them with the insecure ones.
    pub fn set_mirrors(&self, mirrors: Mirrors) {
        *self.inner.mirrors.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(mirrors);
    }

    /// The counters of all requests that were made.
    pub fn stats(&self) -> &RegistryStats {
        &self.inner.stats
    }

    /// The login for an engine's pull, as its header `X-Registry-Auth` wants it; `None` where none is configured.
    pub async fn engine_login(&self, reference: &ImageReference, authfile: Option<&Path>) -> Option<String> {
        let login = self.inner.credentials.login(reference.domain(), reference.path(), authfile).await;
        match login {
            Ok(login) => login.credentials.for_engine(reference.domain()),
            Err(error) => {
                tracing::warn!(image = %reference, %error, "pulling without a login");
                None
            }
        }
    }

    /// The digest that a reference means in its registry now. A reference with a digest means that one, and nobody is asked.
    ///
    /// `authfile` is a file in the form of `config.json` that is used in its place.
    ///
    /// # Errors
    ///
    /// Any [`RegistryError`]. An error says nothing about the digest: the image may be up to date or not.
    pub async fn digest(
        &self,
        reference: &ImageReference,
        authfile: Option<&Path>,
    ) -> Result<RemoteDigest, RegistryError> {
        if let Some(digest) = reference.digest() {
            return Ok(RemoteDigest { digest: digest.clone(), media_type: None });
        }
        let tag = reference.effective_tag().unwrap_or_default();
        self.within_time(reference, async {
            let question = self.question(reference, authfile).await?;
            let answer = self.inner.ask(&question, &Method::HEAD, Wanted::Manifest(tag)).await?;
            if answer.status() == StatusCode::OK
                && let Some(found) = manifest::from_fields(answer.headers())
            {
                return Ok(found);
            }
            if !may_answer_get(answer.status()) {
                return Err(refusal(&question, answer.status()));
            }
            let answer = self.inner.ask(&question, &Method::GET, Wanted::Manifest(tag)).await?;
            let (headers, content) = read_manifest(&question, answer).await?;
            match manifest::from_fields(&headers) {
                Some(found) => Ok(found),
                None => manifest::from_content(&headers, &content)
                    .map_err(|reason| RegistryError::protocol(question.registry, reason)),
            }
        })
        .await
    }

    /// The manifest or index that has `digest` in the repository of `reference`; the reference's tag does not matter.
    ///
    /// This is a `GET`, which registries count as a pull: ask only where two digests differ.
    ///
    /// # Errors
    ///
    /// Any [`RegistryError`]; [`RegistryError::Protocol`] if the content does not have that digest.
    pub async fn manifest(
        &self,
        reference: &ImageReference,
        digest: &Digest,
        authfile: Option<&Path>,
    ) -> Result<Manifest, RegistryError> {
        self.within_time(reference, async {
            let question = self.question(reference, authfile).await?;
            let answer = self.inner.ask(&question, &Method::GET, Wanted::Manifest(digest.as_str())).await?;
            let (headers, content) = read_manifest(&question, answer).await?;
            manifest::verified(&headers, content, digest)
                .map_err(|reason| RegistryError::protocol(question.registry, reason))
        })
        .await
    }

    /// The configuration of an image, which is the blob `digest` in the repository of `reference`.
    ///
    /// # Errors
    ///
    /// Any [`RegistryError`]; [`RegistryError::Protocol`] for a blob that is too large, or that does not have that digest.
    pub async fn configuration(
        &self,
        reference: &ImageReference,
        digest: &Digest,
        authfile: Option<&Path>,
    ) -> Result<Bytes, RegistryError> {
        self.within_time(reference, async {
            let question = self.question(reference, authfile).await?;
            let answer = self.inner.ask(&question, &Method::GET, Wanted::Blob(digest)).await?;
            if answer.status() != StatusCode::OK {
                return Err(refusal(&question, answer.status()));
            }
            let content = body(question.registry, answer, MAX_CONFIGURATION).await?;
            manifest::has_digest(&content, digest)
                .map_err(|reason| RegistryError::protocol(question.registry, reason))?;
            Ok(content)
        })
        .await
    }

    /// Returns whether the registry of `reference`, as far as it says how many pulls it still allows, allows more than
    /// half: what is asked for out of curiosity must not take the pulls that updates need. Counts one.
    pub fn can_spare_a_pull(&self, reference: &ImageReference) -> bool {
        self.inner.hosts.named(&self.inner.endpoint(reference.domain()).host).spare()
    }

    async fn question<'a>(
        &self,
        reference: &'a ImageReference,
        authfile: Option<&Path>,
    ) -> Result<Question<'a>, RegistryError> {
        let (registry, repository) = (reference.domain(), reference.path());
        let began = Instant::now();
        let login = self.inner.credentials.login(registry, repository, authfile).await?;
        Ok(Question { registry, repository, login, began })
    }

    async fn within_time<T>(
        &self,
        reference: &ImageReference,
        question: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let late = || RegistryError::Timeout { registry: reference.domain().to_owned() };
        tokio::time::timeout(self.inner.question_timeout, question).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Returns whether a registry that answers a `HEAD` like this may still answer a `GET`.
fn may_answer_get(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 400 | 404 | 405 | 406 | 501)
}

/// The fields and the content of an answer that must be a manifest.
async fn read_manifest(question: &Question<'_>, answer: Response) -> Result<(HeaderMap, Bytes), RegistryError> {
    if answer.status() != StatusCode::OK {
        return Err(refusal(question, answer.status()));
    }
    let headers = answer.headers().clone();
    Ok((headers, body(question.registry, answer, MAX_MANIFEST).await?))
}

/// What the status of an answer without a manifest means.
fn refusal(question: &Question<'_>, status: StatusCode) -> RegistryError {
    let registry = question.registry.to_owned();
    match status.as_u16() {
        404 => RegistryError::NotFoundOrUnauthorized { registry, repository: question.repository.to_owned() },
        400..=599 => RegistryError::Server { registry, status: status.as_u16() },
        other => RegistryError::Protocol { registry, reason: format!("answered with the unexpected status {other}") },
    }
}
