//! What is known of images in registries beside their digests: version, age and size.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::adapters::store::RememberedDetails;
use crate::domain::check::ImageDetails;
use crate::domain::image::{Digest, ImageReference};
use crate::usecases::mutex::lock_of;

/// An image that somebody wants to know more of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unknown {
    pub reference: ImageReference,
    /// What the registry has for the reference.
    pub digest: Digest,
    /// `os/architecture[/variant]`.
    pub platform: String,
}

/// What is known of images, by the registry's digest and by platform.
#[derive(Default)]
pub(in crate::usecases) struct Details {
    pub(in crate::usecases) known: Mutex<HashMap<Digest, HashMap<String, ImageDetails>>>,
    /// Images that could not be looked up, and when that was: those who do not insist do not ask again at once.
    pub(in crate::usecases) failed: Mutex<HashMap<Digest, Instant>>,
    /// Held by whoever looks an image up; who comes meanwhile waits for that answer.
    pub(in crate::usecases) asking: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Details {
    pub(super) fn of(remembered: Vec<RememberedDetails>) -> Self {
        let mut known = HashMap::<_, HashMap<_, _>>::new();
        for (digest, platform, details) in remembered {
            known.entry(digest).or_default().insert(platform, details);
        }
        Self { known: Mutex::new(known), ..Self::default() }
    }

    pub(in crate::usecases) fn get(&self, digest: &Digest, platform: Option<&str>) -> Option<ImageDetails> {
        let known = lock_of(&self.known);
        let of_platforms = known.get(digest)?;
        match platform {
            Some(platform) => of_platforms.get(platform).cloned(),
            None => of_platforms.values().next().filter(|_| of_platforms.len() == 1).cloned(),
        }
    }

    pub(in crate::usecases) fn insert(&self, unknown: &Unknown, details: ImageDetails) {
        lock_of(&self.known).entry(unknown.digest.clone()).or_default().insert(unknown.platform.clone(), details);
    }

    pub(in crate::usecases) fn has_failed_within(&self, age: Duration, digest: &Digest) -> bool {
        lock_of(&self.failed).get(digest).is_some_and(|at| at.elapsed() < age)
    }
}
