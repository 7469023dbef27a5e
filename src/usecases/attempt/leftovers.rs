//! What a Compose that was killed leaves: a replacement that never took its original's place.

use crate::adapters::engine::{Engine, EngineError};
use crate::domain::container::{Container, ContainerState};

/// Compose names a replacement `<12 hex>_<name>` until the original is gone.
const PREFIX: usize = 12;

/// Returns whether a container is such a replacement.
pub(super) fn is_leftover(container: &Container) -> bool {
    original_name(container).is_some()
}

/// Puts them away. The next `up` would remove the original and keep the odd name for good.
///
/// A replacement whose original is gone gets the name instead: it holds the original's anonymous volumes.
pub(super) async fn clean_leftovers(engine: &Engine, containers: &[Container]) -> Result<(), EngineError> {
    for container in containers {
        let Some(original) = original_name(container) else { continue };
        if containers.iter().any(|other| other.name == original) {
            tracing::info!(container = container.name, "removing a replacement that was never started");
            engine.remove(&container.id).await?;
        } else {
            tracing::info!(container = container.name, name = original, "giving a replacement its name");
            engine.rename(&container.id, original).await?;
        }
    }
    Ok(())
}

fn original_name(container: &Container) -> Option<&str> {
    let (prefix, name) = container.name.split_once('_')?;
    let hex = prefix.len() == PREFIX && prefix.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    (hex && container.compose.is_some() && container.state == ContainerState::Created).then_some(name)
}
