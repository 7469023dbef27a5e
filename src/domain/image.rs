//! Names of images: the reference a person writes, the digest a registry gives, the identity an engine gives.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const HUB: &str = "docker.io";
const HUB_LEGACY: &str = "index.docker.io";
const HUB_OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const MAX_PATH: usize = 255;
const MAX_TAG: usize = 128;

/// Why a text is not an image reference. The wording follows the Docker CLI, so that people find it on the web.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("invalid reference format: the image name is empty")]
    Empty,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UpperCase(String),
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    #[error("invalid reference format: {0}")]
    Format(String),
}

/// The identity a registry gives to a manifest or an index: `sha256:…`.
///
/// It is not an [`ImageId`], also where an engine uses the same value for both: a digest is asked of a registry,
/// an ID of an engine's store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// The identity an engine gives to an image of its own store, and what a container was created from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct ImageId(String);

impl Digest {
    /// The digest as registries write it, with its algorithm.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ImageId {
    /// Takes an ID as the engine said it.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The full ID, with its algorithm.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl TryFrom<String> for Digest {
    type Error = ReferenceError;
    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl FromStr for Digest {
    type Err = ReferenceError;

    /// Parses `algorithm:hex` with at least 32 hexadecimal digits (distribution reference grammar, `digest`).
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = || ReferenceError::Format(format!("`{text}` is not a digest"));
        let (algorithm, hex) = text.split_once(':').ok_or_else(wrong)?;
        let algorithm_ok = algorithm.split(['+', '.', '_', '-']).all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(|c| c.is_ascii_alphanumeric())
        });
        let hex_ok = hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit());
        let length_ok = algorithm != "sha256" || hex.len() == 64;
        if algorithm_ok && hex_ok && length_ok { Ok(Self(text.to_owned())) } else { Err(wrong()) }
    }
}

/// What a Compose file or a person says: `registry/repository:tag@digest`, normalised as the Docker CLI does it.
///
/// The rules are those of the distribution project's reference grammar and its normalisation: the first component is a
/// registry if it is `localhost` or has a dot, a colon or an upper-case letter; one-part names of the Hub get `library/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageReference {
    /// The registry's host and port; `docker.io` for the Hub.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path in its registry, `library/` included.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag that was written, if one was.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The tag a pull would follow: the written one, `latest` where neither tag nor digest was written.
    pub fn effective_tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG),
        }
    }

    /// The same with the tag written that a pull would follow.
    pub fn with_effective_tag(mut self) -> Self {
        self.tag = self.effective_tag().map(str::to_owned);
        self
    }

    /// The digest that pins the reference, if one was written. It wins over the tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and path, without tag and digest: `docker.io/library/nginx`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The complete form: `docker.io/library/nginx:latest`.
    pub fn canonical(&self) -> String {
        self.with_suffix(self.repository())
    }

    /// The form the Docker CLI shows: `nginx:latest`.
    pub fn familiar(&self) -> String {
        let short = if self.domain == HUB {
            self.path.strip_prefix(HUB_OFFICIAL).filter(|rest| !rest.contains('/')).unwrap_or(&self.path).to_owned()
        } else {
            self.repository()
        };
        self.with_suffix(short)
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = self.effective_tag() {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar())
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        // Reads as a tag of the repository `sha256`, and is always meant as an ID.
        if text.strip_prefix("sha256:").is_some_and(is_full_id) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (name_and_tag, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let (name, tag) = match name_and_tag.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(parse_tag(tag, text)?)),
            _ => (name_and_tag, None),
        };
        if is_full_id(name) {
            return Err(ReferenceError::LooksLikeId(name.to_owned()));
        }
        let (domain, path) = split_domain(name);
        check_domain(&domain, text)?;
        check_path(&path, text)?;
        Ok(Self { domain, path, tag, digest })
    }
}

fn is_full_id(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit())
}

fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first == "localhost" || first.contains(['.', ':']) || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (if first == HUB_LEGACY { HUB } else { first }, rest)
        }
        _ => (HUB, name),
    };
    if domain == HUB && !path.contains('/') {
        return (domain.to_owned(), format!("{HUB_OFFICIAL}{path}"));
    }
    (domain.to_owned(), path.to_owned())
}

fn parse_tag(tag: &str, whole: &str) -> Result<String, ReferenceError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let ok = tag.len() <= MAX_TAG && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-');
    if ok { Ok(tag.to_owned()) } else { Err(ReferenceError::Format(format!("`{whole}` has no valid tag"))) }
}

