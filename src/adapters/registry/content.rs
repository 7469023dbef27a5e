//! The content of manifests and of the configurations of images, as far as it matters before a pull.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::manifest::Manifest;
use crate::domain::check::ImageDetails;
use crate::domain::image::Digest;
use crate::domain::label;

/// What a manifest leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The manifests of several platforms.
    Index(Vec<IndexEntry>),
    /// One image.
    Image {
        /// The blob with its configuration.
        config: Digest,
        /// The compressed bytes of its layers; `None` where the manifest does not say them.
        size: Option<u64>,
    },
    /// Something that no engine runs.
    Other,
}

/// One manifest of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    pub digest: Digest,
    os: String,
    architecture: String,
    variant: String,
}

/// The part of an image's configuration that is read.
#[derive(Deserialize)]
struct Configuration {
    created: Option<Value>,
    config: Option<Value>,
}

impl Manifest {
    /// What the manifest leads to.
    pub fn content(&self) -> Content {
        let value = serde_json::from_slice::<Value>(&self.bytes).unwrap_or_default();
        if let Some(manifests) = value["manifests"].as_array() {
            return Content::Index(manifests.iter().filter_map(entry).collect());
        }
        match digest(&value["config"]) {
            Some(config) => Content::Image { config, size: size(&value["layers"]) },
            None => Content::Other,
        }
    }
}

impl Content {
    /// Returns whether it is an index that lists a manifest.
    pub fn lists(&self, manifest: &Digest) -> bool {
        matches!(self, Self::Index(entries) if entries.iter().any(|entry| entry.digest == *manifest))
    }
}

/// The manifest that an engine of `platform` (`os/architecture[/variant]`) pulls.
pub fn for_platform<'e>(entries: &'e [IndexEntry], platform: &str) -> Option<&'e Digest> {
    let mut words = platform.split('/');
    let (os, architecture) = (words.next()?, words.next()?);
    let usual = match architecture {
        "arm" => "v7",
        "arm64" => "v8",
        _ => "",
    };
    let variant = words.next().unwrap_or(usual);
    let of_variant = |wanted: Option<&str>| {
        entries.iter().find(|entry| {
            let same = entry.os == os && entry.architecture == architecture;
            same && wanted.is_none_or(|wanted| entry.variant == wanted)
        })
    };
    of_variant(Some(variant)).or_else(|| of_variant(Some(""))).or_else(|| of_variant(None)).map(|entry| &entry.digest)
}

/// What the configuration of an image says of it; nothing for what is no configuration.
pub fn details(configuration: &[u8]) -> ImageDetails {
    let Ok(Configuration { created, config }) = serde_json::from_slice::<Configuration>(configuration) else {
        return ImageDetails::default();
    };
    let config = config.unwrap_or_default();
    let label = |name: &str| config["Labels"][name].as_str();
    let created = created.as_ref().and_then(Value::as_str).and_then(|at| at.parse::<Timestamp>().ok());
    ImageDetails {
        version: label(label::VERSION).and_then(label::version),
        // Builds that are to be the same each time write a fixed time, which says nothing.
        created: created.filter(|at| *at > Timestamp::UNIX_EPOCH),
        size: None,
        url: label(label::URL).and_then(label::link).or_else(|| label(label::SOURCE).and_then(label::link)),
    }
}

fn entry(value: &Value) -> Option<IndexEntry> {
    let word = |key: &str| value["platform"][key].as_str().unwrap_or_default().to_owned();
    Some(IndexEntry {
        digest: digest(value)?,
        os: word("os"),
        architecture: word("architecture"),
        variant: word("variant"),
    })
}

fn digest(descriptor: &Value) -> Option<Digest> {
    descriptor["digest"].as_str()?.parse().ok()
}

fn size(layers: &Value) -> Option<u64> {
    layers.as_array()?.iter().try_fold(0_u64, |sum, layer| sum.checked_add(layer["size"].as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest_of(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    fn content(value: &Value) -> Content {
        Manifest { media_type: None, bytes: value.to_string().into() }.content()
    }

    #[test]
    fn an_engine_gets_the_manifest_of_its_platform() {
        let entry = |n, architecture: &str, variant: &str| json!({"digest": digest_of(n), "platform": {"os": "linux", "architecture": architecture, "variant": variant}});
        let attestation = json!({"digest": digest_of(9), "platform": {"os": "unknown", "architecture": "unknown"}});
        let manifests = [entry(1, "arm", "v6"), entry(2, "arm", "v7"), entry(3, "amd64", ""), attestation];
        let Content::Index(entries) = content(&json!({ "manifests": manifests })) else { panic!("no index") };
        for (platform, expected) in [
            ("linux/amd64", Some(3)),
            ("linux/arm", Some(2)),
            ("linux/arm/v6", Some(1)),
            ("linux/arm/v5", Some(1)),
            ("linux/riscv64", None),
            ("windows/amd64", None),
            ("linux", None),
        ] {
            let found = for_platform(&entries, platform).map(|digest| digest.to_string());
            assert_eq!(found, expected.map(digest_of), "{platform}");
        }
    }

    #[test]
    fn an_image_has_a_configuration_and_the_size_of_its_layers() {
        let image = |layers: Value| content(&json!({"config": {"digest": digest_of(1)}, "layers": layers}));
        let config: Digest = digest_of(1).parse().unwrap();
        let expected = |size| Content::Image { config: config.clone(), size };
        assert_eq!(image(json!([{"size": 3}, {"size": 4}])), expected(Some(7)));
        for strange in [json!([{"size": -3}]), json!([{"size": u64::MAX}, {"size": 1}]), json!(null)] {
            assert_eq!(image(strange), expected(None));
        }
        assert_eq!(content(&json!("text")), Content::Other);
    }

    #[test]
    fn a_configuration_says_version_and_time_or_nothing() {
        let labels =
            json!({"org.opencontainers.image.version": "1.2", "org.opencontainers.image.source": "https://a.test/x"});
        let full = json!({"created": "2026-01-02T03:04:05.678Z", "config": {"Labels": labels}}).to_string();
        let found = details(full.as_bytes());
        assert_eq!((found.version.as_deref(), found.url.as_deref()), (Some("1.2"), Some("https://a.test/x")));
        assert_eq!(found.created, "2026-01-02T03:04:05.678Z".parse().ok());
        let strange = [
            json!({"created": "1970-01-01T00:00:00Z", "config": {"Labels": null}}),
            json!({"created": 5, "config": {"Labels": {"org.opencontainers.image.version": 5}}}),
            json!([]),
            json!({"config": "x"}),
        ];
        for strange in strange {
            assert_eq!(details(strange.to_string().as_bytes()), ImageDetails::default(), "{strange}");
        }
    }
}
