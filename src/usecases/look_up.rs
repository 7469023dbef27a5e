//! What images in registries say of themselves, looked up once for each image and platform.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;

use super::freshness::{Ask, BELIEVED, Freshness, PATIENCE, Unknown};
use super::mutex::lock_of;
use crate::adapters::registry::{Content, RegistryError, details, for_platform};
use crate::adapters::store::RememberedDetails;
use crate::adapters::task;
use crate::domain::check::ImageDetails;
use crate::domain::image::Digest;

/// How many images are looked up at once.
const AT_ONCE: usize = 8;

impl Freshness {
    /// The same with or without lookups of what images say of themselves, each of which registries may count as a pull.
    pub fn with_version_lookup(mut self, on: bool) -> Self {
        self.version_lookup = on;
        self
    }

    /// What is known of an image; without a platform, of the only one that is known.
    pub fn details(&self, digest: &Digest, platform: Option<&str>) -> Option<ImageDetails> {
        self.shared.details.get(digest, platform)
    }

    /// Returns whether more can be found out of an image by asking.
    pub fn may_look_up(&self, digest: &Digest, platform: Option<&str>, ask: Ask) -> bool {
        let wanted = self.version_lookup && ask != Ask::Nobody && self.details(digest, platform).is_none();
        wanted && (ask.insists() || !self.shared.details.has_failed_within(BELIEVED, digest))
    }

    /// Looks images up and writes down what was found. Whoever does not insist waits a little only.
    pub async fn look_up(&self, unknown: Vec<Unknown>, ask: Ask) {
        if unknown.is_empty() {
            return;
        }
        let this = self.clone();
        // Detached, as all questions: the answers are worth having also when the reader has gone away.
        let work = task::spawn("looking up images", async move {
            let found = futures_util::stream::iter(unknown).map(|unknown| this.look_up_one(unknown));
            let found: Vec<_> = found.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
            if !found.is_empty()
                && let Err(error) = this.store.remember_details(found).await
            {
                tracing::warn!(%error, "what images say of themselves could not be written down");
            }
        });
        // A panic is logged where tasks begin.
        let _ = if ask.insists() { work.await } else { tokio::time::timeout(PATIENCE, work).await.unwrap_or(Ok(())) };
    }

    /// What was found out of an image that nobody knew before.
    async fn look_up_one(&self, unknown: Unknown) -> Option<RememberedDetails> {
        let asking = lock_of(&self.shared.details.asking).entry(unknown.digest.clone()).or_default().clone();
        let _asking = asking.lock().await;
        if self.details(&unknown.digest, Some(&unknown.platform)).is_some() {
            return None;
        }
        let found = self.ask_about(&unknown).await;
        lock_of(&self.shared.details.asking).remove(&unknown.digest);
        match found {
            Ok(details) => {
                self.shared.details.insert(&unknown, details.clone());
                lock_of(&self.shared.details.failed).remove(&unknown.digest);
                self.changed();
                Some((unknown.digest, unknown.platform, details))
            }
            Err(error) => {
                tracing::info!(image = %unknown.reference, %error, "the version of the newer image is not known");
                lock_of(&self.shared.details.failed).insert(unknown.digest, Instant::now());
                None
            }
        }
    }

    /// Asks for the manifest of the platform and for its configuration.
    ///
    /// # Errors
    /// Only what may pass: a registry that has no such blob, or gives nonsense, will do so again.
    async fn ask_about(&self, unknown: &Unknown) -> Result<ImageDetails, RegistryError> {
        let Unknown { reference, digest, platform } = unknown;
        if !self.registry.can_spare_a_pull(reference) {
            // The engine's own pulls need what is left.
            return Err(RegistryError::NothingToSpare { registry: reference.domain().to_owned() });
        }
        let content = match self.content_of(reference, digest).await {
            Ok(content) => content,
            Err(error) => return if error.may_pass() { Err(error) } else { Ok(ImageDetails::default()) },
        };
        let authfile = self.slot(reference).authfile();
        let content = match &*content {
            Content::Index(entries) => match for_platform(entries, platform) {
                Some(own) => match self.registry.manifest(reference, own, authfile.as_deref()).await {
                    Ok(manifest) => Arc::new(manifest.content()),
                    Err(error) if error.may_pass() => return Err(error),
                    Err(_) => return Ok(ImageDetails::default()),
                },
                None => return Ok(ImageDetails::default()),
            },
            _ => content,
        };
        let Content::Image { config, size } = &*content else { return Ok(ImageDetails::default()) };
        match self.registry.configuration(reference, config, authfile.as_deref()).await {
            Ok(bytes) => Ok(ImageDetails { size: *size, ..details(&bytes) }),
            Err(error) if error.may_pass() => Err(error),
            Err(error) => {
                tracing::info!(image = %reference, %error, "the image's configuration cannot be read");
                Ok(ImageDetails { size: *size, ..ImageDetails::default() })
            }
        }
    }
}
