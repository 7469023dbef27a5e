//! The data of server-sent events, as clients see it. The events themselves are put together where things happen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::job::{JobId, Step};

/// `step`: a job begins its next step.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepEvent {
    pub job: JobId,
    pub at: Timestamp,
    pub step: Step,
}

/// `progress`: how far an image is pulled, a layer of it, or another thing of Compose's made; of a check an app.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProgressEvent {
    pub job: JobId,
    pub at: Timestamp,
    /// In Compose's or the engine's words, such as `Downloading`.
    pub status: String,
    /// The service whose image it is.
    pub service: Option<String>,
    /// The image, where no service is known.
    pub image: Option<String>,
    /// The app that registries have been asked about; `current` and `total` then count apps.
    pub app: Option<String>,
    /// A network, a volume, or another thing of the project.
    pub resource: Option<String>,
    pub layer: Option<String>,
    /// Bytes that are here, or apps that are done.
    pub current: Option<u64>,
    /// Bytes or apps that there are.
    pub total: Option<u64>,
    /// `current` of `total`, from 0 to 100.
    pub percent: Option<u64>,
}

/// `container`: what Compose does with a container.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ContainerEvent {
    pub job: JobId,
    pub at: Timestamp,
    /// The container's name.
    pub container: String,
    /// In Compose's words, such as `Recreated`.
    pub status: String,
}

/// `hook`: a command of the owner's begins.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HookEvent {
    pub job: JobId,
    pub at: Timestamp,
    /// `before` or `after` the update.
    pub hook: String,
    pub service: String,
}

/// `warning`: what a person should read, though the job goes on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WarningEvent {
    pub job: JobId,
    pub at: Timestamp,
    pub message: String,
}

/// `apps_changed`: lists of apps may look different; ask for them again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AppsChangedEvent {
    pub at: Timestamp,
}

/// `resync`: too much was missed; ask for the state anew.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ResyncEvent {
    pub at: Timestamp,
}
