//! Running containers grouped by image, and the freshness of one of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::context::Host;
use super::freshness::{Ask, Asked};
use super::inventory::Snapshot;
use super::policies::Toggles;
use crate::adapters::task;
use crate::domain::container::Container;
use crate::domain::freshness::{Finding, Status};
use crate::domain::group::{GroupStatus, find_container};
use crate::domain::host::Subject;
use crate::domain::image::{Digest, ImageReference};
use crate::error::{Code, Error};

/// As much of a digest as the API shows.
const SHORT_DIGEST: usize = 17;
const UNKNOWN: &str = "unknown";

/// One group of `GET /api/images`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ImageGroup)]
pub struct Group {
    /// As the Docker CLI shows it, with `:latest` where there is no tag.
    pub image: String,
    pub remote_digest: String,
    pub status: GroupStatus,
    pub containers: Vec<Member>,
}

/// A container of a group.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ImageGroupMember)]
pub struct Member {
    pub container_id: String,
    pub container_name: String,
    pub local_digest: String,
    pub status: GroupStatus,
    /// By what is set for it, or by its labels.
    pub auto_update: bool,
}

impl Host {
    /// The groups as they are known now. No registry is asked on the way; answers that are missing or old are fetched
    /// in the background.
    pub async fn groups(self: &Arc<Self>) -> Result<Vec<Group>, Error> {
        let snapshot = self.snapshot().await?;
        let toggles = self.toggles().await?;
        let mut groups = Vec::new();
        for (reference, members) in by_reference(&snapshot) {
            groups.push(self.group(&reference, &members, &snapshot, &toggles).await);
        }
        Ok(groups)
    }

    /// Asks for what is missing or older than five minutes, without anybody waiting for it.
    pub fn refresh_groups(self: &Arc<Self>, snapshot: &Snapshot) {
        let is_followed = |reference: &ImageReference| snapshot.origins.followed(&reference.canonical()).is_ok();
        let groups = by_reference(snapshot).into_iter().filter(|(reference, _)| is_followed(reference));
        let references: Asked = groups.map(|(reference, members)| (reference, authfile_among(&members))).collect();
        if references.keys().all(|reference| self.service.freshness.is_fresh(reference)) {
            return;
        }
        let freshness = self.service.freshness.clone();
        task::spawn("renewing groups", async move { freshness.learn(&references, Ask::IfStale).await });
    }

    async fn group(
        &self,
        reference: &ImageReference,
        members: &[&Container],
        snapshot: &Snapshot,
        toggles: &Toggles,
    ) -> Group {
        let mut containers = Vec::with_capacity(members.len());
        let image = reference.familiar();
        for container in members {
            let finding = self.service.freshness.find(container, &image, &snapshot.origins, Ask::Nobody).await;
            containers.push(Member {
                container_id: container.short_id().to_owned(),
                container_name: container.name.clone(),
                local_digest: short(finding.local_digest.as_ref()),
                status: finding.status.into(),
                auto_update: toggles.marks(container),
            });
        }
        let known = self.service.freshness.known(reference).and_then(|known| known.digest);
        Group {
            image,
            remote_digest: short(known.as_ref().map(|(digest, _)| digest)),
            status: GroupStatus::of(containers.iter().map(|container| container.status)),
            containers,
        }
    }

    /// A container by its ID, a prefix of it, or its name.
    pub async fn container(&self, text: &str) -> Result<(Container, Arc<Snapshot>), Error> {
        let snapshot = self.snapshot().await?;
        let found = find_container(&snapshot.containers, text).cloned();
        found.map(|container| (container, snapshot)).ok_or_else(no_such_container)
    }

    /// Tells the freshness of one container.
    pub async fn container_status(&self, text: &str, ask: Ask) -> Result<Finding, Error> {
        let (container, snapshot) = self.container(text).await?;
        if self.is_being_updated(&container).await? {
            return Ok(Finding::of(Status::Processing, "its update is running"));
        }
        if container.is_coming_up(Timestamp::now()) {
            return Ok(Finding::of(Status::Preparing, "the container is not up yet"));
        }
        let reference = &snapshot.references[&container.id];
        if let Ok(parsed) = snapshot.origins.followed(reference) {
            let authfile = container.authfile.clone().or_else(|| authfile_of(&parsed, &snapshot));
            self.service.freshness.learn(&Asked::from([(parsed, authfile)]), ask).await;
        }
        Ok(self.service.freshness.find(&container, reference, &snapshot.origins, ask).await)
    }

    async fn is_being_updated(&self, container: &Container) -> Result<bool, Error> {
        let running = self.service.running_jobs().await?;
        if running.is_empty() {
            return Ok(false);
        }
        let app = self.app_of(container).await.ok();
        Ok(running.iter().any(|job| match &job.target.subject {
            Subject::Container(name) => *name == container.name,
            Subject::App(name) => app.as_deref() == Some(name.as_str()),
            Subject::Group(_) | Subject::All => false,
        }))
    }
}

/// The error for a container that is not there.
pub fn no_such_container() -> Error {
    Error::new(Code::NoSuchContainer, "container not found")
}

/// Running containers by the reference they were made from, with its tag; those made from a bare ID are left out.
pub fn by_reference(snapshot: &Snapshot) -> BTreeMap<ImageReference, Vec<&Container>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for container in snapshot.containers.iter().filter(|container| container.state.is_up()) {
        let reference = snapshot.references.get(&container.id).and_then(|text| text.parse::<ImageReference>().ok());
        if let Some(reference) = reference {
            groups.entry(reference.with_effective_tag()).or_default().push(container);
        }
    }
    groups
}

/// The file of credentials that one of the running containers names that follow `reference`.
fn authfile_of(reference: &ImageReference, snapshot: &Snapshot) -> Option<PathBuf> {
    authfile_among(by_reference(snapshot).get(&reference.clone().with_effective_tag())?)
}

/// The file of credentials that the first of these names that names one.
pub(super) fn authfile_among(containers: &[&Container]) -> Option<PathBuf> {
    containers.iter().find_map(|container| container.authfile.clone())
}

fn short(digest: Option<&Digest>) -> String {
    digest.map_or_else(|| UNKNOWN.to_owned(), |digest| digest.as_str().chars().take(SHORT_DIGEST).collect())
}
