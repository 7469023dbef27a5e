//! The policy of an app: which one holds, who said so, and setting it.

use serde::Serialize;

use super::context::Restock;
use crate::domain::policy::{Policy, PolicyLabels, Source, decide};
use crate::error::{Error, Kind};

/// An app's policy and who decided it.
#[derive(Debug, Clone, Serialize)]
pub struct AppPolicy {
    /// `null` when nobody speaks: then no schedule touches the app.
    pub auto_update: Option<Policy>,
    pub source: Option<Source>,
}

impl Restock {
    /// The policy of an app. Of its containers' labels the first in the order of their names speaks.
    pub async fn policy(&self, name: &str) -> Result<AppPolicy, Error> {
        let app = self.app(name).await?;
        let model = app.model.as_ref().map_err(Clone::clone)?;
        let settings = model.project.settings.as_ref().map_err(|mistakes| invalid(name, mistakes.clone()))?;
        let setting = self.store.toggle(&app.dir.target()).await?;
        let none = PolicyLabels::default();
        let labels = app.containers.iter().map(|container| &container.policy).find(|labels| **labels != none);
        let decided = decide(setting.as_deref(), settings.auto_update.as_deref(), labels.unwrap_or(&none));
        let decided = decided.map_err(|unknown| invalid(name, unknown.to_string()))?;
        Ok(AppPolicy { auto_update: decided.map(|(policy, _)| policy), source: decided.map(|(_, source)| source) })
    }

    /// Sets an app's policy, which then wins over its file and its labels; `None` unsets it.
    pub async fn set_policy(&self, name: &str, policy: Option<Policy>) -> Result<AppPolicy, Error> {
        let app = self.apps.find(name)?;
        self.store.set_toggle(&app.target(), policy.map(|policy| policy.to_string()).as_deref()).await?;
        self.policy(name).await
    }
}

fn invalid(app: &str, mistake: String) -> Error {
    Error::new(Kind::BrokenApp, "invalid_settings", mistake).app(app)
}
