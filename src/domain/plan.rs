//! What an update has to change: what runs, compared with what the references mean now.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::ServiceName;
use super::container::{Container, LocalImage};
use super::image::{Digest, ImageId, ImageReference};
use super::project::{Project, PullPolicy, Service};

/// A service that runs another image than its reference means now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub service: ServiceName,
    /// The images its containers run, most used first; several only when replicas differ.
    pub from: Vec<ImageId>,
    pub to: ImageId,
    /// The platform's manifest behind `to`, on stores that tell.
    pub to_manifest: Option<Digest>,
    /// The reference as the Compose file resolves it.
    pub reference: String,
    pub version_to: Option<String>,
    pub source: Option<String>,
    /// `repository@digest` of the new image, as far as the engine knows it.
    pub to_digests: Vec<String>,
}

/// Why a service is left alone though it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The reference has a digest: there is nothing to follow.
    Pinned,
    /// Only a build makes this image.
    Build,
    /// `pull_policy: never`, and what is here already runs.
    PullPolicy,
    /// The service has no container.
    Absent,
    /// The reference means no image of this engine: build or pull it.
    ImageMissing,
    /// The reference means an older image here, since another app or container was brought back to it.
    MovedBack,
    /// The container was made from an image ID.
    ImageId,
    /// The image was made on this machine and is in no registry.
    Local,
    /// The request named other services.
    NotSelected,
}

/// A service that was left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    pub service: ServiceName,
    pub reason: SkipReason,
}

/// Changes and skips of one app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub changes: Vec<Change>,
    pub skipped: Vec<Skipped>,
}

impl Plan {
    /// Names those of `own`, whose images were made on this machine, that have containers and nothing newer.
    pub fn skip_own(&mut self, own: &BTreeSet<ServiceName>, containers: &[Container]) {
        let running = by_service(containers);
        for service in own.iter().filter(|service| running.contains_key(service)) {
            let changes = self.changes.iter().any(|change| change.service == *service);
            if !changes && !self.skipped.iter().any(|skipped| skipped.service == *service) {
                self.skipped.push(Skipped { service: service.clone(), reason: SkipReason::Local });
            }
        }
    }

    /// Leaves services alone, each for its reason.
    pub fn leave_out(&mut self, services: &BTreeMap<ServiceName, SkipReason>) {
        let is_in = |name: &ServiceName| !services.contains_key(name);
        self.changes.retain(|change| is_in(&change.service));
        let not_selected = |skipped: &Skipped| skipped.reason == SkipReason::NotSelected;
        self.skipped.retain(|skipped| is_in(&skipped.service) || not_selected(skipped));
        for (service, reason) in services {
            if !self.skipped.iter().any(|skipped| skipped.service == *service) {
                self.skipped.push(Skipped { service: service.clone(), reason: *reason });
            }
        }
        self.skipped.sort_by(|a, b| a.service.cmp(&b.service));
    }
}

/// The services that Compose must not touch, and why: it would fail on them, or move them to an older image.
///
/// `moved_back` are the references that a rollback has given their present meaning, in their complete form; `asked` the
/// services whose registry has just confirmed what their reference means.
pub fn unfit(
    project: &Project,
    containers: &[Container],
    images: &BTreeMap<String, Option<LocalImage>>,
    moved_back: &BTreeMap<String, ImageId>,
    asked: &BTreeSet<ServiceName>,
) -> BTreeMap<ServiceName, SkipReason> {
    let running = by_service(containers);
    let one_shots = project.one_shots();
    let reason = |name: &ServiceName, service: &Service| match (running.get(name), images.get(&service.image)) {
        (None, _) if !one_shots.contains(name) => None,
        (_, None | Some(None)) => Some(SkipReason::ImageMissing),
        (Some(replicas), Some(Some(local))) => {
            let reference = service.image.parse::<ImageReference>().ok()?.canonical();
            let older = moved_back.get(&reference) == Some(&local.id) && !asked.contains(name);
            let moves = replicas.iter().any(|replica| !runs(replica, local, service.platform.as_deref()));
            (older && moves).then_some(SkipReason::MovedBack)
        }
        (None, Some(Some(_))) => None,
    };
    project.services.iter().filter_map(|(name, service)| Some((name.clone(), reason(name, service)?))).collect()
}

/// The containers of a project by service; those of `docker compose run` are not among them.
pub fn by_service(containers: &[Container]) -> BTreeMap<&ServiceName, Vec<&Container>> {
    let mut services: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for container in containers {
        if let Some(labels) = container.compose.as_ref().filter(|labels| !labels.one_off) {
            services.entry(&labels.service).or_default().push(container);
        }
    }
    services
}

/// Which services Compose starts, and which it only creates; `None` means none, so nothing is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selections {
    pub up: Option<Selection>,
    pub create: Option<Selection>,
}

/// Which services a verb of Compose works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The whole project, so that what shares a namespace follows.
    Project,
    /// Only these, and nothing they depend on.
    Only(Vec<ServiceName>),
}

