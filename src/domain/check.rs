//! What a check of the registries found.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{AppName, ServiceName};
use super::freshness::{Finding, Status};
use super::hold::HeldBack;
use super::image::Digest;
use super::time::millis;

/// The apps that a check is about; `None` means all.
pub type Checked = Option<BTreeSet<AppName>>;

/// The freshness of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppStatus {
    pub app: AppName,
    pub status: Status,
    pub services: Vec<ServiceStatus>,
    /// When the registries were last asked; `null` when none had to be.
    #[serde(serialize_with = "millis")]
    pub checked_at: Option<Timestamp>,
    /// Why an app could not be checked at all; only where several were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CheckError>,
}

/// The freshness of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    pub service: ServiceName,
    pub image: String,
    #[serde(flatten)]
    pub finding: Finding,
    /// What an update would bring; `null` unless the service is outdated.
    pub available: Option<Available>,
    /// The next tag of a fixed one; `null` with `newer_reason`.
    #[schema(value_type = Option<Object>)]
    pub newer: (),
    pub newer_reason: NewerReason,
    /// Why passes do not apply what is available; a person's update does.
    pub held_back: Option<HeldBack>,
}

/// Why no newer tag is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewerReason {
    /// The reference has a digest.
    Pinned,
    /// Nobody has looked for one.
    NotChecked,
}

/// What an update would bring to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Available {
    /// The image reference as the Compose file resolves it.
    pub tag: String,
    /// What the image's label says; `null` where it says nothing or has not been looked up.
    pub version: Option<String>,
    /// Of the index, or of the manifest where there is no index.
    pub digest: Digest,
    /// When the image was made, as it says itself.
    #[serde(serialize_with = "millis")]
    pub created: Option<Timestamp>,
    /// The compressed bytes of its layers, those that are here already included.
    pub size: Option<u64>,
    /// Where to read about it, as the image says.
    pub url: Option<String>,
}

/// What an image in a registry says of itself, for one platform. All `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDetails {
    pub version: Option<String>,
    pub created: Option<Timestamp>,
    /// The compressed bytes of its layers.
    pub size: Option<u64>,
    pub url: Option<String>,
}

/// Why an app could not be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckError {
    /// Stable, for programs.
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

/// What a check of several apps found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    /// How many apps were asked about.
    pub asked: usize,
    /// How many of them have something newer.
    pub outdated: usize,
    /// Of how many it could not be found out.
    pub failed: usize,
    /// One answer for each, by name.
    pub apps: Vec<AppStatus>,
}

impl CheckReport {
    /// The report of these answers.
    pub fn of(apps: Vec<AppStatus>) -> Self {
        let number = |status| apps.iter().filter(|app| app.status == status).count();
        Self { asked: apps.len(), outdated: number(Status::Outdated), failed: number(Status::Error), apps }
    }
}

impl AppStatus {
    /// The answer for an app that could not be checked.
    pub fn unknown(app: AppName, error: CheckError) -> Self {
        Self { app, status: Status::Error, services: Vec::new(), checked_at: None, error: Some(error) }
    }
}

impl Available {
    /// What has `digest`, with what is known of it.
    pub fn of(tag: &str, digest: &Digest, details: Option<&ImageDetails>) -> Self {
        let details = details.cloned().unwrap_or_default();
        Self {
            tag: tag.to_owned(),
            digest: digest.clone(),
            version: details.version,
            created: details.created,
            size: details.size,
            url: details.url,
        }
    }
}
