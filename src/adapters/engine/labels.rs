//! Labels that a container has only from its image: whoever makes an image decides nothing on this host.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::client::Engine;
use super::error::EngineError;
use super::parse::listed_container;
use crate::domain::container::Container;
use crate::domain::policy::{Policy, PolicyLabels, decide};

const UNIT: &str = "PODMAN_SYSTEMD_UNIT";
const AUTHFILE: &str = "io.containers.autoupdate.authfile";
/// More images than this have never been asked for at one time; it only bounds the memory.
const MOST_IMAGES: usize = 4096;

/// The labels that decide something.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Deciding {
    policy: PolicyLabels,
    authfile: Option<PathBuf>,
    unit: Option<String>,
}

/// What is known of the labels of images, by the image's ID and platform: an image never changes.
pub(super) type ImageLabels = Arc<Mutex<HashMap<(String, String), Arc<Deciding>>>>;

impl Deciding {
    fn of(labels: &Value) -> Self {
        let text = |label: &str| labels[label].as_str().map(str::to_owned);
        Self {
            policy: PolicyLabels {
                restock: text("restock.auto-update"),
                podman: text("io.containers.autoupdate"),
                watchtower: text("com.centurylinklabs.watchtower.enable"),
            },
            authfile: text(AUTHFILE).map(PathBuf::from),
            unit: text(UNIT),
        }
    }

    /// Drops what the image says as well.
    fn forget(&mut self, image: &Self) {
        fn forget<T: PartialEq>(own: &mut Option<T>, given: &Option<T>) {
            if own == given {
                *own = None;
            }
        }
        forget(&mut self.policy.restock, &image.policy.restock);
        forget(&mut self.policy.podman, &image.policy.podman);
        forget(&mut self.policy.watchtower, &image.policy.watchtower);
        forget(&mut self.authfile, &image.authfile);
        forget(&mut self.unit, &image.unit);
    }

    /// What may be believed when the image is gone: that something is left alone.
    fn without_image(&mut self) {
        let off = matches!(decide(None, None, &self.policy), Ok(Some((Policy::Disabled, _))));
        let policy = if off { std::mem::take(&mut self.policy) } else { PolicyLabels::default() };
        *self = Self { policy, ..Self::default() };
    }
}

impl Engine {
    /// Reads listed containers. An image is asked for once, and only when a container has a label that decides.
    pub(super) async fn read_list(&self, list: &Value) -> Result<Vec<Container>, EngineError> {
        let mut containers = Vec::new();
        let mut is_podman = None;
        for value in list.as_array().into_iter().flatten() {
            let Some(mut container) = listed_container(value) else { continue };
            let mut deciding = Deciding::of(&value["Labels"]);
            if deciding != Deciding::default() {
                let platform = &value["ImageManifestDescriptor"]["platform"];
                match self.labels_of_image(container.image_id.as_str(), platform).await? {
                    Some(image) => deciding.forget(&image),
                    None => deciding.without_image(),
                }
            }
            if deciding.unit.as_ref().is_some_and(|unit| !is_service(unit)) {
                deciding.unit = None;
            }
            if deciding.unit.is_some() {
                if is_podman.is_none() {
                    is_podman = Some(self.info().await?.is_podman);
                }
                deciding.unit.take_if(|_| is_podman == Some(false));
            }
            container.policy = deciding.policy;
            container.authfile = deciding.authfile;
            container.unit = deciding.unit;
            containers.push(container);
        }
        Ok(containers)
    }

    /// `None` when there is no such image, or the engine does not say what it is.
    async fn labels_of_image(&self, id: &str, platform: &Value) -> Result<Option<Arc<Deciding>>, EngineError> {
        let key = (id.to_owned(), platform.to_string());
        let known = || self.image_labels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(labels) = known().get(&key).cloned() {
            return Ok(Some(labels));
        }
        let image = match self.inspect_image_for(id, platform).await {
            Ok(Some(image)) => image,
            Ok(None) => return Ok(None),
            Err(EngineError::Status { message, .. }) => {
                tracing::debug!(image = id, message, "the image cannot be inspected, so labels are not believed");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let labels = Arc::new(Deciding::of(&image["Config"]["Labels"]));
        let mut known = known();
        if known.len() >= MOST_IMAGES {
            known.clear();
        }
        known.insert(key, labels.clone());
        Ok(Some(labels))
    }
}

/// Returns whether it names a service: a restart of anything else, a target for one, may stop the machine.
fn is_service(unit: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:@\\".contains(c);
    unit.strip_suffix(".service").is_some_and(|name| !name.is_empty()) && unit.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_are_units() {
        for unit in ["web.service", "container-web@1.service", "a\\x2db.service"] {
            assert!(is_service(unit), "{unit}");
        }
        for unit in ["poweroff.target", "web", ".service", "web.service\n", "x.service/..", "web.socket", ""] {
            assert!(!is_service(unit), "{unit}");
        }
    }
}
