//! Which containers a policy marks, and what each follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::options::Scope;
use crate::domain::app::{AppName, ServiceName};
use crate::domain::container::Container;
use crate::domain::freshness::Origins;
use crate::domain::host::Subject;
use crate::domain::image::ImageReference;
use crate::domain::policy::{Policy, decide, followable};
use crate::domain::project::PullPolicy;
use crate::domain::report::Unit;
use crate::error::Error;
use crate::usecases::context::Host;
use crate::usecases::inventory::Snapshot;
use crate::usecases::list_apps::App;
use crate::usecases::policies::Toggles;

/// A running container that a policy marks.
pub(super) struct Marked {
    pub container: Container,
    /// The app and the service it belongs to; `None` for a standalone one.
    pub service: Option<(AppName, ServiceName)>,
    pub unit: Unit,
    /// What it follows: the reference of its Compose file, or the one it was made from.
    pub image: String,
    pub policy: Policy,
    /// Only what is on this machine counts: by its policy, or because only a build or a person brings its image.
    pub local: bool,
    /// The Compose file asks for another platform than the engine's own.
    pub platform: Option<String>,
}

/// What a pass starts from.
pub(super) struct Marks {
    pub snapshot: Arc<Snapshot>,
    pub marked: Vec<Marked>,
    /// The apps that have marked containers.
    pub apps: BTreeMap<AppName, App>,
    /// Services of those apps that no policy marks: they are left as they are.
    pub left_alone: BTreeMap<AppName, BTreeSet<ServiceName>>,
    pub errors: Vec<String>,
}

impl Host {
    /// Finds what a pass works on. Nobody but the engine is asked, and that once.
    pub(super) async fn marks(&self, scope: &Scope) -> Result<Marks, Error> {
        let snapshot = self.snapshot().await?;
        let toggles = self.toggles().await?;
        let mut marks = Marks {
            snapshot: snapshot.clone(),
            marked: Vec::new(),
            apps: BTreeMap::new(),
            left_alone: BTreeMap::new(),
            errors: Vec::new(),
        };
        let mut seen = BTreeSet::new();
        for app in self.apps_among(&snapshot.containers).await? {
            seen.extend(app.containers.iter().map(|container| container.id.clone()));
            if scope.has_app(&app.dir.id(), app.schedule().is_some()) {
                marks.take_app(app, &toggles);
            }
        }
        if scope.has_rest() {
            for container in snapshot.containers.iter().filter(|container| !seen.contains(&container.id)) {
                marks.take_other(container, &toggles);
            }
        }
        marks.marked.sort_by(|a, b| (&a.unit, &a.container.name).cmp(&(&b.unit, &b.container.name)));
        Ok(marks)
    }
}

impl Marks {
    fn take_app(&mut self, app: App, toggles: &Toggles) {
        let name = app.dir.name.clone();
        let in_file = app.model.as_ref().ok().map(|model| model.project.settings.as_ref());
        let in_file = match in_file {
            // What somebody has set speaks first: who has switched it off need not hear of it in each pass.
            Some(Err(_)) if app.containers.iter().all(|container| toggles.disables(container, &name)) => return,
            Some(Err(mistakes)) => return self.errors.push(format!("{name}: {mistakes}")),
            Some(Ok(file)) => file.auto_update.clone(),
            None => None,
        };
        let (mut marked, mut left_alone, mut errors) = (Vec::new(), BTreeSet::new(), Vec::new());
        for container in &app.containers {
            let Some(labels) = &container.compose else { continue };
            let setting = toggles.of(container, Some(&name));
            let policy = match decide(setting, in_file.as_deref(), &container.policy) {
                Ok(Some((policy, _))) if policy != Policy::Disabled => policy,
                Ok(_) => {
                    left_alone.insert(labels.service.clone());
                    continue;
                }
                Err(unknown) => {
                    left_alone.insert(labels.service.clone());
                    errors.push(format!("{}: {unknown}", container.name));
                    continue;
                }
            };
            if let Err(error) = &app.model {
                errors.push(format!("{name}: {error}"));
                break;
            }
            let followed = service_of(&app, &labels.service).unwrap_or_else(|| {
                // Its profile is not active, so the project does not show it; an update switches the profile on.
                let image = self.snapshot.references.get(&container.id).cloned().unwrap_or_default();
                (image, PullPolicy::Asks, None)
            });
            marked.push((container.clone(), labels.service.clone(), policy, followed));
        }
        self.errors.append(&mut errors);
        let project = app.model.as_ref().map(|model| model.project.name.to_string()).unwrap_or_default();
        for (container, service, policy, (image, pull_policy, platform)) in marked {
            let local = policy == Policy::Local || pull_policy != PullPolicy::Asks;
            if let Err(reason) = can_follow(&image, local) {
                self.errors.push(format!("{}: {reason}", container.name));
                left_alone.insert(service);
                continue;
            }
            if container.state.is_up() {
                let unit = Unit::Other(format!("{project}/{service}"));
                let service = Some((name.clone(), service));
                self.marked.push(Marked { container, service, unit, image, policy, local, platform });
            }
        }
        self.left_alone.insert(name.clone(), left_alone);
        self.apps.insert(name, app);
    }

