//! The update of every container that was made from one image, and what their progress is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::context::Host;
use super::jobs::{Running, Ticket};
use super::list_images::authfile_among;
use super::pull::pull;
use super::update_container::{ContainerOptions, Pull};
use crate::domain::container::Container;
use crate::domain::host::{Subject, Target};
use crate::domain::image::ImageReference;
use crate::domain::job::{Job, JobId, JobResult, Kind, Outcome, State, Step};
use crate::error::{Code, Error};

/// The progress of a container's update, in the shape of the docker-image-watcher API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LayerProgress {
    pub layer: String,
    pub current: u64,
    pub total: u64,
    pub percent: u64,
    /// The layer's state, or `connecting`, `recreating`, `error: …`.
    pub status: String,
}

impl Host {
    /// Starts the update of a group: one pull, then each container, Compose containers through their apps.
    pub async fn start_group_update(
        self: &Arc<Self>,
        image: ImageReference,
        members: Vec<Container>,
    ) -> Result<Ticket, Error> {
        let target = self.target(Subject::Group(image.familiar()));
        self.start_job(
            Kind::ContainerUpdate,
            target,
            move |running| async move { update(&running, &image, &members).await },
        )
        .await
    }

    /// What the update of a container is doing; `None` when none runs and the last one did not fail.
    pub async fn progress(&self, text: &str) -> Result<Option<LayerProgress>, Error> {
        let (container, snapshot) = self.container(text).await?;
        let app = match container.compose {
            Some(_) => self.app_of(&container).await.ok(),
            None => None,
        };
        let own = self.target(app.map_or_else(|| Subject::Container(container.name.clone()), Subject::App));
        // A group's standalone members are pulled for by the group's own job, before theirs begin.
        let reference = snapshot.references[&container.id].parse::<ImageReference>();
        let group =
            reference.ok().map(|reference| self.target(Subject::Group(reference.with_effective_tag().familiar())));
        let targets: Vec<_> = [own].into_iter().chain(group).collect();
        let running = self.service.jobs.running();
        let running_for = |target: &Target| running.iter().find(|job| job.target == *target);
        if let Some(job) = targets.iter().find_map(running_for) {
            return Ok(Some(self.layer_of(&job.id)));
        }
        let mut last: Option<Job> = None;
        for target in &targets {
            let job = self.service.store.last_job(target).await?.filter(|job| job.state == State::Finished);
            last = last.into_iter().chain(job).max_by(|a, b| a.id.cmp(&b.id));
        }
        let error = last.and_then(|job| job.error).map(|error| error.message);
        Ok(error.map(|message| LayerProgress { status: format!("error: {message}"), ..LayerProgress::connecting() }))
    }

    fn layer_of(&self, job: &JobId) -> LayerProgress {
        let (replay, _) = self.service.events.listen(Some(0));
        let last = replay.events.into_iter().rev().filter(|event| event.job.as_ref() == Some(job));
        for event in last {
            match event.event {
                "progress" => return LayerProgress::of(&event.data),
                "container" => return LayerProgress { status: "recreating".into(), ..LayerProgress::connecting() },
                "step" if event.data["step"] == "apply" || event.data["step"] == "roll_back" => {
                    return LayerProgress { status: "recreating".into(), ..LayerProgress::connecting() };
                }
                _ => {}
            }
        }
        LayerProgress::connecting()
    }
}

impl LayerProgress {
    fn connecting() -> Self {
        Self { layer: String::new(), current: 0, total: 0, percent: 0, status: "connecting".into() }
    }

    fn of(data: &Value) -> Self {
        let number = |key: &str| data[key].as_u64().unwrap_or_default();
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        Self {
            layer: text("layer"),
            current: number("current"),
            total: number("total"),
            percent: number("percent"),
            status: text("status"),
        }
    }
}

async fn update(running: &Running, image: &ImageReference, members: &[Container]) -> Result<JobResult, Error> {
    let started = Instant::now();
    let host = &running.host;
    let (of_apps, alone): (Vec<_>, Vec<_>) = members.iter().partition(|container| container.compose.is_some());
    let mut pull_each = Pull::Always;
    let origins = host.snapshot().await?.origins.clone();
    let guarded = running.guard(alone.iter().copied()).await?;
    if !alone.is_empty() && origins.followed(&image.canonical()).is_ok() {
        running.step(Step::Pull).await?;
        let authfile = authfile_among(&alone);
        let _lock = running.image_locks(&[image.canonical()].into()).await?;
        pull(running, image, None, authfile.as_deref()).await?;
        if let Some(pulled) = host.engine.image(&image.canonical()).await? {
            pull_each = Pull::UnlessItIs(pulled.id);
        }
    }
    running.handle.begin_touching()?;
    let mut failures = Vec::new();
    let mut updated = false;
    let mut note = |name: &str, ended: Result<Job, Error>| match ended {
        Ok(job) => {
            updated |= job.result.as_ref().is_some_and(|result| result.updated);
            failures.extend(job.error.map(|error| format!("{name}: {}", error.message)));
        }
        Err(error) => failures.push(format!("{name}: {error}")),
    };
    let options = ContainerOptions { pull: pull_each, ..ContainerOptions::default() };
    for container in alone {
        let ended = host.service.run_to_end(|| host.start_container_update(&container.id, options.clone())).await;
        note(&container.name, ended);
    }
    let mut apps = BTreeSet::new();
    for container in of_apps {
        match host.app_of(container).await {
            Ok(app) => drop(apps.insert(app)),
            Err(error) => note(&container.name, Err(error)),
        }
    }
    for app in apps {
        let ended = host.service.run_to_end(|| host.start_update(&app, Default::default())).await;
        note(&app, ended);
    }
    if !failures.is_empty() {
        return Err(Error::new(Code::GroupFailed, failures.join("; ")));
    }
    running.release(guarded).await;
    Ok(JobResult {
        updated,
        ..JobResult::of(
            running.handle.id.clone(),
            if updated { Outcome::Updated } else { Outcome::Unchanged },
            started.elapsed(),
        )
    })
}
