//! Containers that live in the network of one that an update has replaced, and that nobody updates with it.

use super::context::Restock;
use crate::domain::container::Container;

impl Restock {
    /// Names the containers whose network went away with one of `replaced`: they run on without a network until they are
    /// made again. Compose takes along those of the same project; others only their owner can.
    pub(super) async fn left_behind(&self, replaced: &[Container]) -> Vec<String> {
        let now = match self.engine.containers().await {
            Ok(now) => now,
            Err(error) => return vec![format!("whether other containers shared a network could not be seen: {error}")],
        };
        let gone = |id: &&Container| !now.iter().any(|container| container.id == id.id);
        let gone: Vec<_> = replaced.iter().filter(gone).collect();
        let mut warnings = Vec::new();
        for container in now.iter().filter(|container| container.state.is_up()) {
            let lived_in = container.network_of.as_deref();
            if let Some(old) = gone.iter().find(|old| Some(old.id.as_str()) == lived_in) {
                warnings.push(format!(
                    "{} lived in the network of {}, which was made anew: make it again too, it has no network now",
                    container.name, old.name
                ));
            }
        }
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        warnings
    }
}
