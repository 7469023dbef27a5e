//! What registries have, asked once for each reference and shared by all who want to know.

mod details;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use details::Details;
pub use details::Unknown;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::mutex::lock_of;
use crate::adapters::engine::Engine;
use crate::adapters::registry::{Content, Registry, RegistryError};
use crate::adapters::store::{Store, StoreError};
use crate::adapters::task;
use crate::domain::container::{Container, LocalImage};
use crate::domain::freshness::{Comparison, Finding, Known, Origins, Status, compare, digests_in, status};
use crate::domain::image::{Digest, ImageReference};

/// How long an answer is believed.
pub(super) const BELIEVED: Duration = Duration::from_secs(5 * 60);
/// How long a reader waits who has not insisted; then what is known has to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How much somebody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// What is known already; nobody is asked.
    Nobody,
    /// What is known, if it is not older than five minutes; else the registry is asked, with little patience.
    IfStale,
    /// The registry's answer of now.
    Force,
    /// The registry's answer of then or later: who asks about many things that share images asks for each image once.
    Since(Instant),
}

impl Ask {
    /// Returns whether whoever asks waits for the answer, however long it takes.
    pub(super) fn insists(self) -> bool {
        matches!(self, Self::Force | Self::Since(_))
    }
}

/// References to ask about, each with the file of credentials that one of its containers names.
pub type Asked = BTreeMap<ImageReference, Option<PathBuf>>;

/// Puts together what containers follow. Many may follow one reference: a file that any of them names is for all.
pub fn asked_of(followed: impl IntoIterator<Item = (ImageReference, Option<PathBuf>)>) -> Asked {
    let mut asked = Asked::new();
    for (reference, authfile) in followed {
        let known = asked.entry(reference).or_default();
        *known = known.take().or(authfile);
    }
    asked
}

/// The answers of registries. Cheap to clone.
#[derive(Clone)]
pub struct Freshness {
    pub(super) registry: Registry,
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    /// Whether newer images are asked for their version.
    pub(super) version_lookup: bool,
}

#[derive(Default)]
pub(super) struct Shared {
    references: Mutex<HashMap<String, Arc<Slot>>>,
    /// What manifests and indexes lead to, by their digests: they never change.
    contents: Mutex<HashMap<Digest, Arc<Content>>>,
    pub(super) details: Details,
    /// Answers that are not yet written down: all of a check go in one transaction, but for those that come late.
    unwritten: Mutex<Vec<(String, Digest, Timestamp)>>,
    /// The same of questions without an answer.
    unwritten_failures: Mutex<Vec<(String, String, Timestamp)>>,
    version: AtomicU64,
    /// Questions that were answered from what is known, and those that were asked of a registry.
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Default)]
pub(super) struct Slot {
    /// Held while the registry is asked: whoever comes meanwhile waits for that answer.
    asking: tokio::sync::Mutex<()>,
    known: Mutex<Option<(Instant, Known)>>,
    /// The file of credentials that came with the last question, for who has to ask further and names none.
    authfile: Mutex<Option<PathBuf>>,
}

impl Freshness {
    /// Starts from what the database remembers.
    pub async fn new(registry: Registry, store: Store) -> Result<Self, StoreError> {
        let mut known = HashMap::new();
        for remembered in store.remembered_digests().await? {
            let (digest, asked_at) = (Some((remembered.digest, remembered.checked_at)), remembered.checked_at);
            known.insert(remembered.reference, Known { digest, failure: None, asked_at });
        }
        for (reference, reason, asked_at) in store.remembered_failures().await? {
            let digest = known.get(&reference).and_then(|known| known.digest.clone());
            known.insert(reference, Known { digest, failure: Some(reason), asked_at });
        }
        let shared = Shared { details: Details::of(store.remembered_details().await?), ..Shared::default() };
        for (reference, known) in known {
            let age = Timestamp::now().duration_since(known.asked_at).unsigned_abs();
            if let Some(at) = Instant::now().checked_sub(age) {
                let slot = Slot { known: Mutex::new(Some((at, known))), ..Slot::default() };
                lock_of(&shared.references).insert(reference, Arc::new(slot));
            }
        }
        Ok(Self { registry, store, shared: Arc::new(shared), version_lookup: true })
    }

    /// Takes over the engine's settings for registries, so that these are asked as a pull would ask them.
    pub async fn learn_settings(&self, engine: &Engine) {
        match engine.registry_settings().await {
            Ok(settings) => {
                self.registry.set_insecure(settings.insecure.iter().collect());
                self.registry.set_mirrors(settings.mirrors.iter().collect());
            }
            Err(error) => tracing::debug!(%error, "the engine's settings for registries are not known"),
        }
    }