fn check_domain(domain: &str, whole: &str) -> Result<(), ReferenceError> {
    let wrong = || ReferenceError::Format(format!("`{whole}` has no valid registry"));
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            if address.is_empty() || !address.chars().all(|c| c.is_ascii_hexdigit() || c == ':') {
                return Err(wrong());
            }
            (None, port.strip_prefix(':').or(if port.is_empty() { None } else { Some("x") }))
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    let label_ok = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let host_ok = host.is_none_or(|host| host.split('.').all(label_ok));
    let port_ok = port.is_none_or(|port| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()));
    if host_ok && port_ok { Ok(()) } else { Err(wrong()) }
}

fn check_path(path: &str, whole: &str) -> Result<(), ReferenceError> {
    if path.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase(path.to_owned()));
    }
    if path.len() > MAX_PATH || !path.split('/').all(is_path_component) {
        return Err(ReferenceError::Format(format!("`{whole}` has no valid repository")));
    }
    Ok(())
}

/// `[a-z0-9]+` parts joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators_ok = component
        .split(alphanumeric)
        .filter(|gap| !gap.is_empty())
        .all(|gap| matches!(gap, "." | "_" | "__") || gap.chars().all(|c| c == '-'));
    component.starts_with(alphanumeric) && component.ends_with(alphanumeric) && separators_ok
}

/// Enough of an image ID to tell two apart; the Docker CLI shows as much.
const SHORT: usize = 12;

/// An ID or digest without its algorithm, shortened for people.
pub fn short(id: &str) -> String {
    id.rsplit(':').next().unwrap_or(id).chars().take(SHORT).collect()
}

/// The complete form of a reference; the text itself where it is not one.
pub fn canonical_or_as_written(text: &str) -> String {
    text.parse::<ImageReference>().map_or_else(|_| text.to_owned(), |reference| reference.canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_split_as_the_docker_cli_splits_them() {
        let pinned = format!("x:1@sha256:{HEX}");
        let table = [
            ("x", "docker.io", "library/x", Some("latest"), "x:latest"),
            ("x:1.2", "docker.io", "library/x", Some("1.2"), "x:1.2"),
            ("docker.io/x", "docker.io", "library/x", Some("latest"), "x:latest"),
            ("index.docker.io/a/b", "docker.io", "a/b", Some("latest"), "a/b:latest"),
            ("localhost/x", "localhost", "x", Some("latest"), "localhost/x:latest"),
            ("host:5000/a/b", "host:5000", "a/b", Some("latest"), "host:5000/a/b:latest"),
            ("host:5000/a/b:t", "host:5000", "a/b", Some("t"), "host:5000/a/b:t"),
            ("[::1]:5000/a", "[::1]:5000", "a", Some("latest"), "[::1]:5000/a:latest"),
            ("Up/x", "Up", "x", Some("latest"), "Up/x:latest"),
            ("a__b/c--d.e", "docker.io", "a__b/c--d.e", Some("latest"), "a__b/c--d.e:latest"),
            (&pinned, "docker.io", "library/x", Some("1"), &pinned),
        ];
        for (text, domain, path, tag, familiar) in table {
            let reference: ImageReference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(
                (reference.domain(), reference.path(), reference.effective_tag(), reference.familiar().as_str()),
                (domain, path, tag, familiar),
                "{text}"
            );
        }
    }

    #[test]
    fn texts_that_are_no_references_are_refused() {
        for text in [
            "",
            "UPPER",
            "a/B",
            "x:",
            "x:.t",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a_",
            "x@sha256:12",
            "../x",
            "a b",
            "host:/a",
            "-f",
            "a:b:c",
            "x@",
            HEX,
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
        assert!(format!("sha256:{HEX}").parse::<ImageReference>().is_err());
    }

    #[test]
    fn a_digest_alone_has_no_tag() {
        let reference: ImageReference = format!("a/b@sha256:{HEX}").parse().expect("valid");
        assert_eq!(reference.effective_tag(), None);
        assert_eq!(reference.canonical(), format!("docker.io/a/b@sha256:{HEX}"));
    }

    proptest! {
        #[test]
        fn canonical_and_familiar_forms_mean_the_same(text in "([a-z]{1,5}(\\.[a-z]{2,3})?(:[0-9]{2,4})?/)?[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,10})?") {
            if let Ok(reference) = text.parse::<ImageReference>() {
                let canonical: ImageReference = reference.canonical().parse().expect("canonical parses");
                let familiar: ImageReference = reference.familiar().parse().expect("familiar parses");
                prop_assert_eq!(canonical.canonical(), reference.canonical());
                prop_assert_eq!(familiar.canonical(), reference.canonical());
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            let _ = text.parse::<ImageReference>();
        }
    }
}
