//! Whether something is updated on schedule: the first that speaks decides.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::image::ImageReference;

/// What a schedule does with an app or container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The registry is asked and a newer image is pulled.
    Registry,
    /// What is here counts; nothing is pulled.
    Local,
    Disabled,
}

/// A word that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownPolicy {
    #[error("`{0}` is no policy; valid are registry (or image), local, disabled")]
    Word(String),
    /// This label is a switch and has no words for policies.
    #[error("`{0}` is no value of the label `com.centurylinklabs.watchtower.enable`; valid are `true` and `false`")]
    Watchtower(String),
}

impl FromStr for Policy {
    type Err = UnknownPolicy;
    /// Podman's words for `io.containers.autoupdate`: `image` is another word for `registry`, the empty one for `disabled`.
    fn from_str(word: &str) -> Result<Self, UnknownPolicy> {
        match word {
            "registry" | "image" => Ok(Self::Registry),
            "local" => Ok(Self::Local),
            "disabled" | "" => Ok(Self::Disabled),
            other => Err(UnknownPolicy::Word(shortened(other))),
        }
    }
}

/// The word that JSON has for it.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PolicySource)]
pub enum Source {
    /// Somebody set it over the API or the command line.
    #[serde(rename = "setting")]
    Setting,
    #[serde(rename = "x-restock")]
    XRestock,
    #[serde(rename = "restock.auto-update")]
    Label,
    #[serde(rename = "io.containers.autoupdate")]
    PodmanLabel,
    #[serde(rename = "com.centurylinklabs.watchtower.enable")]
    WatchtowerLabel,
}

/// The labels of a container that speak of its updates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLabels {
    pub restock: Option<String>,
    pub podman: Option<String>,
    pub watchtower: Option<String>,
}

/// Decides; `None` when nobody speaks.
///
/// # Errors
/// Whoever speaks first and says a word that is no policy: it must not be passed over for the next one.
pub fn decide(
    setting: Option<&str>,
    x_restock: Option<&str>,
    labels: &PolicyLabels,
) -> Result<Option<(Policy, Source)>, UnknownPolicy> {
    let speakers = [
        (setting, Source::Setting),
        (x_restock, Source::XRestock),
        (labels.restock.as_deref(), Source::Label),
        (labels.podman.as_deref(), Source::PodmanLabel),
        (labels.watchtower.as_deref(), Source::WatchtowerLabel),
    ];
    let first = speakers.into_iter().find_map(|(said, source)| Some((said?, source)));
    let meant = |(said, source)| match source {
        Source::WatchtowerLabel => Ok((switched(said)?, source)),
        _ => Ok((said.parse()?, source)),
    };
    first.map(meant).transpose()
}

/// What watchtower's switch means, in the words that Go has for a boolean.
fn switched(word: &str) -> Result<Policy, UnknownPolicy> {
    match word {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Policy::Registry),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Policy::Disabled),
        other => Err(UnknownPolicy::Watchtower(shortened(other))),
    }
}

fn shortened(word: &str) -> String {
    word.chars().take(80).collect()
}

/// Returns whether `registry` can follow a reference: it must name its registry and a tag, and no digest. Podman's
/// rule, for the sake of references that mean the same everywhere.
///
/// # Errors
/// What is missing, and the reference as it should be written.
pub fn followable(image: &str) -> Result<(), String> {
    let reference: ImageReference =
        image.parse().map_err(|_| format!("`{image}` is no image reference, so there is nothing to follow"))?;
    if reference.digest().is_some() {
        return Err(format!("`{image}` is pinned by its digest: take the digest away to follow the tag"));
    }
    let qualified = image.starts_with(&format!("{}/", reference.domain()));
    if qualified && reference.tag().is_some() {
        return Ok(());
    }
    Err(format!(
        "`{image}` is not fully qualified, as the policy `registry` needs it: write `{}`",
        reference.canonical()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(restock: Option<&str>, podman: Option<&str>, watchtower: Option<&str>) -> PolicyLabels {
        let own = |label: Option<&str>| label.map(str::to_owned);
        PolicyLabels { restock: own(restock), podman: own(podman), watchtower: own(watchtower) }
    }

    #[test]
    fn the_first_that_speaks_decides() {
        let all = labels(Some("disabled"), Some("image"), Some("true"));
        assert_eq!(decide(Some("local"), Some("registry"), &all), Ok(Some((Policy::Local, Source::Setting))));
        assert_eq!(decide(None, Some("registry"), &all), Ok(Some((Policy::Registry, Source::XRestock))));
        assert_eq!(decide(None, None, &all), Ok(Some((Policy::Disabled, Source::Label))));
        let podman = labels(None, Some("image"), Some("false"));
        assert_eq!(decide(None, None, &podman), Ok(Some((Policy::Registry, Source::PodmanLabel))));
        let empty = labels(None, Some(""), None);
        assert_eq!(decide(None, None, &empty), Ok(Some((Policy::Disabled, Source::PodmanLabel))));
        let watchtower = labels(None, None, Some("true"));
        assert_eq!(decide(None, None, &watchtower), Ok(Some((Policy::Registry, Source::WatchtowerLabel))));
        assert_eq!(decide(None, None, &PolicyLabels::default()), Ok(None));
    }

    #[test]
    fn only_a_full_reference_with_a_tag_can_be_followed() {
        for image in ["docker.io/library/nginx:1", "localhost/web:1", "127.0.0.1:5000/demo/web:latest"] {
            assert_eq!(followable(image), Ok(()), "{image}");
        }
        let pinned = format!("registry.test/web:1@sha256:{}", "ab".repeat(32));
        let cases = [
            ("nginx:1", "write `docker.io/library/nginx:1`"),
            ("registry.test/web", "write `registry.test/web:latest`"),
            (pinned.as_str(), "pinned by its digest"),
            (&"ab".repeat(32), "no image reference"),
        ];
        for (image, expected) in cases {
            let reason = followable(image).unwrap_err();
            assert!(reason.contains(expected), "{image}: {reason}");
        }
    }

    #[test]
    fn a_word_that_is_no_policy_is_an_error_and_not_passed_over() {
        let error = decide(None, None, &labels(Some("sometimes"), Some("registry"), None)).unwrap_err().to_string();
        assert!(error.contains("sometimes") && error.contains("registry (or image), local, disabled"), "{error}");
    }

    #[test]
    fn watchtowers_label_is_a_boolean_of_go_and_nothing_else() {
        let said = |word: &str| decide(None, None, &labels(None, None, Some(word)));
        for (words, policy) in [
            (["1", "t", "T", "TRUE", "true", "True"], Policy::Registry),
            (["0", "f", "F", "FALSE", "false", "False"], Policy::Disabled),
        ] {
            for word in words {
                assert_eq!(said(word), Ok(Some((policy, Source::WatchtowerLabel))), "{word}");
            }
        }
        for word in ["local", "registry", "image", "disabled", "", "yes", "tRUE", " true"] {
            let error = said(word).unwrap_err().to_string();
            for part in [&format!("`{word}`"), "com.centurylinklabs.watchtower.enable", "`true`", "`false`"] {
                assert!(error.contains(part), "{word}: {error}");
            }
        }
        let passed_over = labels(Some("local"), None, Some("local"));
        assert_eq!(decide(None, None, &passed_over), Ok(Some((Policy::Local, Source::Label))));
    }
}
