//! Who gave a reference that apps or containers use another meaning, through Docker's own routes: it goes to the history,
//! because at the next `up` the container runs something else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::context::Restock;
use crate::adapters::lock::ImageLocks;
use crate::domain::app::ServiceName;
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::job::{Job, JobId, JobResult, Kind, OneOrMany, Outcome, ServiceChange, State, Target};
use crate::error::Error;

/// How long to wait for an update that uses the image. The client waits without a word.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// What names meant before a change.
pub struct ImageWatch {
    /// Only names of this repository can change; `None` where that is not known beforehand.
    scope: Option<ImageReference>,
    by: String,
    before: BTreeMap<String, ImageId>,
    started_at: Timestamp,
    started: Instant,
    _locks: Option<ImageLocks>,
}

/// What a name meant, and means now.
type Change = (Option<ImageId>, Option<ImageId>);

impl Restock {
    /// Notes what names mean, before `by` changes those of the repository of `scope`, or any. No update uses that
    /// reference until the watch ends.
    pub async fn watch_images(&self, scope: Option<ImageReference>, by: String) -> Result<ImageWatch, Error> {
        let _locks = match &scope {
            Some(reference) => Some(self.locks.images(&[reference.canonical()].into(), LOCK_DEADLINE).await?),
            None => None,
        };
        let before = self.engine.names().await?;
        Ok(ImageWatch { scope, by, before, started_at: Timestamp::now(), started: Instant::now(), _locks })
    }

    /// Writes to the history what has changed since for apps and containers. That it cannot is told in the log only: the
    /// change is made.
    pub async fn record_images(&self, watch: ImageWatch) {
        if let Err(error) = self.try_record(&watch).await {
            tracing::error!(%error, by = watch.by, "a change of images could not be written down");
        }
    }

    async fn try_record(&self, watch: &ImageWatch) -> Result<(), Error> {
        let changed = watch.changed(&self.engine.names().await?);
        if changed.is_empty() {
            return Ok(());
        }
        let mut by_target = BTreeMap::<_, (Target, Vec<ServiceChange>)>::new();
        for (target, service, tag) in self.image_users().await? {
            let canonical = tag.parse::<ImageReference>().map(|reference| reference.canonical());
            let Some((from, to)) = canonical.ok().and_then(|canonical| changed.get(&canonical)) else { continue };
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
        for (target, changes) in by_target.into_values() {
            let job = watch.job(target, changes);
            tracing::info!(job.id = %job.id, target = job.target.name(), by = watch.by, "an image in use was changed");
            self.store.insert(&job).await?;
            self.metrics.ended(job.kind, Outcome::Done, watch.started.elapsed());
            self.events.tell(Some(&job.id), "result", serde_json::json!(job));
        }
        Ok(())
    }

    /// Which image references are in use: of all apps, also of those without containers, and of all other containers.
    async fn image_users(&self) -> Result<Vec<(Target, ServiceName, String)>, Error> {
        let (mut users, mut projects) = (Vec::new(), BTreeSet::new());
        for dir in self.apps.list()? {
            let resolved = self.resolve_unchanged(&dir).await?;
            // A broken app is shown as one; what it uses nobody knows.
            let Ok(model) = resolved.as_ref() else { continue };
            projects.insert(model.project.name.clone());
            let services = model.project.services.iter();
            users.extend(services.map(|(name, service)| (dir.target(), name.clone(), service.image.clone())));
        }
        let snapshot = self.snapshot().await?;
        for container in &snapshot.containers {
            let labels = container.compose.as_ref();
            if labels.is_none_or(|labels| !projects.contains(&labels.project)) {
                let target = Target::Container(container.name.clone());
                users.push((target, ServiceName::new(&container.name), snapshot.references[&container.id].clone()));
            }
        }
        Ok(users)
    }
}

impl ImageWatch {
    fn changed(&self, now: &BTreeMap<String, ImageId>) -> BTreeMap<String, Change> {
        let prefix = self.scope.as_ref().map(|scope| format!("{}:", scope.repository()));
        let concerned = |name: &&String| prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix));
        let names: BTreeSet<_> = self.before.keys().chain(now.keys()).filter(concerned).collect();
        let changes = names.into_iter().map(|name| (name, (self.before.get(name), now.get(name))));
        let different = changes.filter(|(_, (before, now))| before != now);
        different.map(|(name, (before, now))| (name.clone(), (before.cloned(), now.cloned()))).collect()
    }

    fn job(&self, target: Target, services: Vec<ServiceChange>) -> Job {
        let id = JobId::new(ulid::Ulid::new());
        let result = JobResult {
            updated: false,
            services,
            outcome: Outcome::Done,
            recreated: Vec::new(),
            skipped: Vec::new(),
            job: id.clone(),
            duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            warnings: Vec::new(),
            report: None,
        };
        Job {
            id,
            kind: Kind::ImageChange,
            target,
            state: State::Finished,
            step: None,
            outcome: Some(Outcome::Done),
            result: Some(result),
            error: None,
            by: Some(self.by.clone()),
            started_at: self.started_at,
            finished_at: Some(Timestamp::now()),
        }
    }
}
