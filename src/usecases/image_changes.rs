//! Changes of names through Docker's own routes: no update that uses a name sees it change, and what changes for an app or
//! a container is recorded.

mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::context::Host;
use super::image_record::ImageChange;
use crate::adapters::lock::ImageLocks;
use crate::domain::image::{ImageId, ImageReference};
use crate::error::Error;
pub(super) use state::Change;
use state::Meaning;
pub use state::Meanings;

/// How long to wait for an update that uses the image. The client waits without a word.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// The names that a request can give another meaning. What else changes meanwhile is somebody else's doing.
pub enum NameScope {
    /// One reference.
    One(ImageReference),
    /// All tags of this reference's repository: a pull without a tag.
    Repository(ImageReference),
    /// Every name of the image that this name or ID means.
    Removal(String),
    /// Those that an archive brings; the engine names them as it goes. See [`Host::lock_used`].
    Archive,
    /// Any that no container uses; only images without names where not `named`.
    Prune { named: bool },
}

/// A change under way: what names meant before it.
pub struct ImageWatch {
    before: Before,
    by: String,
    started_at: Timestamp,
    started: Instant,
    locks: OnceLock<ImageLocks>,
}

enum Before {
    /// Each name by itself.
    Names(Vec<Known>),
    /// All names of the store.
    Store(NameScope, BTreeMap<String, ImageId>),
}

/// A name whose meaning is remembered for as long as a change of it is under way.
struct Known {
    name: String,
    meaning: Arc<Meaning>,
}

impl Host {
    /// Notes what the names of `scope` mean, before `by` changes them. No update uses them until the watch ends; changes
    /// of one name through Docker's routes do not wait for each other.
    ///
    /// # Errors
    /// `busy` where an update has been using a name for a minute.
    pub async fn watch_images(&self, scope: NameScope, by: String) -> Result<ImageWatch, Error> {
        let (started_at, started, locks) = (Timestamp::now(), Instant::now(), OnceLock::new());
        let before = match scope {
            NameScope::One(reference) => {
                let name = reference.canonical();
                hold(&locks, self.lock_names([name.clone()].into()).await?);
                // A digest means the same for ever.
                let names = if reference.digest().is_some() { Vec::new() } else { vec![name] };
                Before::Names(self.know(names).await?)
            }
            NameScope::Removal(image) => {
                let (names, held) = self.lock_all_names(&image).await?;
                hold(&locks, held);
                Before::Names(self.know(names).await?)
            }
            NameScope::Repository(ref reference) => {
                hold(&locks, self.lock_names([reference.canonical()].into()).await?);
                Before::Store(scope, self.engine.names().await?)
            }
            NameScope::Prune { named } => {
                if named {
                    hold(&locks, self.lock_names(self.used_names().await?).await?);
                }
                Before::Store(scope, self.engine.names().await?)
            }
            NameScope::Archive => Before::Store(scope, self.engine.names().await?),
        };
        Ok(ImageWatch { before, by, started_at, started, locks })
    }

    /// Locks every name in use for `watch`: an archive has all its names in it, and says them when they are given.
    pub async fn lock_used(&self, watch: &ImageWatch) -> Result<(), Error> {
        hold(&watch.locks, self.lock_names(self.used_names().await?).await?);
        Ok(())
    }

    /// Records what has changed since for apps and containers; `loaded` are the names that came with an archive. A failure
    /// is told in the log only: the change is made.
    pub async fn record_images(&self, watch: &ImageWatch, loaded: &[String]) {
        self.wrote();
        let recorded = async {
            let changes = self.changes(watch, loaded).await?;
            self.record(ImageChange {
                changes,
                by: &watch.by,
                started_at: watch.started_at,
                took: watch.started.elapsed(),
            })
            .await
        };
        if let Err(error) = recorded.await {
            tracing::error!(%error, by = watch.by, "a change of images could not be written down");
        }
    }

