//! Whether what runs is what the registry has, told without pulling.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::container::Container;
use super::image::{Digest, ImageReference};

const NOT_ASKED: &str = "the registry has not been asked yet";

/// The status of an image, in the words of Portainer's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[schema(as = ImageStatus)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Updated,
    Outdated,
    /// There is nothing to follow: pinned, local or made from an ID.
    Skipped,
    /// Its update runs.
    Processing,
    /// The container is not up yet.
    Preparing,
    Error,
}

/// The word that JSON has for it.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What a registry is known to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The newest answer that was good.
    pub digest: Option<(Digest, Timestamp)>,
    /// Why the last question got no good answer, in words that clients may see; `None` when it did.
    pub failure: Option<String>,
    /// When the registry was asked last.
    pub asked_at: Timestamp,
}

/// The origins of the images of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// `repository@digest` of each image, by its ID.
    pub digests: BTreeMap<String, Vec<String>>,
    /// The complete forms of the names that mean images which were made on this machine: no registry knows them, and none
    /// is to learn of them.
    pub made_here: BTreeSet<String>,
}

impl Origins {
    /// The `repository@digest` names of what a container runs.
    pub fn digests_of(&self, container: &Container) -> &[String] {
        self.digests.get(container.image_id.as_str()).map(Vec::as_slice).unwrap_or_default()
    }

    /// The reference as one that can be followed in a registry.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn followed(&self, reference: &str) -> Result<ImageReference, &'static str> {
        match reference.parse::<ImageReference>() {
            Ok(parsed) if parsed.digest().is_some() => Err("pinned by its digest"),
            Ok(parsed) if self.made_here.contains(&parsed.canonical()) => Err("the image was made on this machine"),
            Ok(parsed) => Ok(parsed),
            Err(_) => Err("made from an image ID"),
        }
    }
}

/// A status with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    pub status: Status,
    pub message: Option<String>,
    /// The digest of what runs, in the repository of its reference.
    pub local_digest: Option<Digest>,
    pub remote_digest: Option<Digest>,
}

/// How a container's image compares with a digest of its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Same,
    Different,
    /// The indexes differ; only the remote index tells whether this platform's manifest does.
    AskIndex,
}

impl Finding {
    /// A status with its reason and no digests.
    pub fn of(status: Status, message: &str) -> Self {
        Self { status, message: Some(message.to_owned()), local_digest: None, remote_digest: None }
    }

    /// Returns whether it says more than that nobody has asked yet.
    pub fn is_known(&self) -> bool {
        self.status != Status::Error || self.message.as_deref() != Some(NOT_ASKED)
    }
}

/// Compares what `container` runs with the registry's digest.
///
/// On classic stores an image remembers every digest it was ever pulled as, and any of them proves it. On containerd
/// stores the image's ID is itself the digest of an index or a manifest; a new index may still hold the same manifest
/// for this platform, because an attestation or another architecture was rebuilt.
pub fn compare(
    container: &Container,
    repo_digests: &[String],
    reference: &ImageReference,
    remote: &Digest,
) -> Comparison {
    let known = digests_in(repo_digests, reference).into_iter().any(|digest| digest == *remote);
    let manifest = container.manifest.as_ref();
    if known || container.image_id.as_str() == remote.as_str() || manifest == Some(remote) {
        Comparison::Same
    } else if manifest.is_some() {
        Comparison::AskIndex
    } else {
        Comparison::Different
    }
}

/// Those of an image's `repository@digest` names that are of the repository of `reference`.
pub fn digests_in(repo_digests: &[String], reference: &ImageReference) -> Vec<Digest> {
    let parsed = repo_digests.iter().filter_map(|digest| digest.parse::<ImageReference>().ok());
    parsed
        .filter(|known| known.repository() == reference.repository())
        .filter_map(|known| known.digest().cloned())
        .collect()
}

/// The status where the registry's answer is `known`: a failed question never makes anything up to date, and never
/// makes anybody forget that it is outdated.
pub fn status(comparison: Option<Comparison>, known: &Known) -> (Status, Option<String>) {
    let outdated = comparison.is_some_and(|comparison| comparison != Comparison::Same);
    match (&known.failure, comparison) {
        (None, Some(_)) => (if outdated { Status::Outdated } else { Status::Updated }, None),
        (None, None) => (Status::Error, Some(NOT_ASKED.into())),
        (Some(failure), None) => (Status::Error, Some(failure.clone())),
        (Some(failure), Some(_)) => {
            let since = known.digest.as_ref().map_or(known.asked_at, |(_, at)| *at);
            let last = if outdated { "outdated" } else { "up to date" };
            let message = format!("{failure}; last known at {since:.0}: {last}");
            (if outdated { Status::Outdated } else { Status::Error }, Some(message))
        }
    }
}

/// The status of a whole: one that is outdated makes the whole so.
pub fn overall(statuses: impl IntoIterator<Item = Status>) -> Status {
    let rank = |status: &Status| match status {
        Status::Processing => 5,
        Status::Outdated => 4,
        Status::Error => 3,
        Status::Preparing => 2,
        Status::Updated => 1,
        Status::Skipped => 0,
    };
    statuses.into_iter().max_by_key(rank).unwrap_or(Status::Skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap()
    }

    fn container(image: &str, manifest: Option<Digest>) -> Container {
        Container { manifest, image: "web".into(), ..Container::sample("c", image) }
    }

    #[test]
    fn any_of_the_digests_of_that_repository_proves_it() {
        let reference = "web".parse().unwrap();
        let several = [format!("web@{}", digest(1)), format!("web@{}", digest(2))];
        assert_eq!(compare(&container("x", None), &several, &reference, &digest(2)), Comparison::Same);
        let elsewhere = [format!("other/web@{}", digest(2))];
        assert_eq!(compare(&container("x", None), &elsewhere, &reference, &digest(2)), Comparison::Different);
    }

    #[test]
    fn on_containerd_stores_the_id_or_the_manifest_proves_it_and_else_the_index_is_asked() {
        let reference = "web".parse().unwrap();
        let of_index = container(digest(1).as_str(), Some(digest(5)));
        assert_eq!(compare(&of_index, &[], &reference, &digest(1)), Comparison::Same);
        assert_eq!(compare(&of_index, &[], &reference, &digest(5)), Comparison::Same);
        assert_eq!(compare(&of_index, &[], &reference, &digest(9)), Comparison::AskIndex);
    }

    #[test]
    fn a_failed_question_is_never_up_to_date_and_never_forgets() {
        let at = Timestamp::UNIX_EPOCH;
        let failed = Known { digest: Some((digest(1), at)), failure: Some("down".into()), asked_at: at };
        assert_eq!(status(Some(Comparison::Same), &failed).0, Status::Error);
        assert_eq!(status(Some(Comparison::Different), &failed).0, Status::Outdated);
        let (state, message) = status(None, &failed);
        assert_eq!((state, message.as_deref()), (Status::Error, Some("down")));
    }

    #[test]
    fn one_outdated_makes_the_whole_so() {
        use Status::*;
        assert_eq!(overall([Updated, Error, Outdated, Skipped]), Outdated);
        assert_eq!(overall([Updated, Error]), Error);
        assert_eq!(overall([Skipped, Updated]), Updated);
        assert_eq!(overall([Skipped]), Skipped);
        assert_eq!(overall([]), Skipped);
    }
}
