//! One job as its own work sees it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::handle::{Handle, cancelled};
use crate::adapters::lock::{ImageLocks, JobLock};
use crate::domain::job::Step;
use crate::error::Error;
use crate::usecases::context::Host;
use crate::usecases::mutex::lock_of;

/// How long the images that apps share may be held by another job.
const IMAGE_LOCK_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// What a job's work is given: itself, and the lock of what it works on.
pub struct Running {
    pub host: Arc<Host>,
    pub handle: Arc<Handle>,
    pub(super) lock: JobLock,
}

impl Running {
    /// Notes that the job is at `step`, durably, and tells it.
    pub async fn step(&self, step: Step) -> Result<(), Error> {
        self.host.service.store.set_step(&self.handle.id, step).await?;
        self.tell_step(step);
        Ok(())
    }

    /// Tells that the job is at `step`, which something else has written down.
    pub fn tell_step(&self, step: Step) {
        tracing::info!(step = ?step, "job step");
        self.handle.state.send_modify(|job| job.step = Some(step));
        self.host.changed();
        self.host.service.events.tell(Some(&self.handle.id), "step", serde_json::json!({ "step": step }));
    }

    /// Publishes how far a part of the work is, and counts it where it is a layer with a size.
    pub fn tell_progress(&self, data: Value) {
        let bytes = data["current"].as_u64().unwrap_or_default();
        if let (Some(layer), Some(total)) = (data["layer"].as_str(), data["total"].as_u64()) {
            lock_of(&self.handle.progress).layer(layer, bytes, total);
        }
        self.host.service.events.tell(Some(&self.handle.id), "progress", data);
    }

    /// Publishes that one more app has been asked about, and counts it.
    pub fn tell_count(&self, app: &str, done: u64, all: u64) {
        lock_of(&self.handle.progress).count(done, all);
        let percent = done.min(all) * 100 / all.max(1);
        let data = json!({"status": "asked", "app": app, "current": done, "total": all, "percent": percent});
        self.host.service.events.tell(Some(&self.handle.id), "progress", data);
    }

    /// The app's lock as the standard input of a child, which holds it on if this process is killed.
    pub fn lock_for_child(&self) -> std::process::Stdio {
        self.lock.as_stdin().unwrap_or_else(|error| {
            tracing::warn!(%error, "the lock cannot be shared with Compose; it would be freed if Restock were killed");
            std::process::Stdio::null()
        })
    }

    /// Waits for `work`, unless somebody cancels the job first.
    pub async fn unless_cancelled<T, E: Into<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        tokio::select! {
            done = work => done.map_err(Into::into),
            () = self.handle.cancelled().cancelled() => Err(cancelled()),
        }
    }

    /// Locks images that apps share against everybody else who pulls them or gives them another meaning.
    pub async fn image_locks(&self, references: &BTreeSet<String>) -> Result<ImageLocks, Error> {
        self.unless_cancelled(self.host.service.locks.images(&self.host.name, references, IMAGE_LOCK_DEADLINE)).await
    }

    /// Tells something that the owner should know though the job goes on.
    pub fn warn(&self, message: &str) {
        tracing::warn!("{message}");
        self.host.service.events.tell(Some(&self.handle.id), "warning", serde_json::json!({ "message": message }));
    }
}
