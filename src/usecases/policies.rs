//! The policy of an app: which one holds for each service, who said so, and setting it.

mod state;

use std::collections::HashMap;

use super::context::Host;
use super::list_apps::App;
use crate::domain::app::{AppName, ServiceName};
use crate::domain::container::Container;
use crate::domain::plan::by_service;
use crate::domain::policy::{Policy, PolicyLabels, Source, UnknownPolicy, decide};
use crate::error::{Code, Error};
pub use state::{AppPolicy, ServicePolicy};

/// The policy by which something is left alone, as it is stored.
const DISABLED: &str = "disabled";

impl Host {
    /// The policy of an app.
    pub async fn policy(&self, name: &str) -> Result<AppPolicy, Error> {
        let app = self.app(name).await?;
        let model = app.model.as_ref().map_err(Clone::clone)?;
        if let Err(mistakes) = &model.project.settings {
            return Err(Error::new(Code::InvalidSettings, mistakes.clone())
                .hint("correct `x-restock` in the Compose file")
                .app(name));
        }
        Ok(policy_of(&app, &self.toggles().await?))
    }

    /// Sets an app's policy, which then wins over its file and its labels, and over what was set for single containers
    /// of it before; `None` unsets all that. Mistakes in the app's file are no obstacle.
    pub async fn set_policy(&self, name: &str, policy: Option<Policy>) -> Result<AppPolicy, Error> {
        let app = self.app(name).await?;
        self.service.store.set_toggle(&app.dir.target(), policy.map(|policy| policy.to_string()).as_deref()).await?;
        for container in &app.containers {
            self.service.store.set_toggle(&self.container_target(container), None).await?;
        }
        self.changed();
        Ok(policy_of(&app, &self.toggles().await?))
    }

    /// Turns a container's automatic updates on or off, whoever had decided; tells which they are then.
    pub async fn toggle_container(&self, text: &str) -> Result<bool, Error> {
        let (container, _) = self.container(text).await?;
        let target = self.container_target(&container);
        let inherited = self.inherits(&container).await?;
        let is_on = match self.service.store.toggle(&target).await? {
            Some(policy) => policy != DISABLED,
            None => inherited,
        };
        // What holds anyway needs no word of its own, and follows the file and the labels again.
        let own = (is_on == inherited).then_some(if is_on { DISABLED } else { "registry" });
        self.service.store.set_toggle(&target, own).await?;
        self.changed();
        Ok(!is_on)
    }

    /// Returns whether a container would be updated by itself if nobody had set anything for it alone.
    async fn inherits(&self, container: &Container) -> Result<bool, Error> {
        let app = match self.app_of(container).await {
            Ok(name) => Some(self.app(&name).await?),
            Err(_) => None,
        };
        let setting = match &app {
            Some(app) => self.service.store.toggle(&app.dir.target()).await?,
            None => None,
        };
        let in_file = app.as_ref().and_then(in_file);
        Ok(is_on(decide(setting.as_deref(), in_file, &container.policy)))
    }

    /// Everything that people have set.
    pub async fn toggles(&self) -> Result<Toggles, Error> {
        Ok(Toggles {
            apps: self.service.store.toggles("app").await?.into_iter().collect(),
            containers: self.service.store.toggles("container").await?.into_iter().collect(),
        })
    }
}

/// The policies that people have set, by their targets' names.
pub struct Toggles {
    apps: HashMap<String, String>,
    containers: HashMap<String, String>,
}

impl Toggles {
    /// What holds for a container, of `app` or of none: its own setting before that of its app.
    pub fn of(&self, container: &Container, app: Option<&AppName>) -> Option<&str> {
        let of_app = || self.apps.get(app?.as_str());
        self.containers.get(&container.name).or_else(of_app).map(String::as_str)
    }

    /// Returns whether somebody has switched the updates of an app's container off.
    pub fn disables(&self, container: &Container, app: &AppName) -> bool {
        self.of(container, Some(app)) == Some(DISABLED)
    }

    /// Returns whether a container is updated by itself, by what is set for it alone and by its labels.
    pub fn marks(&self, container: &Container) -> bool {
        is_on(decide(self.of(container, None), None, &container.policy))
    }
}

fn is_on(decided: Result<Option<(Policy, Source)>, UnknownPolicy>) -> bool {
    matches!(decided, Ok(Some((policy, _))) if policy != Policy::Disabled)
}

fn in_file(app: &App) -> Option<&str> {
    let settings = app.model.as_ref().ok()?.project.settings.as_ref().ok()?;
    settings.auto_update.as_deref()
}

/// The policy of an app, with what somebody has set for it.
pub fn policy_of(app: &App, toggles: &Toggles) -> AppPolicy {
    let in_file = in_file(app);
    let services: Vec<_> = by_service(&app.containers)
        .into_iter()
        .map(|(service, replicas)| {
            let setting = replicas.first().and_then(|replica| toggles.of(replica, Some(&app.dir.name)));
            service_policy(service, &replicas, setting, in_file)
        })
        .collect();
    // A setting and the file speak for the whole app, also when it has no containers.
    let setting = toggles.apps.get(app.dir.name.as_str());
    let whole = decide(setting.map(String::as_str), in_file, &PolicyLabels::default()).ok().flatten();
    let first = services.first().and_then(|first| Some((first.auto_update?, first.source?)));
    let agreed = first.filter(|(policy, _)| services.iter().all(|service| service.auto_update == Some(*policy)));
    let decided = whole.or(agreed);
    AppPolicy { auto_update: decided.map(|(policy, _)| policy), source: decided.map(|(_, source)| source), services }
}

fn service_policy(
    service: &ServiceName,
    replicas: &[&Container],
    setting: Option<&str>,
    in_file: Option<&str>,
) -> ServicePolicy {
    let none = PolicyLabels::default();
    let labels = replicas.first().map_or(&none, |replica| &replica.policy);
    let (decided, error) = match decide(setting, in_file, labels) {
        Ok(decided) => (decided, None),
        Err(unknown) => (None, Some(unknown.to_string())),
    };
    ServicePolicy {
        service: service.clone(),
        auto_update: decided.map(|(policy, _)| policy),
        source: decided.map(|(_, source)| source),
        error,
    }
}
