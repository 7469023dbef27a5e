//! Containers that live in the network of one that an update has replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::context::Host;
use super::update_container::{ContainerOptions, Follow, Pull};
use crate::domain::container::Container;

/// How long a container may take to stop, where it does not say otherwise itself: what the Docker CLI gives it.
const GRACE: Duration = Duration::from_secs(10);

impl Host {
    /// Makes the containers again whose network went away with one of `replaced`: until then they run on without any.
    /// Compose takes along those of the same project, so this is about those that belong to none.
    ///
    /// Gives a sentence for each that only its owner can make again. Must be called without locks on images.
    pub(super) fn take_along(self: &Arc<Self>, replaced: BTreeMap<String, String>) -> BoxFuture<'_, Vec<String>> {
        // Boxed: the update of a container may take others along in turn.
        Box::pin(self.take_each_along(replaced))
    }

    /// Sentences about containers that depend on `container` in a way that only their owner can set up again when it
    /// has been replaced. Must be asked before: a link is forgotten with its target.
    pub(super) async fn bound_to(&self, container: &Container) -> Vec<String> {
        let name = &container.name;
        let mut bound: Vec<_> = container.linked_by.iter().map(|other| (other.clone(), "is linked to")).collect();
        let now = match self.engine.containers().await {
            Ok(now) => now,
            Err(error) => return vec![format!("whether other containers depend on {name} could not be seen: {error}")],
        };
        for other in now.iter().filter(|other| other.id != container.id && other.state.is_up()) {
            let inspected = match self.engine.inspect(&other.id).await {
                Ok(inspected) => inspected,
                Err(error) => {
                    // It may have gone meanwhile.
                    tracing::debug!(container = other.name, %error, "it could not be inspected");
                    continue;
                }
            };
            for (key, what) in [("PidMode", "lives among the processes of"), ("IpcMode", "shares the memory of")] {
                let mode = inspected["HostConfig"][key].as_str().and_then(|mode| mode.strip_prefix("container:"));
                if mode.is_some_and(|mode| mode == container.id || mode == *name) {
                    bound.push((other.name.clone(), what));
                }
            }
        }
        let sentence = |(other, what)| format!("{other} {what} {name}, which was made anew: make it again too");
        bound.into_iter().map(sentence).collect()
    }

    /// Restarts the containers that live in the network of one that was stopped and started again: theirs ended with it.
    pub(super) async fn reattach(&self, id: &str) {
        let now = match self.engine.containers().await {
            Ok(now) => now,
            Err(error) => return tracing::warn!(%error, "whether other containers shared a network could not be seen"),
        };
        let lives_in = |container: &&Container| container.network_of.as_deref() == Some(id);
        for container in now.iter().filter(lives_in).filter(|container| container.state.is_up()) {
            let restarted = async {
                self.engine.stop(&container.id, GRACE).await?;
                self.engine.start(&container.id).await
            };
            match restarted.await {
                Ok(()) => tracing::info!(container = container.name, "restarted, because it shares the network"),
                Err(error) => {
                    tracing::error!(container = container.name, %error, "it has no network now, restart it by hand");
                }
            }
        }
    }

    async fn take_each_along(self: &Arc<Self>, replaced: BTreeMap<String, String>) -> Vec<String> {
        let now = match self.engine.containers().await {
            Ok(now) => now,
            Err(error) => return vec![format!("whether other containers shared a network could not be seen: {error}")],
        };
        let mut warnings = Vec::new();
        for (old, replaced) in replaced.iter().filter(|(old, _)| !now.iter().any(|container| container.id == **old)) {
            let new = now.iter().find(|container| container.name == *replaced);
            let lives_in = |container: &&Container| container.network_of.as_ref() == Some(old);
            for container in now.iter().filter(lives_in).filter(|container| container.state.is_up()) {
                let followed = match new {
                    Some(new) => self.follow(container, old, new).await,
                    None => Err(format!("{replaced} is gone")),
                };
                if let Err(reason) = followed {
                    let name = &container.name;
                    warnings.push(format!(
                        "{name} lived in the network of {replaced}, which was made anew: make it again too, it has no \
                         network now ({reason})"
                    ));
                }
            }
        }
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        warnings
    }

    async fn follow(self: &Arc<Self>, container: &Container, old: &str, new: &Container) -> Result<(), String> {
        if container.compose.is_some() || container.unit.is_some() {
            return Err("it belongs to a Compose project or a systemd unit".into());
        }
        let options = ContainerOptions {
            pull: Pull::Never,
            no_rollback: true,
            follows: Some(Follow { old_id: old.to_owned(), new_id: new.id.clone() }),
        };
        let ended = self.service.run_to_end(|| self.start_container_update(&container.id, options.clone())).await;
        match ended.map(|job| job.error) {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error.message),
            Err(error) => Err(error.to_string()),
        }
    }
}
