//! The policy of an app: which one holds for each service, who said so, and setting it.

use serde::Serialize;
use utoipa::ToSchema;

use super::context::Restock;
use super::list_apps::App;
use crate::domain::app::ServiceName;
use crate::domain::container::Container;
use crate::domain::plan::by_service;
use crate::domain::policy::{Policy, PolicyLabels, Source, decide};
use crate::error::{Error, Kind};

/// An app's policy and who decided it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AppPolicy {
    /// `null` when nobody speaks for the app as a whole and its services' labels say nothing or different things.
    pub auto_update: Option<Policy>,
    pub source: Option<Source>,
    /// What holds for each service that has containers.
    pub services: Vec<ServicePolicy>,
}

/// The policy of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ServicePolicy {
    pub service: ServiceName,
    pub auto_update: Option<Policy>,
    pub source: Option<Source>,
    /// A word that is no policy; the service is left alone until it is corrected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Restock {
    /// The policy of an app.
    pub async fn policy(&self, name: &str) -> Result<AppPolicy, Error> {
        let app = self.app(name).await?;
        let model = app.model.as_ref().map_err(Clone::clone)?;
        if let Err(mistakes) = &model.project.settings {
            return Err(Error::new(Kind::BrokenApp, "invalid_settings", mistakes.clone())
                .hint("correct `x-restock` in the Compose file")
                .app(name));
        }
        let setting = self.store.toggle(&app.dir.target()).await?;
        Ok(policy_of(&app, setting.as_deref()))
    }

    /// Sets an app's policy, which then wins over its file and its labels; `None` unsets it.
    pub async fn set_policy(&self, name: &str, policy: Option<Policy>) -> Result<AppPolicy, Error> {
        let app = self.apps.find(name)?;
        self.store.set_toggle(&app.target(), policy.map(|policy| policy.to_string()).as_deref()).await?;
        self.policy(name).await
    }
}

/// The policy of an app, with what somebody has set for it.
pub fn policy_of(app: &App, setting: Option<&str>) -> AppPolicy {
    let settings = app.model.as_ref().ok().and_then(|model| model.project.settings.as_ref().ok());
    let in_file = settings.and_then(|settings| settings.auto_update.as_deref());
    let services: Vec<_> = by_service(&app.containers)
        .into_iter()
        .map(|(service, replicas)| service_policy(service, &replicas, setting, in_file))
        .collect();
    // A setting and the file speak for the whole app, also when it has no containers.
    let whole = decide(setting, in_file, &PolicyLabels::default()).ok().flatten();
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
