//! What is written down before the first container is touched, so that the step can be finished or taken back by anyone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::app::{ProjectName, ServiceName};
use super::image::ImageId;
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
}

impl Journal {
    /// The services that were up and stay up; all others are left as they were found.
    pub fn running(&self) -> BTreeSet<&ServiceName> {
        self.before.iter().filter(|(_, before)| before.running).map(|(name, _)| name).collect()
    }
}
