//! What a pass over everything that a policy marks did, in the keys and values of `podman auto-update`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::hold::HeldBack;
use super::policy::Policy;

/// The report of one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PassReport {
    /// One for each marked container that runs, by unit and name.
    pub reports: Vec<Report>,
    /// What went wrong, each with the name of what it is about; the others went on.
    pub errors: Vec<String>,
}

/// What the pass did with one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ContainerReport)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// The container when the pass began; an update replaces it.
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    pub container_name: String,
    /// The reference that is followed.
    pub image_name: String,
    pub policy: Policy,
    #[serde(flatten)]
    pub unit: Unit,
    pub updated: Updated,
    /// Why a newer image was not applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
}

/// What is restarted for the container's sake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum Unit {
    /// A service of systemd.
    #[serde(rename = "SystemdUnit")]
    Systemd(String),
    /// `project/service`, or the name of a standalone container.
    #[serde(rename = "Unit")]
    Other(String),
}

/// What became of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Updated {
    #[serde(rename = "true")]
    True,
    #[serde(rename = "false")]
    False,
    /// A dry run found a newer image that nothing holds back.
    #[serde(rename = "pending")]
    Pending,
    #[serde(rename = "failed")]
    Failed,
    #[serde(rename = "rolled back")]
    RolledBack,
}

impl Unit {
    /// The unit's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Systemd(name) | Self::Other(name) => name,
        }
    }
}

impl PassReport {
    /// Returns whether any container ended so.
    pub fn any(&self, updated: Updated) -> bool {
        self.reports.iter().any(|report| report.updated == updated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_keys_and_values_of_podman() {
        let report = Report {
            container_id: "c".into(),
            container_name: "web".into(),
            image_name: "registry.test/web:1".into(),
            policy: Policy::Registry,
            unit: Unit::Systemd("web.service".into()),
            updated: Updated::RolledBack,
            held_back: None,
        };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"ContainerID": "c", "ContainerName": "web", "ImageName": "registry.test/web:1",
                "Policy": "registry", "SystemdUnit": "web.service", "Updated": "rolled back"})
        );
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }
}
