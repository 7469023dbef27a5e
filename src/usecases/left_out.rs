//! The services of an app that a change has to leave alone: Compose would fail on them, or move them to an older image.

use std::collections::{BTreeMap, BTreeSet};

use super::context::Host;
use super::update_options::UpdateOptions;
use crate::adapters::apps_dir::AppDir;
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, LocalImage};
use crate::domain::image::ImageReference;
use crate::domain::plan::{Plan, SkipReason, by_service, unfit};
use crate::domain::project::{Project, PullPolicy, Service};
use crate::error::{Code, Error};

/// What each image reference of a project means on this engine now.
type Images = BTreeMap<String, Option<LocalImage>>;

/// Services, and why each is left alone.
pub(super) type LeftOut = BTreeMap<ServiceName, SkipReason>;

impl Host {
    /// What the services of a project that have containers, or are run before others, mean by their references.
    pub(super) async fn images_of(&self, project: &Project, containers: &[Container]) -> Result<Images, Error> {
        let named = by_service(containers).into_keys().chain(project.one_shots());
        let services = named.filter_map(|name| project.services.get(name));
        let references: BTreeSet<_> = services.map(|service| service.image.clone()).collect();
        Ok(self.engine.images(references).await?)
    }

    /// The services that have to be left alone; `asked` are those whose registry has just been asked.
    pub(super) async fn left_out(
        &self,
        project: &Project,
        containers: &[Container],
        images: &Images,
        asked: &BTreeSet<ServiceName>,
    ) -> Result<LeftOut, Error> {
        Ok(unfit(project, containers, images, &self.service.store.moved_back(&self.name).await?, asked))
    }

    /// Returns whether an image is what a rollback, of whatever followed the same reference, has gone back to.
    pub(super) async fn is_moved_back(&self, reference: &ImageReference, image: &LocalImage) -> Result<bool, Error> {
        Ok(self.service.store.moved_back(&self.name).await?.get(&reference.canonical()) == Some(&image.id))
    }
}

/// The services whose registries this update has asked: all that Compose pulls, or those that a pass has found newer.
pub(super) fn asked(project: &Project, options: &UpdateOptions) -> BTreeSet<ServiceName> {
    let named = |name: &ServiceName| options.services.is_empty() || options.services.contains(name.as_str());
    let pulled = |(name, service): &(&ServiceName, &Service)| match &options.prepared {
        Some(prepared) => prepared.newer.contains(*name),
        None => named(name) && service.pull_policy == PullPolicy::Asks && !service.keeps_local,
    };
    project.services.iter().filter(pulled).map(|(name, _)| name.clone()).collect()
}

/// Adds what a pass has not found due: where its registry has nothing newer, another local image can only be older.
pub(super) fn add_what_is_not_due(left_out: &mut LeftOut, plan: &Plan, options: &UpdateOptions) {
    let Some(prepared) = &options.prepared else { return };
    let changes = plan.changes.iter().filter(|change| !prepared.due.contains(&change.service));
    for change in changes {
        left_out.entry(change.service.clone()).or_insert(SkipReason::MovedBack);
    }
}

/// Refuses a change that a service would have to follow, because it lives in a namespace of one that changes, although
/// it has to be left alone.
pub(super) fn check_followers(
    app: &AppDir,
    project: &Project,
    containers: &[Container],
    changed: &BTreeSet<ServiceName>,
    left_out: &LeftOut,
) -> Result<(), Error> {
    let services = by_service(containers);
    let followers = project.with_dependents(changed);
    let stuck = left_out.iter().find(|(name, _)| followers.contains(*name) && services.contains_key(*name));
    let Some((service, reason)) = stuck else { return Ok(()) };
    let (code, message, hint) = match reason {
        SkipReason::ImageMissing => (
            Code::ImageMissing,
            format!("`{service}` has to be made again with what changes, and its image is not here"),
            format!("build or pull it: docker compose build {service}"),
        ),
        _ => (
            Code::ImageMoved,
            format!(
                "`{service}` has to be made again with what changes, and would get an older image: its reference was \
                 moved back by the rollback of another app"
            ),
            "update the other app first, or pull the image".to_owned(),
        ),
    };
    Err(Error::new(code, message).hint(hint).app(&app.name).service(service))
}

/// `selected` without what has to be left alone; `None` means all.
pub(super) fn without(
    project: &Project,
    selected: Option<BTreeSet<ServiceName>>,
    left_out: &LeftOut,
) -> Option<BTreeSet<ServiceName>> {
    if left_out.is_empty() {
        return selected;
    }
    let selected = selected.unwrap_or_else(|| project.services.keys().cloned().collect());
    Some(selected.into_iter().filter(|name| !left_out.contains_key(name)).collect())
}
