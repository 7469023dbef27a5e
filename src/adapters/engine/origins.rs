//! Which images of a store came from a registry, and which were made on this machine.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::Method;
use serde_json::Value;

use super::client::{Engine, READ_DEADLINE};
use super::error::EngineError;
use crate::domain::freshness::Origins;
use crate::domain::image::ImageReference;

/// Images that are inspected at the same time.
const TOGETHER: usize = 8;
/// More images than this have never been in one store; it only bounds the memory.
const MOST_IMAGES: usize = 4096;

/// The images that are known to have come from elsewhere, by ID: a push or a pull is never undone.
pub(super) type FromElsewhere = Arc<Mutex<HashSet<String>>>;

/// The origin of an image, as far as one description tells it.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    Here,
    Elsewhere,
    /// Only its inspection may tell.
    Open,
}

impl Engine {
    /// Returns where the store's images came from: one request for all, and one more for each that has not been seen yet and
    /// whose origin a containerd store does not list.
    pub async fn origins(&self) -> Result<Origins, EngineError> {
        // Engines before API 1.54 do not know `identity` and list the images without it.
        let images = self.wire.json(Method::GET, "/images/json?identity=1", None, READ_DEADLINE).await?;
        let images: Vec<_> = images.as_array().into_iter().flatten().collect();
        let mut origins = Origins::default();
        let mut open = Vec::new();
        for image in &images {
            let Some(id) = image["Id"].as_str() else { continue };
            origins.digests.insert(id.to_owned(), texts(&image["RepoDigests"]).map(str::to_owned).collect());
            match listed(image) {
                Origin::Here => origins.made_here.extend(names(image)),
                Origin::Open if !self.is_known_from_elsewhere(id) => open.push(id.to_owned()),
                Origin::Open | Origin::Elsewhere => {}
            }
        }
        let inspections = stream::iter(open).map(|id| self.inspect_origin(id)).buffer_unordered(TOGETHER);
        let more: Vec<Vec<String>> = inspections.try_collect().await?;
        origins.made_here.extend(more.into_iter().flatten());
        Ok(origins)
    }

    /// The names of an image that was made here; none if it was not, or is gone.
    async fn inspect_origin(&self, id: String) -> Result<Vec<String>, EngineError> {
        let path = format!("/images/{id}/json?manifests=1");
        let image = match self.wire.json(Method::GET, &path, None, READ_DEADLINE).await {
            Err(EngineError::Status { .. }) => return Ok(Vec::new()),
            answer => answer?,
        };
        if inspected(&image) == Origin::Here {
            return Ok(names(&image).collect());
        }
        let mut known = self.from_elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_IMAGES {
            known.clear();
        }
        known.insert(id);
        Ok(Vec::new())
    }

    fn is_known_from_elsewhere(&self, id: &str) -> bool {
        self.from_elsewhere.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}

/// Reads the origin from an element of `GET /images/json`.
///
/// Classic stores and Podman remember every digest that an image was pulled or pushed as. Containerd stores, which alone
/// have a `Descriptor`, make one up from each name. Those of Docker 29 report pulls, pushes and builds; before, only what
/// a build or a commit leaves behind tells, and it stays when the image is pushed: such an image counts as made here
/// until it is pulled.
fn listed(image: &Value) -> Origin {
    if names(image).next().is_none() {
        // Its former name means another image now.
        return Origin::Elsewhere;
    }
    if image["Descriptor"].is_null() {
        return if texts(&image["RepoDigests"]).next().is_none() { Origin::Here } else { Origin::Elsewhere };
    }
    match identity(image) {
        // The builder before BuildKit, and `docker commit`.
        Origin::Open if image["ParentId"].as_str().is_some_and(|parent| !parent.is_empty()) => Origin::Here,
        // BuildKit's attestations make an index of every image.
        Origin::Open if !is_index(image) => Origin::Elsewhere,
        found => found,
    }
}

/// Reads the origin from the inspection of an image with its manifests: a pull fetches no attestations, a build stores its own.
fn inspected(image: &Value) -> Origin {
    let manifests = image["Manifests"].as_array().into_iter().flatten();
    let attested =
        manifests.into_iter().any(|manifest| manifest["Kind"] == "attestation" && manifest["Available"] == true);
    match identity(image) {
        Origin::Open if attested => Origin::Here,
        Origin::Open => Origin::Elsewhere,
        found => found,
    }
}

fn identity(image: &Value) -> Origin {
    let has = |key: &str| image["Identity"][key].as_array().is_some_and(|entries| !entries.is_empty());
    if has("Pull") {
        Origin::Elsewhere
    } else if has("Build") {
        Origin::Here
    } else {
        Origin::Open
    }
}

fn is_index(image: &Value) -> bool {
    let kind = image["Descriptor"]["mediaType"].as_str().unwrap_or_default();
    kind.contains("index") || kind.contains("manifest.list")
}

/// The complete forms of an image's names.
fn names(image: &Value) -> impl Iterator<Item = String> {
    // `<none>:<none>` is not a name.
    let names = texts(&image["RepoTags"]).filter_map(|name| name.parse::<ImageReference>().ok());
    names.map(|name| name.canonical())
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stores_list_what_came_from_a_registry_each_in_its_way() {
        let index = json!({"mediaType": "application/vnd.oci.image.index.v1+json"});
        let single = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json"});
        let made_up = json!(["web@sha256:1"]);
        let table = [
            (json!({"RepoTags": ["web:1"], "RepoDigests": []}), Origin::Here),
            (json!({"RepoTags": ["web:1"], "RepoDigests": null}), Origin::Here),
            (json!({"RepoTags": ["web:1"], "RepoDigests": ["web@sha256:1"]}), Origin::Elsewhere),
            (json!({"RepoTags": ["<none>:<none>"], "RepoDigests": []}), Origin::Elsewhere),
            (json!({"RepoTags": ["web:1"], "RepoDigests": made_up, "Descriptor": single}), Origin::Elsewhere),
            (
                json!({"RepoTags": ["web:1"], "RepoDigests": made_up, "Descriptor": single, "ParentId": "x"}),
                Origin::Here,
            ),
            (json!({"RepoTags": ["web:1"], "RepoDigests": made_up, "Descriptor": index, "ParentId": ""}), Origin::Open),
            (json!({"RepoTags": ["web:1"], "Descriptor": index, "Identity": {"Build": [{"Ref": "x"}]}}), Origin::Here),
            (
                json!({"RepoTags": ["web:1"], "Descriptor": index, "ParentId": "x",
                       "Identity": {"Build": [{"Ref": "x"}], "Pull": [{"Repository": "docker.io/library/web"}]}}),
                Origin::Elsewhere,
            ),
        ];
        for (image, expected) in table {
            assert_eq!(listed(&image), expected, "{image}");
        }
    }

    #[test]
    fn only_a_build_leaves_attestations_in_the_store() {
        let with = |available: bool| json!({"Manifests": [{"Kind": "image", "Available": true}, {"Kind": "attestation", "Available": available}]});
        assert_eq!(inspected(&with(true)), Origin::Here);
        assert_eq!(inspected(&with(false)), Origin::Elsewhere);
        let mut pushed = with(true);
        pushed["Identity"] = json!({"Pull": [{"Repository": "docker.io/library/web"}]});
        assert_eq!(inspected(&pushed), Origin::Elsewhere);
    }
}