/// Chooses what is started and what is only created, of the services that are worked on (`wanted`; `None` means all).
///
/// Stopped services never flash up, not even for a moment, so `up` gets the services by name as soon as one of the
/// project's is not to run; otherwise it gets the whole project.
pub fn selections(
    project: &Project,
    wanted: Option<&BTreeSet<ServiceName>>,
    running: &BTreeSet<&ServiceName>,
    before: &BTreeSet<ServiceName>,
    changed: &BTreeSet<ServiceName>,
) -> Selections {
    let is_wanted = |name: &ServiceName| wanted.is_none_or(|wanted| wanted.contains(name));
    let one_shots = project.one_shots();
    let runs = |name: &ServiceName| !running.is_empty() && (running.contains(name) || one_shots.contains(name));
    let up: Vec<_> = project.services.keys().filter(|name| is_wanted(name) && runs(name)).cloned().collect();
    let create: Vec<_> = project
        .with_dependents(changed)
        .into_iter()
        .filter(|name| is_wanted(name) && !up.contains(name) && before.contains(name))
        .collect();
    let selection = |services: Vec<ServiceName>| match services.len() {
        0 => None,
        n if n == project.services.len() => Some(Selection::Project),
        _ => Some(Selection::Only(services)),
    };
    Selections { up: selection(up), create: selection(create) }
}

/// Compares every service of `project` that has containers with `images`, the local meaning of each reference.
///
/// `selected` limits the comparison to some services; `None` means all.
pub fn plan(
    project: &Project,
    containers: &[Container],
    images: &BTreeMap<String, Option<LocalImage>>,
    selected: Option<&BTreeSet<ServiceName>>,
) -> Plan {
    let running = by_service(containers);
    let mut plan = Plan::default();
    for (name, service) in &project.services {
        let skip = |reason| Skipped { service: name.clone(), reason };
        if selected.is_some_and(|selected| !selected.contains(name)) {
            plan.skipped.push(skip(SkipReason::NotSelected));
            continue;
        }
        let Some(replicas) = running.get(name) else {
            plan.skipped.push(skip(SkipReason::Absent));
            continue;
        };
        let Some(Some(local)) = images.get(&service.image) else {
            plan.skipped.push(skip(SkipReason::ImageMissing));
            continue;
        };
        let platform = service.platform.as_deref();
        if replicas.iter().any(|replica| !runs(replica, local, platform)) {
            plan.changes.push(change(name, &service.image, replicas, local, platform));
        } else if let Some(reason) = nothing_to_follow(&service.image, service.pull_policy) {
            plan.skipped.push(skip(reason));
        }
    }
    plan
}

fn change(
    name: &ServiceName,
    reference: &str,
    replicas: &[&Container],
    local: &LocalImage,
    platform: Option<&str>,
) -> Change {
    Change {
        service: name.clone(),
        from: images_by_use(replicas),
        to: local.id.clone(),
        to_manifest: local_manifest(local, platform).cloned(),
        reference: reference.to_owned(),
        version_to: local.version.clone(),
        source: local.source.clone(),
        to_digests: local.repo_digests.clone(),
    }
}

/// What the replicas of a service run, most used first.
pub fn images_by_use(replicas: &[&Container]) -> Vec<ImageId> {
    let mut uses: BTreeMap<&ImageId, usize> = BTreeMap::new();
    for replica in replicas {
        *uses.entry(&replica.image_id).or_default() += 1;
    }
    let mut images: Vec<_> = uses.into_iter().collect();
    images.sort_by(|(a, a_uses), (b, b_uses)| b_uses.cmp(a_uses).then(a.cmp(b)));
    images.into_iter().map(|(id, _)| id.clone()).collect()
}

fn nothing_to_follow(reference: &str, policy: PullPolicy) -> Option<SkipReason> {
    match policy {
        PullPolicy::Build => return Some(SkipReason::Build),
        PullPolicy::Never => return Some(SkipReason::PullPolicy),
        PullPolicy::Asks => {}
    }
    match reference.parse::<ImageReference>() {
        Ok(reference) => reference.digest().map(|_| SkipReason::Pinned),
        Err(_) => Some(SkipReason::ImageId),
    }
}

/// Returns whether `container` runs what `local` is.
///
/// On a containerd store an index changes with every rebuilt attestation and every other architecture, so there the
/// platform's manifests are compared; like is only ever compared with like: manifest with manifest or ID with ID.
pub fn runs(container: &Container, local: &LocalImage, platform: Option<&str>) -> bool {
    if container.image_id == local.id {
        return true;
    }
    match (&container.manifest, local_manifest(local, platform)) {
        (Some(running), Some(local)) => running == local,
        _ => false,
    }
}