    async fn changes(&self, watch: &ImageWatch, loaded: &[String]) -> Result<BTreeMap<String, Change>, Error> {
        match &watch.before {
            Before::Store(scope, before) => Ok(changed(scope, before, &self.engine.names().await?, loaded)),
            Before::Names(names) => {
                let now = names.iter().map(|known| self.engine.meaning(&known.name));
                let now = futures_util::future::try_join_all(now).await?;
                let changes = names.iter().zip(now).filter_map(|(known, now)| {
                    let change = known.meaning.found(now)?;
                    Some((known.name.clone(), change))
                });
                Ok(changes.collect())
            }
        }
    }

    async fn lock_names(&self, names: BTreeSet<String>) -> Result<ImageLocks, Error> {
        Ok(self.service.locks.images_shared(&self.name, &names, LOCK_DEADLINE).await?)
    }

    /// Locks all names of an image; the name may have come to mean another one until they were locked.
    async fn lock_all_names(&self, image: &str) -> Result<(Vec<String>, ImageLocks), Error> {
        let mut names = self.engine.names_of(image).await?;
        loop {
            let locks = self.lock_names(names.iter().cloned().collect()).await?;
            let now = self.engine.names_of(image).await?;
            if locks.covers(&now.iter().cloned().collect()) {
                return Ok((now, locks));
            }
            names = now;
        }
    }

    /// Looks at what names mean, where no other change of them is under way.
    async fn know(&self, names: Vec<String>) -> Result<Vec<Known>, Error> {
        let known = names.into_iter().map(|name| async move {
            let known = Known { meaning: self.meanings.of(&name), name };
            // Before anybody changes it: whoever is first looks, and the others wait for that.
            known.meaning.before.get_or_try_init(|| self.engine.meaning(&known.name)).await?;
            Ok(known)
        });
        futures_util::future::try_join_all(known).await
    }
}

fn hold(cell: &OnceLock<ImageLocks>, locks: ImageLocks) {
    // Each watch locks once; were it to lock again, the former locks would go on to hold.
    let _ = cell.set(locks);
}

/// The differences between two looks at the whole store that are of `scope`.
fn changed(
    scope: &NameScope,
    before: &BTreeMap<String, ImageId>,
    now: &BTreeMap<String, ImageId>,
    loaded: &[String],
) -> BTreeMap<String, Change> {
    let loaded = loaded.iter().filter_map(|name| name.parse::<ImageReference>().ok());
    let loaded: BTreeSet<_> = loaded.map(|name| name.canonical()).collect();
    let concerned = |name: &str| match scope {
        NameScope::One(reference) | NameScope::Repository(reference) => {
            name.strip_prefix(&reference.repository()).is_some_and(|rest| rest.starts_with(':'))
        }
        NameScope::Archive => loaded.contains(name),
        NameScope::Removal(_) | NameScope::Prune { .. } => !now.contains_key(name),
    };
    let names: BTreeSet<_> = before.keys().chain(now.keys()).filter(|name| concerned(name)).collect();
    let changes = names.into_iter().map(|name| (name, (before.get(name), now.get(name))));
    let different = changes.filter(|(_, (before, now))| before != now);
    different.map(|(name, (before, now))| (name.clone(), (before.cloned(), now.cloned()))).collect()
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
            let loaded: Vec<_> = loaded.iter().map(|name| (*name).to_owned()).collect();
            let changed = changed(&scope, &before, &now, &loaded).into_keys();
            changed.map(|name| name.trim_start_matches("docker.io/library/").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(changed(NameScope::Repository("a:1".parse().unwrap()), &[]), ["a:1", "a:2"]);
        assert_eq!(changed(NameScope::Archive, &["ab:1", "same:1", "<none>"]), ["ab:1"]);
        assert_eq!(changed(NameScope::Prune { named: true }, &[]), ["gone:1"]);
    }

    #[tokio::test]
    async fn of_several_changes_at_once_each_difference_is_found_once() {
        let id = |id: &str| Some(ImageId::new(id));
        let meanings = Meanings::default();
        let (one, other) = (meanings.of("a:1"), meanings.of("a:1"));
        one.before.set(id("old")).unwrap();
        assert_eq!(one.found(id("new")), Some((id("old"), id("new"))));
        assert_eq!(other.found(id("new")), None);
        assert_eq!(other.found(None), Some((id("new"), None)));
        drop((one, other));
        // Nobody changes it any more: the next one looks again.
        assert!(meanings.of("a:1").before.get().is_none());
    }
}
