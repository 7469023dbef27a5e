//! What is written down before the first container is touched, so that the step can be finished or taken back by anyone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::app::{ProjectName, ServiceName};
use super::image::ImageId;
use super::job::ServiceChange;
use super::plan::Change;

/// The state of an app before its update, and what the update is about to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    pub project: ProjectName,
    pub before: BTreeMap<ServiceName, Before>,
    pub changes: Vec<Change>,
    /// Profiles that were switched on because services of theirs had containers.
    pub profiles: BTreeSet<String>,
    /// A failure is taken back.
    pub rollback: bool,
    /// Only these services are worked on; `None` means all.
    #[serde(default)]
    pub selected: Option<BTreeSet<ServiceName>>,
    /// Its first process has died, and another has begun to finish it.
    #[serde(default)]
    pub resumed: bool,
    /// The names of the project's containers by their IDs: others may live in the network of one.
    #[serde(default)]
    pub containers: BTreeMap<String, String>,
}

/// One service before the update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The reference as the Compose file resolves it.
    pub reference: String,
    /// What its containers ran, most used first.
    pub images: Vec<ImageId>,
    /// `repository@digest` of the first of them: how to fetch it again when it has gone.
    pub digests: Vec<String>,
    pub version: Option<String>,
    /// At least one of its containers was up.
    pub running: bool,
    /// The healthcheck of one of them said that it did not work.
    #[serde(default)]
    pub unhealthy: bool,
}

/// What is written down before a standalone container is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerJournal {
    pub old_id: String,
    pub name: String,
    /// What the new container is called until it takes the name.
    pub fresh_name: String,
    /// The container that was made, once it is there.
    #[serde(default)]
    pub fresh_id: Option<String>,
    /// The new container has proved itself: nothing is taken back any more.
    #[serde(default)]
    pub proven: bool,
    /// The old container as it was made again, to go back.
    #[serde(default)]
    pub made_again: Option<String>,
    /// What the old container is called after that.
    pub parked_name: String,
    pub restart_policy: serde_json::Value,
    pub running: bool,
    /// How long its own stop may take, in seconds; `None` when it is waited for however long that takes.
    pub grace: Option<u64>,
    /// The platform it was made for, where that is not the engine's own.
    #[serde(default)]
    pub platform: Option<String>,
    /// The engine removes it as soon as it stops: to go back it has to be made again.
    pub auto_remove: bool,
    pub reference: String,
    pub old_image: ImageId,
    pub new_image: ImageId,
    pub version_from: Option<String>,
    pub version_to: Option<String>,
    /// The body that makes the container, where it would have to be made again to go back. It holds the values of its
    /// environment, so it is written down for no other, and for no longer than the job runs.
    #[serde(default)]
    pub body: Option<serde_json::Value>,
    /// The networks to connect it to.
    pub connect: Vec<(String, serde_json::Value)>,
}

/// What is written down before a systemd unit is restarted so that its container runs another image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitJournal {
    pub unit: String,
    /// The container's name.
    pub name: String,
    pub old_image: ImageId,
    pub new_image: ImageId,
    pub change: ServiceChange,
    /// A failure is taken back.
    pub rollback: bool,
    /// The container with the new image has proved itself: nothing is taken back any more.
    #[serde(default)]
    pub proven: bool,
}

/// What is written down before a container outside Compose is changed, by whichever way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StandaloneJournal {
    Container(Box<ContainerJournal>),
    Unit(Box<UnitJournal>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::OneOrMany;
    use serde_json::json;

    #[test]
    fn the_two_journals_of_containers_are_told_apart() {
        let image = |letters: &str| ImageId::new(format!("sha256:{}", letters.repeat(32)));
        let change = ServiceChange {
            service: ServiceName::new("web"),
            from: OneOrMany::One(image("1a")),
            to: image("2b").to_string(),
            tag: "web".into(),
            version_from: None,
            version_to: None,
            source: None,
        };
        let unit = UnitJournal {
            unit: "web.service".into(),
            name: "web".into(),
            old_image: image("1a"),
            new_image: image("2b"),
            change,
            rollback: true,
            proven: false,
        };
        let read = |value| serde_json::from_value::<StandaloneJournal>(value).unwrap();
        assert_eq!(read(json!(unit)), StandaloneJournal::Unit(Box::new(unit)));
        // As a version without units wrote it.
        let container = read(json!({
            "old_id": "a", "name": "web", "fresh_name": "n", "parked_name": "o", "restart_policy": {"Name": "no"},
            "running": true, "grace": 10, "auto_remove": false, "reference": "web", "old_image": image("1a"),
            "new_image": image("2b"), "version_from": null, "version_to": null, "body": {}, "connect": [],
        }));
        assert!(matches!(container, StandaloneJournal::Container(_)));
    }
}
