//! How changes of containers end: what apps, standalone containers and units have in common.

use std::time::Instant;

use super::context::Restock;
use super::jobs::Running;
use crate::adapters::store::BadImage;
use crate::domain::app::ServiceName;
use crate::domain::hold::BadCause;
use crate::domain::image::ImageId;
use crate::domain::job::{JobResult, Outcome, ServiceChange, Step};
use crate::error::{Attempt, Error, Kind};

/// What became of an update that failed.
pub(super) enum Ended {
    LeftAsItIs,
    TakenBack,
    /// Taking it back failed as well, for this reason.
    Lost(String),
}

impl Ended {
    /// The failed update of `name`, as its caller is told.
    pub fn error(self, name: &str, reason: &str, services: Vec<ServiceChange>) -> Error {
        let (outcome, code, message) = match self {
            Self::LeftAsItIs => (
                Outcome::Failed,
                "update_failed",
                format!("the update of `{name}` failed and was left as it is: {reason}"),
            ),
            Self::TakenBack => (
                Outcome::RolledBack,
                "rolled_back",
                format!("the update of `{name}` failed and was taken back, what ran before runs again: {reason}"),
            ),
            Self::Lost(second) => (
                Outcome::Failed,
                "rollback_failed",
                format!("the update of `{name}` failed ({reason}), and so did taking it back: {second}"),
            ),
        };
        Error { attempt: Some(Attempt { outcome, services }), ..Error::new(Kind::Internal, code, message) }
    }
}

/// The code of a job that has to be gone on with later: it is not written down as ended.
pub(super) const UNSETTLED: &str = "unsettled";

/// What keeps a job from going on now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    /// The engine went away, and has not come back.
    EngineGone,
    /// Compose has used up its time and goes on: it is never ended half-way.
    ComposeGoesOn,
}

/// The job on `name` stays open until what is in its way has passed.
pub(super) fn unsettled(name: &str, later: Later) -> Error {
    let (message, hint) = match later {
        Later::EngineGone => (
            format!("the Docker engine went away in the middle of the job on `{name}`"),
            "start the Docker engine: the job is finished or taken back as soon as it answers",
        ),
        Later::ComposeGoesOn => (
            format!("Docker Compose has not come to its end in the job on `{name}`, and is left alone"),
            "look at what the containers wait for: the job is finished or taken back when Compose has ended",
        ),
    };
    Error::new(Kind::Unavailable, UNSETTLED, message).hint(hint)
}

impl Running {
    /// Begins to take back what was done. That must not fail because it cannot be written down.
    pub(super) async fn begin_rollback(&self) {
        if let Err(error) = self.step(Step::RollBack).await {
            tracing::error!(%error, "the step could not be written down; the rollback goes on");
        }
    }

    /// Remembers the new image of a change as one that did not work.
    pub(super) async fn remember_bad(
        &self,
        owner: &str,
        service: &ServiceName,
        reference: &str,
        image: &ImageId,
        digests: Vec<String>,
    ) {
        self.remember_as(BadCause::Failed, owner, service, reference, image, digests).await;
    }

    /// Remembers an image that somebody goes back from.
    pub(super) async fn remember_left(
        &self,
        owner: &str,
        service: &ServiceName,
        reference: &str,
        image: &ImageId,
        digests: Vec<String>,
    ) {
        self.remember_as(BadCause::RolledBack, owner, service, reference, image, digests).await;
    }

    async fn remember_as(
        &self,
        cause: BadCause,
        owner: &str,
        service: &ServiceName,
        reference: &str,
        image: &ImageId,
        digests: Vec<String>,
    ) {
        let bad = BadImage {
            owner: owner.to_owned(),
            service: service.clone(),
            reference: reference.to_owned(),
            image_id: image.clone(),
            digests,
            job: self.handle.id.clone(),
            since: jiff::Timestamp::now(),
            cause,
            config: None,
        };
        self.remember(&bad).await;
    }

    /// Remembers an image as one that schedules leave alone.
    pub(super) async fn remember(&self, bad: &BadImage) {
        if let Err(error) = self.restock.store.remember_bad(bad).await {
            tracing::error!(%error, "the bad image could not be remembered; a schedule may try it again");
        }
    }

    /// Forgets what this job has remembered: the version that was to be left runs on.
    pub(super) async fn forget_left(&self) {
        if let Err(error) = self.restock.store.forget_bad_of(&self.handle.id).await {
            tracing::error!(%error, "an image that runs on is still remembered as one that was left");
        }
    }

    /// The result of a job that another process had begun and this one has brought to an end.
    pub(super) fn interrupted(&self, services: Vec<ServiceChange>, what: &str, started: Instant) -> JobResult {
        JobResult {
            updated: !services.is_empty(),
            services,
            warnings: vec![format!("the process ended in the middle of this job; {what}")],
            ..JobResult::of(self.handle.id.clone(), Outcome::Interrupted, started.elapsed())
        }
    }
}

impl Restock {
    /// The image that a service runs now works, whatever was thought of an earlier one.
    pub(super) async fn forget_bad(&self, owner: &str, service: &ServiceName) {
        if let Err(error) = self.store.forget_bad(owner, service).await {
            tracing::error!(%error, "an image that works now is still remembered as bad");
        }
    }
}
