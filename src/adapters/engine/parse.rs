//! The engine's JSON, read leniently: a field that is missing or new never fails a whole answer.
//!
//! Shapes: Engine API 1.41 to 1.51 and Podman's compatible API.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::client::RegistrySettings;
use super::events::News;
use crate::domain::app::{ProjectName, ServiceName};
use crate::domain::container::{
    ComposeLabels, Container, ContainerState, Health, LocalImage, PlatformManifest, Vitals,
};
use crate::domain::image::{Digest, ImageId};
use crate::domain::label;
use crate::domain::policy::PolicyLabels;

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
const ONE_OFF: &str = "com.docker.compose.oneoff";
const NUMBER: &str = "com.docker.compose.container-number";

/// One line of `GET /events`.
pub fn news(line: &[u8]) -> News {
    let event = serde_json::from_slice::<Value>(line).unwrap_or_default();
    if event["Type"] == "container" { News::Containers } else { News::Images }
}

/// One element of `GET /containers/json` without what its labels decide, for which its image must be asked; `None` for
/// what has no ID.
pub fn listed_container(value: &Value) -> Option<Container> {
    let id = text(&value["Id"])?;
    let name = value["Names"].as_array().and_then(|names| own_name(names)).unwrap_or_else(|| id.clone());
    Some(Container {
        name,
        image_id: ImageId::new(text(&value["ImageID"]).unwrap_or_default()),
        manifest: digest(&value["ImageManifestDescriptor"]["digest"]),
        image: text(&value["Image"]).unwrap_or_default(),
        state: ContainerState::from_engine(value["State"].as_str().unwrap_or_default()),
        health: health_of_status(value["Status"].as_str().unwrap_or_default()),
        compose: compose_labels(&value["Labels"]),
        policy: PolicyLabels::default(),
        created_at: value["Created"].as_i64().and_then(|second| Timestamp::from_second(second).ok()),
        authfile: None,
        version: value["Labels"][label::VERSION].as_str().and_then(label::version),
        source: value["Labels"][label::SOURCE].as_str().and_then(label::link),
        unit: None,
        network_of: value["HostConfig"]["NetworkMode"]
            .as_str()
            .and_then(|mode| mode.strip_prefix("container:"))
            .map(str::to_owned),
        linked_by: linkers(&value["Names"]),
        id,
    })
}

/// Links of other containers appear among the names as `/other/alias`; a container's own name has one slash.
fn own_name(names: &[Value]) -> Option<String> {
    let names = names.iter().filter_map(Value::as_str).map(|name| name.trim_start_matches('/'));
    names.into_iter().find(|name| !name.contains('/')).map(str::to_owned)
}

/// The other containers among the names.
fn linkers(names: &Value) -> Vec<String> {
    let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.filter_map(|name| Some(name.trim_start_matches('/').split_once('/')?.0.to_owned())).collect()
}

/// A list tells health only inside the text for people: `Up 2 minutes (healthy)`.
fn health_of_status(status: &str) -> Health {
    if status.contains("(healthy)") {
        Health::Healthy
    } else if status.contains("(unhealthy)") {
        Health::Unhealthy
    } else if status.contains("(health: starting)") || status.contains("(starting)") {
        Health::Starting
    } else {
        Health::None
    }
}

fn compose_labels(labels: &Value) -> Option<ComposeLabels> {
    Some(ComposeLabels {
        project: ProjectName::new(labels[PROJECT].as_str()?),
        service: ServiceName::new(labels[SERVICE].as_str()?),
        working_dir: text(&labels[WORKING_DIR]),
        one_off: labels[ONE_OFF].as_str().is_some_and(|word| word.eq_ignore_ascii_case("true")),
        number: labels[NUMBER].as_str().and_then(|number| number.parse().ok()).unwrap_or(1),
    })
}

/// The answer of `GET /containers/{id}/json`, as much of it as the proof needs.
pub fn vitals(value: &Value) -> Vitals {
    let state = &value["State"];
    let policy = value["HostConfig"]["RestartPolicy"]["Name"].as_str().unwrap_or_default();
    Vitals {
        state: ContainerState::from_engine(state["Status"].as_str().unwrap_or_default()),
        health: match state["Health"]["Status"].as_str() {
            Some("healthy") => Health::Healthy,
            Some("unhealthy") => Health::Unhealthy,
            Some("starting") => Health::Starting,
            _ => Health::None,
        },
        exit_code: state["ExitCode"].as_i64().unwrap_or_default(),
        restarts: value["RestartCount"].as_i64().unwrap_or_default(),
        started_at: time(&state["StartedAt"]),
        start_period: Duration::from_nanos(value["Config"]["Healthcheck"]["StartPeriod"].as_u64().unwrap_or_default()),
        comes_back: !matches!(policy, "" | "no"),
        error: text(&state["Error"]).filter(|error| !error.is_empty()),
        health_output: state["Health"]["Log"]
            .as_array()
            .and_then(|log| log.last())
            .and_then(|entry| text(&entry["Output"]))
            .map(|output| output.trim().to_owned())
            .filter(|output| !output.is_empty()),
        image_id: ImageId::new(text(&value["Image"]).unwrap_or_default()),
        manifest: digest(&value["ImageManifestDescriptor"]["digest"]),
    }
}

