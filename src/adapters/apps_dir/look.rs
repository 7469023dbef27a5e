//! A look at the whole apps directory, of which the next reads again only what has changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::files::{Fingerprint, Stamp};
use super::{AppDir, AppDirError, AppsDir};
use crate::domain::app::AppName;

/// How long after a change another one may have left the same time on a file: clocks of file systems tick.
const TICK_NANOSECONDS: i64 = 50_000_000;

/// The apps at one moment.
#[derive(Debug)]
pub struct AppsLook {
    entries: BTreeMap<AppName, Arc<Entry>>,
    /// Another number for other apps or other files of theirs.
    pub version: u64,
}

/// A directory among the apps, which need not be one.
#[derive(Debug)]
struct Entry {
    stamp: Option<Stamp>,
    app: Option<FoundApp>,
    /// When it was read.
    at: i64,
}

/// An app and the state of its files.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundApp {
    pub dir: AppDir,
    pub files: Arc<Fingerprint>,
}

impl AppsLook {
    /// The apps, by name.
    pub fn apps(&self) -> impl Iterator<Item = &FoundApp> {
        self.entries.values().filter_map(|entry| entry.app.as_ref())
    }

    /// The state of an app's files, if they are still as they were.
    pub(super) fn files_of(&self, app: &AppDir) -> Option<Arc<Fingerprint>> {
        let entry = self.entries.get(&app.name)?;
        let found = entry.app.as_ref().filter(|found| found.dir == *app)?;
        entry.still_holds(&app.path).then(|| found.files.clone())
    }

    /// Looks at the apps now. Blocks as long as the file system does.
    pub(super) fn at(apps: &AppsDir, before: Option<&Self>) -> Result<Self, AppDirError> {
        let names = apps.names()?;
        let mut entries = BTreeMap::new();
        for name in names {
            let path = apps.root().join(name.as_str());
            let known = before.and_then(|before| before.entries.get(&name));
            let entry = match known.filter(|known| known.still_holds(&path)) {
                Some(known) => known.clone(),
                None => Arc::new(Entry::read(apps, &name, &path)),
            };
            entries.insert(name, entry);
        }
        let version = match before {
            Some(before) if before.entries.len() == entries.len() && before.apps_are(&entries) => before.version,
            Some(before) => before.version + 1,
            None => 0,
        };
        Ok(Self { entries, version })
    }

    fn apps_are(&self, entries: &BTreeMap<AppName, Arc<Entry>>) -> bool {
        self.entries.iter().zip(entries).all(|((name, entry), (other_name, other))| {
            name == other_name && (Arc::ptr_eq(entry, other) || entry.app == other.app)
        })
    }
}

impl Entry {
    fn read(apps: &AppsDir, name: &AppName, path: &Path) -> Self {
        // Read first: what changes meanwhile makes it out of date at once.
        let (at, stamp) = (now(), Stamp::of(path));
        let app = apps.open(name.clone()).map(|dir| {
            let files = Arc::new(Fingerprint::of(&dir.path));
            FoundApp { dir, files }
        });
        Self { stamp, app, at }
    }

    /// Whether nothing in it has changed, and nothing can have changed unseen.
    fn still_holds(&self, path: &Path) -> bool {
        let files = self.app.as_ref().and_then(|app| app.files.changed());
        let changed = files.max(self.stamp.map(Stamp::changed));
        let settled = changed.is_none_or(|changed| (self.at - changed).abs() > TICK_NANOSECONDS);
        settled && Stamp::of(path) == self.stamp && self.app.as_ref().is_none_or(|app| app.files.still_holds())
    }
}

/// The time, as the times of files are told.
fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
