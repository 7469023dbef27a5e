//! The platform a container was made for, where it is another than the engine's own.

use serde_json::Value;

use crate::adapters::engine::{Engine, EngineError};

/// The platform of an inspected container, `os/architecture[/variant]`; `None` when it is the engine's own, or nobody
/// knows. Whoever pulls or creates without naming it would get the engine's own instead.
pub(super) async fn foreign_platform(engine: &Engine, inspected: &Value) -> Result<Option<String>, EngineError> {
    let words = |value: &Value, keys: [&str; 3]| {
        let words = keys.map(|key| value[key].as_str().unwrap_or_default().to_owned());
        Some(words).filter(|words| !words[0].is_empty() && !words[1].is_empty())
    };
    // On a containerd store the container itself says which image of an index it has.
    let own = words(&inspected["ImageManifestDescriptor"]["platform"], ["os", "architecture", "variant"]);
    let own = match own {
        Some(own) => Some(own),
        None => {
            let image = engine.inspect_image(inspected["Image"].as_str().unwrap_or_default()).await?;
            image.and_then(|image| words(&image, ["Os", "Architecture", "Variant"]))
        }
    };
    let Some([os, architecture, variant]) = own else { return Ok(None) };
    let platform = format!("{os}/{architecture}");
    if engine.info().await?.platform.is_none_or(|engines| engines == platform) {
        return Ok(None);
    }
    Ok(Some(if variant.is_empty() { platform } else { format!("{platform}/{variant}") }))
}
