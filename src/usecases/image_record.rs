//! Who gave a reference that apps or containers use another meaning: it goes to the history, because at the next `up` the
//! container runs something else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::context::Host;
use super::image_changes::Change;
use crate::adapters::task;
use crate::domain::app::ServiceName;
use crate::domain::host::Target;
use crate::domain::image::ImageReference;
use crate::domain::job::{Job, JobId, JobResult, Kind, OneOrMany, Outcome, ServiceChange, State};
use crate::error::Error;

/// What one request has changed, by name.
pub(super) struct ImageChange<'a> {
    pub changes: BTreeMap<String, Change>,
    pub by: &'a str,
    pub started_at: Timestamp,
    pub took: Duration,
}

impl Host {
    /// Records a change in the history of each app and container that uses one of the names.
    pub(super) async fn record(&self, change: ImageChange<'_>) -> Result<(), Error> {
        if change.changes.is_empty() {
            return Ok(());
        }
        let mut by_target = BTreeMap::<_, (Target, Vec<ServiceChange>)>::new();
        for (target, service, tag) in self.image_users().await? {
            let canonical = tag.parse::<ImageReference>().map(|reference| reference.canonical());
            let Some((from, to)) = canonical.ok().and_then(|name| change.changes.get(&name)) else { continue };
            let key = (target.kind(), target.name().to_owned());
            by_target.entry(key).or_insert_with(|| (target, Vec::new())).1.push(ServiceChange {
                service,
                from: OneOrMany::of(from.iter().cloned().collect()),
                to: to.as_ref().map(|to| to.as_str().to_owned()).unwrap_or_default(),
                tag,
                version_from: None,
                version_to: None,
                source: None,
            });
        }
        for (target, services) in by_target.into_values() {
            let job = change.job(target, services);
            tracing::info!(job.id = %job.id, target = job.target.name(), by = change.by, "an image in use was changed");
            self.service.store.insert(&job).await?;
            self.service.metrics.ended(job.kind, Outcome::Done, change.took);
            self.service.events.tell(Some(&job.id), "result", serde_json::json!(job));
        }
        Ok(())
    }

    /// The complete names that apps and containers use.
    pub(super) async fn used_names(&self) -> Result<BTreeSet<String>, Error> {
        let users = self.image_users().await?.into_iter();
        let references = users.filter_map(|(_, _, tag)| tag.parse::<ImageReference>().ok());
        Ok(references.map(|reference| reference.canonical()).collect())
    }

    /// The image references in use: of all apps, also of those without containers, and of all other containers.
    async fn image_users(&self) -> Result<Vec<(Target, ServiceName, String)>, Error> {
        let (mut users, mut projects) = (Vec::new(), BTreeSet::new());
        for dir in self.apps.list().await? {
            let resolved = self.resolve_unchanged(&dir).await?;
            // A broken app is shown as one; what it uses nobody knows.
            let Ok(model) = resolved.as_ref() else { continue };
            projects.insert(model.project.name.clone());
            let services = model.project.services.iter();
            users.extend(services.map(|(name, service)| (dir.target(), name.clone(), service.image.clone())));
        }
        // Not a snapshot: the change itself has made the last one stale, and a new one lists every image.
        let containers = self.engine.containers().await?;
        let references = self.references(&containers).await?;
        for container in &containers {
            let labels = container.compose.as_ref();
            if labels.is_none_or(|labels| !projects.contains(&labels.project)) {
                let target = self.container_target(container);
                users.push((target, ServiceName::new(&container.name), references[&container.id].clone()));
            }
        }
        Ok(users)
    }
}

impl ImageChange<'_> {
    fn job(&self, target: Target, services: Vec<ServiceChange>) -> Job {
        let id = JobId::new(ulid::Ulid::new());
        let result = JobResult { services, ..JobResult::of(id.clone(), Outcome::Done, self.took) };
        Job {
            id,
            kind: Kind::ImageChange,
            target,
            state: State::Finished,
            step: None,
            outcome: Some(Outcome::Done),
            result: Some(result),
            error: None,
            blocked: None,
            by: Some(self.by.to_owned()),
            request_id: task::request().map(|id| id.to_string()),
            started_at: self.started_at,
            finished_at: Some(Timestamp::now()),
        }
    }
}
