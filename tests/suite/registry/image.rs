//! An image as a registry has it: an index, a manifest for the fake engine's platform, and a configuration.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fake::{Answer, INDEX_TYPE, Seen};

/// One tag of a repository.
#[derive(Clone)]
pub struct Image {
    index: String,
    manifest: String,
    pub config: String,
}

impl Image {
    /// An image whose configuration has these labels.
    pub fn labelled(labels: Value) -> Self {
        Self::with_config(json!({"created": "2026-03-04T05:06:07Z", "config": {"Labels": labels}}).to_string())
    }

    /// The same with a version.
    pub fn of_version(version: &str) -> Self {
        Self::labelled(
            json!({"org.opencontainers.image.version": version, "org.opencontainers.image.url": "https://a.test/"}),
        )
    }

    pub fn with_config(config: String) -> Self {
        let manifest = json!({
            "schemaVersion": 2, "config": {"digest": sha256(&config), "size": config.len()},
            "layers": [{"digest": sha256("a"), "size": 4000}, {"digest": sha256("b"), "size": 200}],
        });
        let manifest = manifest.to_string();
        let other = json!({"digest": sha256("other"), "platform": {"os": "linux", "architecture": "riscv64"}});
        let own = json!({"digest": sha256(&manifest), "platform": {"os": "linux", "architecture": "amd64"}});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [other, own]}).to_string();
        Self { index, manifest, config }
    }

    /// The digest that a registry gives for the tag.
    pub fn digest(&self) -> String {
        sha256(&self.index)
    }

    /// What a registry that has nothing else answers.
    pub fn answer(&self, seen: &Seen) -> Answer {
        let wanted = seen.path.rsplit('/').next().unwrap_or_default();
        let is = |document: &String| sha256(document) == wanted;
        if seen.is_manifest() {
            let document = if is(&self.manifest) { &self.manifest } else { &self.index };
            let answer = Answer::status(200).with("docker-content-digest", sha256(document));
            return if seen.method == "HEAD" { answer } else { answer.body(document.clone()) };
        }
        if is(&self.config) { Answer::status(200).body(self.config.clone()) } else { Answer::status(404) }
    }
}

fn sha256(text: &str) -> String {
    format!("sha256:{:x}", Sha256::digest(text))
}