/// The engine writes year 1 for "never".
fn time(value: &Value) -> Option<Timestamp> {
    let text = value.as_str()?;
    if text.starts_with("0001-") {
        return None;
    }
    text.parse().ok()
}

/// The answer of `GET /images/{name}/json?manifests=1`; `None` for what has no ID.
pub fn local_image(value: &Value) -> Option<LocalImage> {
    let labels = &value["Config"]["Labels"];
    let manifests = value["Manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    Some(LocalImage {
        id: ImageId::new(text(&value["Id"])?),
        repo_digests: value["RepoDigests"].as_array().into_iter().flatten().filter_map(text).collect(),
        manifests: manifests.iter().filter_map(available_manifest).collect(),
        version: labels[label::VERSION].as_str().and_then(label::version),
        source: labels[label::SOURCE].as_str().and_then(label::link),
    })
}

fn available_manifest(value: &Value) -> Option<PlatformManifest> {
    if value["Kind"] != "image" || value["Available"] != true {
        return None;
    }
    let platform = &value["ImageData"]["Platform"];
    let words = ["os", "architecture", "variant"].map(|key| platform[key].as_str().unwrap_or_default());
    let platform = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("/");
    Some(PlatformManifest { digest: digest(&value["Descriptor"]["digest"])?, platform })
}

/// Compares a version, as `GET /version` has it: whether it is below `(major, minor)`; one that cannot be read is not.
pub fn is_before(version: &str, than: (u32, u32)) -> bool {
    let mut numbers = version.split('.').map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < than)
}

/// Recognises a containerd store in the answer of `GET /info`.
pub fn has_containerd_store(info: &Value) -> bool {
    let status = info["DriverStatus"].as_array().into_iter().flatten();
    status.into_iter().any(|entry| entry[0] == "driver-type" && entry[1] == "io.containerd.snapshotter.v1")
}

/// The part `RegistryConfig` of `GET /info`.
pub fn registry_settings(value: &Value) -> RegistrySettings {
    let texts = |value: &Value| value.as_array().into_iter().flatten().filter_map(text).collect::<Vec<_>>();
    let named = value["IndexConfigs"].as_object().into_iter().flatten().filter(|(_, index)| index["Secure"] == false);
    let ranges = texts(&value["InsecureRegistryCIDRs"]);
    RegistrySettings {
        insecure: named.map(|(name, _)| name.clone()).chain(ranges).collect(),
        mirrors: texts(&value["Mirrors"]),
    }
}

fn digest(value: &Value) -> Option<Digest> {
    value.as_str()?.parse().ok()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_with_words_nobody_knows_is_still_listed() {
        let value = json!({"Id": "abc", "Names": ["/other/link", "/web"], "ImageID": "sha256:1", "State": "levitating", "New": {}});
        let container = listed_container(&value).unwrap();
        assert_eq!((container.name.as_str(), container.state), ("web", ContainerState::Unknown));
        assert!(container.compose.is_none());
        assert_eq!(container.linked_by, ["other"]);
    }

    #[test]
    fn health_is_read_from_the_text_for_people() {
        for (status, health) in [
            ("Up 3 seconds (healthy)", Health::Healthy),
            ("Up 3 seconds (unhealthy)", Health::Unhealthy),
            ("Up 3 seconds (health: starting)", Health::Starting),
            ("Up 3 seconds", Health::None),
        ] {
            assert_eq!(health_of_status(status), health, "{status}");
        }
    }

    #[test]
    fn the_settings_for_registries_are_read() {
        let index = |secure: bool| json!({"Mirrors": [], "Secure": secure, "Official": false});
        let value = json!({"InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"], "Mirrors": ["http://nas:5000/"],
                           "IndexConfigs": {"docker.io": index(true), "nas:5001": index(false)}});
        let settings = registry_settings(&value);
        assert_eq!(settings.insecure, ["nas:5001", "::1/128", "127.0.0.0/8"]);
        assert_eq!(settings.mirrors, ["http://nas:5000/"]);
        assert_eq!(registry_settings(&Value::Null), RegistrySettings::default());
        assert_eq!(registry_settings(&json!({"Mirrors": null})), RegistrySettings::default());
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, before) in
            [("27.1.2", true), ("26.1.5+dfsg1", true), ("27.2.0", false), ("28.5.2+dfsg4", false), ("dev", false)]
        {
            assert_eq!(is_before(version, (27, 2)), before, "{version}");
        }
    }

    #[test]
    fn never_started_is_no_time() {
        assert_eq!(time(&json!("0001-01-01T00:00:00Z")), None);
        assert!(time(&json!("2026-01-02T03:04:05.678901234Z")).is_some());
    }

    #[test]
    fn only_available_image_manifests_count() {
        let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
        let manifest = |n: u8, kind: &str, available: bool, arch: &str| {
            json!({"Kind": kind, "Available": available, "Descriptor": {"digest": digest(n)},
                   "ImageData": {"Platform": {"os": "linux", "architecture": arch}}})
        };
        let value = json!({"Id": "sha256:x", "RepoDigests": null, "Manifests": [
            manifest(1, "image", true, "amd64"), manifest(2, "image", false, "arm64"), manifest(3, "attestation", true, "unknown")]});
        let image = local_image(&value).unwrap();
        assert_eq!(image.manifests.len(), 1);
        assert_eq!(image.manifests[0].platform, "linux/amd64");
    }
}
