//! The pull of one image by the engine itself, told layer by layer.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::jobs::Running;
use crate::adapters::compose::pull_problem;
use crate::adapters::engine::{EngineError, PullEvent};
use crate::domain::image::ImageReference;
use crate::error::{Error, Kind};

/// How often a layer's progress is told: enough for a bar to move smoothly.
const PROGRESS: Duration = Duration::from_millis(200);

/// Pulls an image, and tells its layers as they come. `authfile` has the login, in the place of Docker's own file.
pub(super) async fn pull(
    running: &Running,
    reference: &ImageReference,
    platform: Option<&str>,
    authfile: Option<&Path>,
) -> Result<(), Error> {
    let login = running.host.service.freshness.registry().engine_login(reference, authfile).await;
    let mut last = (Instant::now(), String::new());
    let told = |event: PullEvent| {
        let key = format!("{:?} {}", event.layer, event.status);
        if key == last.1 && last.0.elapsed() < PROGRESS {
            return;
        }
        last = (Instant::now(), key);
        let mut data = json!({ "status": event.status, "image": reference.familiar() });
        if let Some(layer) = event.layer {
            data["layer"] = layer.into();
        }
        if let (Some(current), Some(total)) = (event.current, event.total) {
            (data["current"], data["total"]) = (current.into(), total.into());
            data["percent"] = (current.min(total) * 100 / total).into();
        }
        running.tell_progress(data);
    };
    let pulling = async {
        running.host.engine.pull(reference, platform, login, told).await.map_err(|error| match error {
            EngineError::Status { message, .. } => {
                let problem = pull_problem(&message);
                let message = format!("the pull of {reference} failed: {message}");
                Error { kind: Kind::Upstream, ..Error::new(problem.code(), message).hint(problem.hint()) }
            }
            other => other.into(),
        })
    };
    running.unless_cancelled(pulling).await
}