    /// The registries themselves.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Grows whenever an answer changes what is known.
    pub fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// How many questions were answered from what is known, and how many were asked of a registry.
    pub fn lookups(&self) -> (u64, u64) {
        (self.shared.hits.load(Ordering::Relaxed), self.shared.misses.load(Ordering::Relaxed))
    }

    /// What is known of a reference.
    pub fn known(&self, reference: &ImageReference) -> Option<Known> {
        self.slot(reference).known()
    }

    /// Returns whether what is known of a reference is recent enough to be believed.
    pub fn is_fresh(&self, reference: &ImageReference) -> bool {
        self.slot(reference).is_known_since(Instant::now().checked_sub(BELIEVED))
    }

    /// Asks for each of `references` at most once, all at the same time, and writes down what was learned.
    pub async fn learn(&self, references: &Asked, ask: Ask) {
        let (this, references) = (self.clone(), references.clone());
        // Detached: the answers are worth having and writing down also when the reader has gone away.
        let work = task::spawn("asking registries", async move {
            let asked = references.iter().map(|(reference, authfile)| this.ask(reference, authfile.clone(), ask));
            futures_util::future::join_all(asked).await;
            this.write_down().await;
        });
        // One that panics is logged by the task itself.
        let _ = work.await;
    }

    async fn write_down(&self) {
        let answers = std::mem::take(&mut *lock_of(&self.shared.unwritten));
        if !answers.is_empty()
            && let Err(error) = self.store.remember_digests(answers).await
        {
            tracing::warn!(%error, "the registries' answers could not be written down");
        }
        let failures = std::mem::take(&mut *lock_of(&self.shared.unwritten_failures));
        if !failures.is_empty()
            && let Err(error) = self.store.remember_failures(failures).await
        {
            tracing::warn!(%error, "the registries' failures could not be written down");
        }
    }

    /// Asks anew where a pull has brought something else than what is known to be in the registry.
    pub fn learn_pulled(&self, images: &BTreeMap<String, Option<LocalImage>>) {
        let surprising = |(reference, image): (&String, &Option<LocalImage>)| {
            let (parsed, image) = (reference.parse::<ImageReference>().ok()?, image.as_ref()?);
            let (remote, _) = self.known(&parsed).filter(|_| parsed.digest().is_none())?.digest?;
            let local = digests_in(&image.repo_digests, &parsed);
            (!local.is_empty() && !local.contains(&remote)).then(|| {
                let authfile = self.slot(&parsed).authfile();
                (parsed, authfile)
            })
        };
        let asked: Asked = images.iter().filter_map(surprising).collect();
        if !asked.is_empty() {
            let this = self.clone();
            task::spawn("asking after a pull", async move { this.learn(&asked, Ask::Force).await });
        }
    }

