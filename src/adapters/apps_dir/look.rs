//! A look at the whole apps directory, of which the next reads again only what has changed.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;

use super::files::{Fingerprint, Stamp};
use super::{AppDir, AppDirError, AppsDir, GLANCE};
use crate::adapters::disk::{Hangs, PATIENCE};
use crate::adapters::task;
use crate::domain::app::AppName;

/// How long after a change another one may have left the same time on a file: clocks of file systems tick.
const TICK_NANOSECONDS: i64 = 50_000_000;
/// How many apps are looked at at once when one of them has kept the others waiting.
const AT_ONCE: usize = 16;

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
    /// The file that the manifest names as a picture: it need not lie beside the manifest.
    picture: Option<(PathBuf, Option<Stamp>)>,
    /// When it was read.
    at: i64,
}

/// An app and the state of its files.
#[derive(Debug, Clone)]
pub struct FoundApp {
    pub dir: AppDir,
    pub files: Arc<Fingerprint>,
    /// Why nothing can be seen of it now: `dir` and `files` are what was seen last, if anything was.
    pub hangs: Option<Hangs>,
}

impl FoundApp {
    /// How long it has been hanging makes no difference.
    fn is_as(&self, other: &Self) -> bool {
        self.dir == other.dir && self.files == other.files && self.hangs.is_some() == other.hangs.is_some()
    }
}

impl AppsLook {
    /// The apps, by name.
    pub fn apps(&self) -> impl Iterator<Item = &FoundApp> {
        self.entries.values().filter_map(|entry| entry.app.as_ref())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        let entry = name.parse::<AppName>().ok().and_then(|name| self.entries.get(&name));
        entry.is_some_and(|entry| entry.app.is_some())
    }

    /// The state of an app's files, if they are still as they were. Blocks as long as the file system does.
    pub(super) fn files_of(&self, app: &AppDir) -> Option<Arc<Fingerprint>> {
        let entry = self.entries.get(&app.name)?;
        let found = entry.app.as_ref().filter(|found| found.dir == *app)?;
        entry.still_holds(&app.path).then(|| found.files.clone())
    }

    /// Looks at the apps now, and waits for one that hangs no longer than [`GLANCE`].
    pub(super) async fn at(apps: &AppsDir, before: Option<Arc<Self>>) -> Result<Self, AppDirError> {
        let own = apps.clone();
        let names = apps.disk.run(&apps.root, move || own.names()).await??;
        let sweep = Arc::new(Sweep::new(apps.clone(), before.clone(), names.iter().cloned().collect()));
        let swept = task::blocking("looking at the apps", {
            let sweep = sweep.clone();
            move || sweep.go_on()
        });
        // One that panicked has logged it, and left the rest.
        let _ = tokio::time::timeout(GLANCE, swept).await;
        let mut entries = sweep.end();
        let left = names.into_iter().filter(|name| !entries.contains_key(name)).collect::<Vec<_>>();
        let left = futures_util::stream::iter(left).map(|name| Entry::look(apps, name, before.as_deref()));
        entries.extend(left.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        let version = match &before {
            Some(before) if before.entries.len() == entries.len() && before.apps_are(&entries) => before.version,
            Some(before) => before.version + 1,
            None => 0,
        };
        Ok(Self { entries, version })
    }

    fn apps_are(&self, entries: &BTreeMap<AppName, Arc<Entry>>) -> bool {
        let same = |one: &Entry, other: &Entry| match (&one.app, &other.app) {
            (Some(one), Some(other)) => one.is_as(other),
            (None, None) => true,
            _ => false,
        };
        self.entries.iter().zip(entries).all(|((name, entry), (other_name, other))| {
            name == other_name && (Arc::ptr_eq(entry, other) || same(entry, other))
        })
    }

    fn entry(&self, name: &AppName, path: &Path) -> Option<Arc<Entry>> {
        self.entries.get(name).filter(|known| known.still_holds(path)).cloned()
    }
}

/// One thread that looks at one app after the other: while none hangs, nothing is quicker.
struct Sweep {
    apps: AppsDir,
    before: Option<Arc<AppsLook>>,
    state: Mutex<Swept>,
}

#[derive(Default)]
struct Swept {
    left: VecDeque<AppName>,
    entries: BTreeMap<AppName, Arc<Entry>>,
}

impl Sweep {
    fn new(apps: AppsDir, before: Option<Arc<AppsLook>>, left: VecDeque<AppName>) -> Self {
        Self { apps, before, state: Mutex::new(Swept { left, ..Swept::default() }) }
    }

