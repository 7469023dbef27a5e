//! Which policy holds, and who decided it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::app::ServiceName;
use crate::domain::policy::{Policy, Source};

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

impl ServicePolicy {
    /// Returns whether a schedule updates the service.
    pub fn marks(&self) -> bool {
        self.auto_update.is_some_and(|policy| policy != Policy::Disabled)
    }
}