    fn take_other(&mut self, container: &Container, toggles: &Toggles) {
        if !container.state.is_up() {
            return;
        }
        let name = &container.name;
        let policy = match decide(toggles.of(container, None), None, &container.policy) {
            Ok(Some((policy, _))) if policy != Policy::Disabled => policy,
            Ok(_) => return,
            Err(unknown) => return self.errors.push(format!("{name}: {unknown}")),
        };
        if let Some(labels) = &container.compose {
            let project = &labels.project;
            return self.errors.push(format!(
                "{name}: it belongs to the Compose project `{project}`, which is no app here; move its directory into the apps directory"
            ));
        }
        let image = self.snapshot.references.get(&container.id).cloned().unwrap_or_default();
        let local = policy == Policy::Local;
        if let Err(reason) = can_follow(&image, local) {
            return self.errors.push(format!("{name}: {reason}"));
        }
        let unit = container.unit.clone().map_or_else(|| Unit::Other(name.clone()), Unit::Systemd);
        let container = container.clone();
        self.marked.push(Marked { container, service: None, unit, image, policy, local, platform: None });
    }
}

fn can_follow(image: &str, local: bool) -> Result<(), String> {
    if local { Ok(()) } else { followable(image) }
}

fn service_of(app: &App, service: &ServiceName) -> Option<(String, PullPolicy, Option<String>)> {
    let service = app.model.as_ref().ok()?.project.services.get(service)?;
    Some((service.image.clone(), service.pull_policy, service.platform.clone()))
}

impl Marked {
    /// The service of its app; `None` for a standalone container.
    pub fn service_name(&self) -> Option<&ServiceName> {
        self.service.as_ref().map(|(_, service)| service)
    }

    /// The name by which its images are remembered: its service, or its own.
    pub fn known_as(&self) -> ServiceName {
        self.service_name().cloned().unwrap_or_else(|| ServiceName::new(self.container.name.as_str()))
    }

    /// What is updated for its sake.
    pub fn subject(&self) -> Subject {
        match &self.service {
            Some((app, _)) => Subject::App(app.to_string()),
            None => Subject::Container(self.container.name.clone()),
        }
    }

    /// Returns whether it belongs to `app`.
    pub fn is_of(&self, app: &AppName) -> bool {
        self.service.as_ref().is_some_and(|(name, _)| name == app)
    }

    /// What the registry is asked about, with the file of credentials that the container names.
    pub fn followed(&self, origins: &Origins) -> Option<(ImageReference, Option<PathBuf>)> {
        let followed = if self.local { None } else { origins.followed(&self.image).ok() };
        Some((followed?, self.container.authfile.clone()))
    }

    /// The reference that the registry is asked about.
    pub fn reference(&self) -> Option<ImageReference> {
        if self.local { None } else { self.image.parse().ok() }
    }
}