    /// Looks at what is left. Leaves out what somebody else calls on at the moment: it may hang.
    fn go_on(&self) {
        while let Some(name) = { self.lock().left.pop_front() } {
            let path = self.apps.root.join(name.as_str());
            let Some(_place) = self.apps.disk.try_enter(&path) else { continue };
            let known = self.before.as_ref().and_then(|before| before.entry(&name, &path));
            let entry = known.unwrap_or_else(|| Arc::new(Entry::read(&self.apps, &name, &path)));
            self.lock().entries.insert(name, entry);
        }
    }

    /// What was seen so far. The thread ends with the app that it is at.
    fn end(&self) -> BTreeMap<AppName, Arc<Entry>> {
        std::mem::take(&mut *self.lock()).entries
    }

    fn lock(&self) -> MutexGuard<'_, Swept> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Looks at one app, which may hang.
    async fn look(apps: &AppsDir, name: AppName, before: Option<&AppsLook>) -> (AppName, Arc<Self>) {
        let path = apps.root.join(name.as_str());
        let known = before.and_then(|before| before.entries.get(&name)).cloned();
        let read = {
            let (apps, name, path, known) = (apps.clone(), name.clone(), path.clone(), known.clone());
            move || match known.filter(|known| known.still_holds(&path)) {
                Some(known) => known,
                None => Arc::new(Self::read(&apps, &name, &path)),
            }
        };
        let entry = match (apps.disk.run_within(GLANCE, &path, read).await, known) {
            (Ok(entry), _) => entry,
            // A disk that spins up has not changed.
            (Err(hangs), Some(known)) if hangs.after < PATIENCE => known,
            (Err(hangs), known) => Arc::new(Self::hanging(apps, &name, known.as_deref(), hangs)),
        };
        (name, entry)
    }

    /// An app that hangs, with what is known of it. What was no app before is none now.
    fn hanging(apps: &AppsDir, name: &AppName, known: Option<&Self>, hangs: Hangs) -> Self {
        let app = match known {
            Some(known) => known.app.clone().map(|app| FoundApp { hangs: Some(hangs), ..app }),
            None => {
                let dir = apps.unseen(name.clone());
                let files = Arc::new(Fingerprint::unseen(&dir.path));
                Some(FoundApp { dir, files, hangs: Some(hangs) })
            }
        };
        Self { stamp: None, app, picture: None, at: 0 }
    }

    fn read(apps: &AppsDir, name: &AppName, path: &Path) -> Self {
        // Read first: what changes meanwhile makes it out of date at once.
        let (at, stamp) = (now(), Stamp::of(path));
        let app = apps.open(name.clone()).map(|dir| {
            let files = Arc::new(Fingerprint::of(&dir.path));
            FoundApp { dir, files, hangs: None }
        });
        let picture = app.as_ref().and_then(|app| {
            let file = path.join(app.dir.manifest.as_ref()?.as_ref().ok()?.icon.as_ref()?);
            let stamp = Stamp::of(&file);
            Some((file, stamp))
        });
        Self { stamp, app, picture, at }
    }

    /// Returns whether nothing in it has changed, and nothing can have changed unseen.
    fn still_holds(&self, path: &Path) -> bool {
        if self.app.as_ref().is_some_and(|app| app.hangs.is_some()) {
            return false;
        }
        let files = self.app.as_ref().and_then(|app| app.files.changed());
        let picture = self.picture.as_ref().and_then(|(_, stamp)| stamp.map(Stamp::changed));
        let changed = files.max(self.stamp.map(Stamp::changed)).max(picture);
        let settled = changed.is_none_or(|changed| (self.at - changed).abs() > TICK_NANOSECONDS);
        settled
            && Stamp::of(path) == self.stamp
            && self.app.as_ref().is_none_or(|app| app.files.still_holds())
            && self.picture.as_ref().is_none_or(|(file, stamp)| Stamp::of(file) == *stamp)
    }
}

/// The time, as the times of files are told.
fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
