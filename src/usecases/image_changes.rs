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

/// Which names a request can give another meaning. What else changes meanwhile is somebody else's doing.
pub enum Scope {
    /// All of this reference's repository: a pull may be one of all tags.
    Repository(ImageReference),
    /// Those that an archive brings; the engine tells them as it goes.
    Archive,
    /// Any, which mean nothing any more afterwards.
    Removal,
}

/// What names meant before a change.
pub struct ImageWatch {
    scope: Scope,
    by: String,
    before: BTreeMap<String, ImageId>,
    started_at: Timestamp,
    started: Instant,
    _locks: Option<ImageLocks>,
}

/// What a name meant, and means now.
type Change = (Option<ImageId>, Option<ImageId>);

impl Restock {
    /// Notes what names mean, before `by` changes those of `scope`. No update uses its reference until the watch ends.
    pub async fn watch_images(&self, scope: Scope, by: String) -> Result<ImageWatch, Error> {
        let _locks = match &scope {
            Scope::Repository(reference) => {
                Some(self.locks.images(&[reference.canonical()].into(), LOCK_DEADLINE).await?)
            }
            Scope::Archive | Scope::Removal => None,
        };
        let before = self.engine.names().await?;
        Ok(ImageWatch { scope, by, before, started_at: Timestamp::now(), started: Instant::now(), _locks })
    }

    /// Writes to the history what has changed since for apps and containers; `loaded` are the names that came with an
    /// archive. That it cannot is told in the log only: the change is made.
    pub async fn record_images(&self, watch: ImageWatch, loaded: &[String]) {
        if let Err(error) = self.try_record(&watch, loaded).await {
            tracing::error!(%error, by = watch.by, "a change of images could not be written down");
        }
    }

    async fn try_record(&self, watch: &ImageWatch, loaded: &[String]) -> Result<(), Error> {
        let changed = watch.changed(&self.engine.names().await?, loaded);
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
    fn changed(&self, now: &BTreeMap<String, ImageId>, loaded: &[String]) -> BTreeMap<String, Change> {
        let loaded = loaded.iter().filter_map(|name| name.parse::<ImageReference>().ok());
        let loaded: BTreeSet<_> = loaded.map(|name| name.canonical()).collect();
        let concerned = |name: &str| match &self.scope {
            Scope::Repository(reference) => {
                name.strip_prefix(&reference.repository()).is_some_and(|rest| rest.starts_with(':'))
            }
            Scope::Archive => loaded.contains(name),
            Scope::Removal => !now.contains_key(name),
        };
        let names: BTreeSet<_> = self.before.keys().chain(now.keys()).filter(|name| concerned(name)).collect();
        let changes = names.into_iter().map(|name| (name, (self.before.get(name), now.get(name))));
        let different = changes.filter(|(_, (before, now))| before != now);
        different.map(|(name, (before, now))| (name.clone(), (before.cloned(), now.cloned()))).collect()
    }

    fn job(&self, target: Target, services: Vec<ServiceChange>) -> Job {
        let id = JobId::new(ulid::Ulid::new());
        let result = JobResult { services, ..JobResult::of(id.clone(), Outcome::Done, self.started.elapsed()) };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, ImageId> {
        pairs.iter().map(|(name, id)| (format!("docker.io/library/{name}"), ImageId::new(*id))).collect()
    }

    #[test]
    fn what_somebody_else_changes_meanwhile_is_not_counted() {
        let before = names(&[("a:1", "old"), ("ab:1", "old"), ("gone:1", "old"), ("same:1", "old")]);
        let now = names(&[("a:1", "new"), ("a:2", "new"), ("ab:1", "new"), ("same:1", "old")]);
        let changed = |scope, loaded: &[&str]| {
            let before = before.clone();
            let (started_at, started) = (Timestamp::now(), Instant::now());
            let watch = ImageWatch { scope, by: "me".into(), before, started_at, started, _locks: None };
            let loaded: Vec<_> = loaded.iter().map(|name| (*name).to_owned()).collect();
            let changed = watch.changed(&now, &loaded).into_keys();
            changed.map(|name| name.trim_start_matches("docker.io/library/").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(changed(Scope::Repository("a:1".parse().unwrap()), &[]), ["a:1", "a:2"]);
        assert_eq!(changed(Scope::Archive, &["ab:1", "same:1", "<none>"]), ["ab:1"]);
        assert_eq!(changed(Scope::Removal, &[]), ["gone:1"]);
    }
}