    async fn ask(&self, reference: &ImageReference, authfile: Option<PathBuf>, ask: Ask) {
        let slot = self.slot(reference);
        let since = match ask {
            Ask::Nobody => return,
            Ask::IfStale => Instant::now().checked_sub(BELIEVED),
            Ask::Force => Some(Instant::now()),
            Ask::Since(then) => Some(then),
        };
        lock_of(&slot.authfile).clone_from(&authfile);
        if slot.is_known_since(since) {
            self.shared.hits.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (this, asked) = (self.clone(), reference.clone());
        let ask_it = async move { this.ask_registry(&asked, authfile.as_deref(), &slot, since).await };
        let mut work = task::spawn("asking a registry", ask_it);
        let _ = if ask.insists() {
            work.await
        } else {
            match tokio::time::timeout(PATIENCE, &mut work).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    tracing::debug!(image = %reference, "the registry is slow; what is known has to do");
                    return self.write_down_after(work);
                }
            }
        };
    }

    /// Writes down an answer that nobody waits for any more.
    fn write_down_after(&self, work: JoinHandle<()>) {
        let this = self.clone();
        task::spawn("writing down an answer", async move {
            if work.await.is_ok() {
                this.write_down().await;
            }
        });
    }

    async fn ask_registry(
        &self,
        reference: &ImageReference,
        authfile: Option<&Path>,
        slot: &Slot,
        since: Option<Instant>,
    ) {
        let _asking = slot.asking.lock().await;
        // Somebody else may have asked while this one waited.
        if slot.is_known_since(since) {
            self.shared.hits.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.shared.misses.fetch_add(1, Ordering::Relaxed);
        let answer = self.registry.digest(reference, authfile).await;
        let now = Timestamp::now();
        let mut known = lock_of(&slot.known);
        let before = known.take().map(|(_, known)| known);
        let next = match answer {
            Ok(remote) => {
                lock_of(&self.shared.unwritten).push((reference.canonical(), remote.digest.clone(), now));
                Known { digest: Some((remote.digest, now)), failure: None, asked_at: now }
            }
            Err(error) => {
                tracing::warn!(image = %reference, %error, "the registry gave no answer");
                let digest = before.as_ref().and_then(|known| known.digest.clone());
                let failure = error.summary().to_owned();
                lock_of(&self.shared.unwritten_failures).push((reference.canonical(), failure.clone(), now));
                Known { digest, failure: Some(failure), asked_at: now }
            }
        };
        let same = before.as_ref().is_some_and(|before| {
            before.failure == next.failure
                && before.digest.as_ref().map(|(digest, _)| digest) == next.digest.as_ref().map(|(digest, _)| digest)
        });
        *known = Some((Instant::now(), next));
        if !same {
            self.changed();
        }
    }

    /// Tells how a container that was made from `reference` compares with its registry. Asks nobody but, where the
    /// comparison needs it and `ask` allows, for the content of one index, once for each index.
    pub async fn find(&self, container: &Container, reference: &str, origins: &Origins, ask: Ask) -> Finding {
        let parsed = match origins.followed(reference) {
            Ok(parsed) => parsed,
            Err(reason) => return Finding::of(Status::Skipped, reason),
        };
        let known =
            self.known(&parsed).unwrap_or(Known { digest: None, failure: None, asked_at: Timestamp::UNIX_EPOCH });
        let repo_digests = origins.digests_of(container);
        let remote = known.digest.as_ref().map(|(digest, _)| digest.clone());
        let comparison = match &remote {
            Some(remote) => Some(self.compare(container, repo_digests, &parsed, remote, ask).await),
            None => None,
        };
        let (status, message) = status(comparison, &known);
        let local_digest = digests_in(repo_digests, &parsed).pop();
        let local_digest =
            local_digest.or_else(|| container.manifest.as_ref().and(container.image_id.as_str().parse().ok()));
        Finding { status, message, local_digest, remote_digest: remote }
    }

    async fn compare(
        &self,
        container: &Container,
        repo_digests: &[String],
        reference: &ImageReference,
        remote: &Digest,
        ask: Ask,
    ) -> Comparison {
        let comparison = compare(container, repo_digests, reference, remote);
        let Some(manifest) = container.manifest.as_ref().filter(|_| comparison == Comparison::AskIndex) else {
            return comparison;
        };
        match self.manifests_of(reference, remote, ask).await {
            Some(content) if content.lists(manifest) => Comparison::Same,
            _ => Comparison::Different,
        }
    }

    async fn manifests_of(&self, reference: &ImageReference, index: &Digest, ask: Ask) -> Option<Arc<Content>> {
        if ask == Ask::Nobody {
            return lock_of(&self.shared.contents).get(index).cloned();
        }
        match self.content_of(reference, index).await {
            Ok(content) => Some(content),
            Err(error) => {
                tracing::warn!(image = %reference, %error, "the content of the index is not known");
                None
            }
        }
    }

    /// What a manifest or an index leads to, asked once for each.
    pub(super) async fn content_of(
        &self,
        reference: &ImageReference,
        digest: &Digest,
    ) -> Result<Arc<Content>, RegistryError> {
        if let Some(known) = lock_of(&self.shared.contents).get(digest) {
            return Ok(known.clone());
        }
        let authfile = self.slot(reference).authfile();
        let content = Arc::new(self.registry.manifest(reference, digest, authfile.as_deref()).await?.content());
        lock_of(&self.shared.contents).insert(digest.clone(), content.clone());
        self.changed();
        Ok(content)
    }

    pub(super) fn changed(&self) {
        self.shared.version.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn slot(&self, reference: &ImageReference) -> Arc<Slot> {
        lock_of(&self.shared.references).entry(reference.canonical()).or_default().clone()
    }
}

impl Slot {
    fn known(&self) -> Option<Known> {
        lock_of(&self.known).as_ref().map(|(_, known)| known.clone())
    }

    pub(super) fn authfile(&self) -> Option<PathBuf> {
        lock_of(&self.authfile).clone()
    }

    fn is_known_since(&self, since: Option<Instant>) -> bool {
        lock_of(&self.known).as_ref().is_some_and(|(at, _)| since.is_none_or(|since| *at >= since))
    }
}
