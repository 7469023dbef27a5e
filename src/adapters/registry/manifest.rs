//! What registries answer about a manifest, made sense of.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::domain::image::Digest;

/// Every kind of manifest an engine can pull, as one field. A registry that misses one of them in here answers 404, or
/// converts the manifest and answers with a digest that no engine will ever store.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

const DIGEST_FIELD: &str = "docker-content-digest";

/// What a reference means in its registry at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteDigest {
    /// The digest of the index, or of the manifest where the tag names a single one.
    pub digest: Digest,
    /// The kind of manifest, if the registry said.
    pub media_type: Option<String>,
}

/// The content of a manifest or an index, verified against the digest it was asked by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The kind of manifest: what it says of itself, else what the registry said.
    pub media_type: Option<String>,
    /// The document as the registry stores it.
    pub bytes: Bytes,
}

/// What manifests of all kinds have in common.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "schemaVersion")]
    _schema_version: u32,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
}

/// Reads the fields of an answer, which is enough where the registry does what the specification demands.
pub(super) fn from_fields(headers: &HeaderMap) -> Option<RemoteDigest> {
    let digest = headers.get(DIGEST_FIELD)?.to_str().ok()?.trim().parse().ok()?;
    Some(RemoteDigest { digest, media_type: media_type(headers) })
}

/// Computes the digest of a manifest, as the registry should have done. What is no manifest, like the page of a captive
/// portal, has no digest: it would look like a new image.
pub(super) fn from_content(headers: &HeaderMap, content: &[u8]) -> Result<RemoteDigest, String> {
    let envelope: Envelope =
        serde_json::from_slice(content).map_err(|_| "answered with something that is no manifest".to_owned())?;
    let digest = sha256(content)?;
    Ok(RemoteDigest { digest, media_type: envelope.media_type.or_else(|| media_type(headers)) })
}

/// Accepts content only if it is what was asked for.
pub(super) fn verified(headers: &HeaderMap, content: Bytes, wanted: &Digest) -> Result<Manifest, String> {
    let found = from_content(headers, &content)?;
    has_digest(&content, wanted)?;
    Ok(Manifest { media_type: found.media_type, bytes: content })
}

/// Proves that content is what was asked for.
pub(super) fn has_digest(content: &[u8], wanted: &Digest) -> Result<(), String> {
    // Only sha256 is computed here; other algorithms are registered but unused, and the registry's word must do.
    if !wanted.as_str().starts_with("sha256:") {
        return Ok(());
    }
    let found = sha256(content)?;
    if found == *wanted { Ok(()) } else { Err(format!("answered with {found} where {wanted} was asked for")) }
}

fn sha256(content: &[u8]) -> Result<Digest, String> {
    format!("sha256:{:x}", Sha256::digest(content)).parse().map_err(|error| format!("{error}"))
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim().to_lowercase();
    (!essence.is_empty()).then_some(essence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().expect("name"), value.parse().expect("value"))).collect()
    }

    #[test]
    fn a_digest_field_is_taken_only_if_it_is_a_digest() {
        let digest = sha256(INDEX).expect("digest");
        let good = fields(&[(DIGEST_FIELD, digest.as_str()), ("content-type", "Application/JSON; charset=utf-8")]);
        let answer = from_fields(&good).expect("a digest");
        assert_eq!((answer.digest, answer.media_type.as_deref()), (digest, Some("application/json")));
        assert_eq!(from_fields(&fields(&[(DIGEST_FIELD, "latest")])), None);
        assert_eq!(from_fields(&fields(&[])), None);
    }

    #[test]
    fn content_that_is_no_manifest_has_no_digest() {
        assert!(from_content(&fields(&[]), b"<html>please log in</html>").is_err());
        assert!(from_content(&fields(&[]), b"{}").is_err());
        assert!(from_content(&fields(&[]), INDEX).is_ok());
    }

    #[test]
    fn content_must_be_what_was_asked_for() {
        let wanted = sha256(INDEX).expect("digest");
        assert!(verified(&fields(&[]), Bytes::from_static(INDEX), &wanted).is_ok());
        let other = Bytes::from_static(br#"{"schemaVersion":2}"#);
        assert!(verified(&fields(&[]), other, &wanted).is_err());
    }
}