/// The manifest of an index that a container would run: that of `platform`, or the only one there is.
fn local_manifest<'a>(local: &'a LocalImage, platform: Option<&str>) -> Option<&'a Digest> {
    let mut of_platform = local
        .manifests
        .iter()
        .filter(|manifest| platform.is_none_or(|wanted| same_platform(&manifest.platform, wanted)));
    match (of_platform.next(), of_platform.next()) {
        (Some(only), None) => Some(&only.digest),
        _ => None,
    }
}

/// `linux/arm64` means every variant of it; `linux/arm/v7` only that one.
fn same_platform(manifest: &str, wanted: &str) -> bool {
    manifest == wanted || manifest.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::ProjectName;
    use crate::domain::container::{ComposeLabels, PlatformManifest};
    use crate::domain::project::AppSettings;

    fn digest(n: u8) -> Digest {
        format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().expect("a digest")
    }

    fn container(service: &str, image: &str, manifest: Option<Digest>) -> Container {
        let compose = ComposeLabels {
            project: ProjectName::new("p"),
            service: ServiceName::new(service),
            working_dir: None,
            one_off: false,
            number: 1,
        };
        let id = format!("{service}{image}");
        Container { id, manifest, compose: Some(compose), ..Container::sample(&format!("p-{service}-1"), image) }
    }

    fn local(id: &str, manifests: &[(u8, &str)]) -> LocalImage {
        let manifests =
            manifests.iter().map(|(n, platform)| PlatformManifest { digest: digest(*n), platform: (*platform).into() });
        LocalImage {
            id: ImageId::new(id),
            repo_digests: vec![],
            manifests: manifests.collect(),
            version: None,
            source: None,
        }
    }

    fn project(services: &[(&str, &str, PullPolicy)]) -> Project {
        let service = |image: &str, pull_policy| Service {
            image: image.into(),
            pull_policy,
            keeps_local: false,
            platform: None,
            profiles: vec![],
            waits_for_completion_of: BTreeSet::new(),
            depends_on: BTreeSet::new(),
            lives_in: BTreeSet::new(),
        };
        Project {
            name: ProjectName::new("p"),
            services: services
                .iter()
                .map(|(name, image, policy)| (ServiceName::new(*name), service(image, *policy)))
                .collect(),
            external_volumes: BTreeSet::new(),
            settings: Ok(AppSettings::default()),
        }
    }

    #[test]
    fn the_same_id_or_the_same_manifest_is_no_change() {
        let amd = [(1, "linux/amd64")];
        let cases = [
            ("classic, same", container("a", "old", None), local("old", &[]), true),
            ("classic, moved", container("a", "old", None), local("new", &[]), false),
            ("attestation rebuilt", container("a", "old", Some(digest(1))), local("new", &amd), true),
            ("really changed", container("a", "old", Some(digest(2))), local("new", &amd), false),
            ("never mix IDs and manifests", container("a", "old", Some(digest(1))), local("new", &[]), false),
        ];
        for (what, container, local, expected) in cases {
            assert_eq!(runs(&container, &local, None), expected, "{what}");
        }
    }

    #[test]
    fn the_platform_of_the_service_chooses_the_manifest() {
        let both = local("new", &[(1, "linux/amd64"), (2, "linux/arm64/v8")]);
        assert!(runs(&container("a", "old", Some(digest(2))), &both, Some("linux/arm64")));
        assert!(!runs(&container("a", "old", Some(digest(2))), &both, Some("linux/amd64")));
    }

    #[test]
    fn one_stale_replica_is_a_change_and_from_names_both() {
        let containers = [container("a", "old", None), container("a", "new", None), container("a", "new", None)];
        let images = BTreeMap::from([("x".to_owned(), Some(local("new", &[])))]);
        let plan = plan(&project(&[("a", "x", PullPolicy::Asks)]), &containers, &images, None);
        assert_eq!(plan.changes[0].from, [ImageId::new("new"), ImageId::new("old")]);
    }

    #[test]
    fn what_has_nothing_to_follow_is_skipped_with_its_reason() {
        let pinned = format!("x@{}", digest(7));
        let services = [
            ("a", pinned.as_str(), PullPolicy::Asks),
            ("b", "built", PullPolicy::Build),
            ("c", "x", PullPolicy::Never),
        ];
        let containers = ["a", "b", "c"].map(|service| container(service, "same", None));
        let images = services.iter().map(|(_, image, _)| ((*image).to_owned(), Some(local("same", &[])))).collect();
        let plan = plan(&project(&services), &containers, &images, None);
        let reasons: Vec<_> = plan.skipped.iter().map(|skipped| skipped.reason).collect();
        assert_eq!(reasons, [SkipReason::Pinned, SkipReason::Build, SkipReason::PullPolicy]);
        assert!(plan.changes.is_empty());
    }

    #[test]
    fn a_newer_local_image_counts_whatever_the_pull_policy() {
        let images = BTreeMap::from([("x".to_owned(), Some(local("new", &[])))]);
        let plan = plan(&project(&[("a", "x", PullPolicy::Never)]), &[container("a", "old", None)], &images, None);
        assert_eq!(plan.changes.len(), 1);
    }
}
