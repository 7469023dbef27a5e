//! The projects that are known.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore};

use crate::adapters::apps_dir::{AppDir, Fingerprint};
use crate::adapters::compose::Model;
use crate::domain::app::AppName;
use crate::error::{Error, Kind};
use crate::usecases::mutex::lock_of;

/// How long a resolved project is believed that is read from files which cannot all be seen: an included file may have a
/// variable in its name, or lie on another machine.
pub(super) const BELIEVED: Duration = Duration::from_secs(60);

/// The same where every file is seen: then only another Compose could resolve it differently.
pub(super) const BELIEVED_COMPLETE: Duration = Duration::from_secs(10 * 60);

/// How long a mistake is believed at first, and twice as long each further time: it may have been in a file that nobody
/// sees, and its owner, who has mended it, looks again.
pub(super) const MISTAKE_BELIEVED: Duration = Duration::from_secs(1);

/// An app, and the profiles that are switched on.
pub(in crate::usecases) type Call = (AppName, BTreeSet<String>);

/// A project, or why there is none.
pub(in crate::usecases) type Resolved = Arc<Result<Model, Error>>;

/// How far what is known of a project is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Whatever is known is the answer; what may be out of date is renewed behind it.
    Known,
    /// What is known, however long ago, while the app's files are the same.
    SameFiles,
    /// The same, for a minute: what acts on the answer may have to see secrets, and changes in files that nobody sees.
    Recent,
}

/// Resolved projects.
pub struct Resolver {
    pub(super) known: Mutex<HashMap<Call, Known>>,
    /// Calls for which Compose is asked now: whoever comes meanwhile waits for that answer.
    pub(super) asking: Mutex<HashMap<Call, Arc<tokio::sync::Mutex<()>>>>,
    /// Calls that are being renewed behind an answer.
    pub(super) renewing: Mutex<HashSet<Call>>,
    /// Calls whose answer the database does not have.
    pub(super) unwritten: Mutex<HashSet<Call>>,
    /// Each answer that is not known costs a child; more at once would starve the machine.
    pub(super) children: Semaphore,
    pub(super) version: AtomicU64,
    pub(super) loaded: OnceCell<()>,
}

pub(super) struct Known {
    pub(super) files: Arc<Fingerprint>,
    /// `None` for longer ago than this machine has been up.
    pub(super) at: Option<Instant>,
    pub(super) resolved: Resolved,
    /// How often Compose has failed since it last gave a project.
    pub(super) failures: u32,
    /// The values of its variables are known, so that they can be taken out of texts. The database does not have them.
    pub(super) has_secrets: bool,
}

impl Resolver {
    /// Knows nothing yet; lets at most `children` children run at once.
    pub fn new(children: usize) -> Self {
        Self {
            known: Mutex::default(),
            asking: Mutex::default(),
            renewing: Mutex::default(),
            unwritten: Mutex::default(),
            children: Semaphore::new(children.max(1)),
            version: AtomicU64::new(0),
            loaded: OnceCell::new(),
        }
    }

    /// Grows whenever a project turns out to be another one.
    pub(in crate::usecases) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whatever is known, however the files are now.
    pub(super) fn known(&self, call: &Call, dir: &AppDir) -> Option<Resolved> {
        let known = lock_of(&self.known);
        let known = known.get(call).filter(|known| known.files.is_of(&dir.path))?;
        Some(known.resolved.clone())
    }

    pub(super) fn recall(&self, call: &Call, dir: &AppDir, files: &Fingerprint, trust: Trust) -> Option<Resolved> {
        let known = lock_of(&self.known);
        let known = known.get(call).filter(|known| known.files.is_of(&dir.path))?;
        let is_mistake = known.resolved.as_ref().as_ref().is_err();
        let passes = known.resolved.as_ref().as_ref().is_err_and(|error| error.kind != Kind::BrokenApp);
        let age = match trust {
            Trust::Known => return Some(known.resolved.clone()),
            Trust::SameFiles if is_mistake => MISTAKE_BELIEVED,
            Trust::SameFiles => Duration::MAX,
            Trust::Recent if is_mistake => MISTAKE_BELIEVED,
            Trust::Recent if !known.has_secrets => return None,
            Trust::Recent => BELIEVED,
        };
        (!passes && *known.files == *files && known.is_younger(age)).then(|| known.resolved.clone())
    }

    /// Returns whether what is known may be out of date.
    pub(super) fn is_due(&self, call: &Call, files: &Fingerprint) -> bool {
        let known = lock_of(&self.known);
        let Some(known) = known.get(call) else { return true };
        let believed = if known.failures > 0 {
            MISTAKE_BELIEVED.saturating_mul(1 << (known.failures - 1).min(6))
        } else if files.is_complete() {
            BELIEVED_COMPLETE
        } else {
            BELIEVED
        };
        *known.files != *files || !known.is_younger(believed)
    }

    /// Takes in what Compose said. That it could not be asked, or not to the end, is no reason to forget a project.
    pub(super) fn remember(&self, call: &Call, files: Arc<Fingerprint>, resolved: Result<Model, Error>) -> Resolved {
        let mut known = lock_of(&self.known);
        let before = known.remove(call);
        let failures = match &resolved {
            Ok(_) => 0,
            Err(_) => before.as_ref().map_or(0, |before| before.failures) + 1,
        };
        let passes = resolved.as_ref().is_err_and(|error| error.kind != Kind::BrokenApp);
        let same = before.as_ref().is_some_and(|before| is_same(&before.resolved, &resolved));
        let same_files = before.as_ref().is_some_and(|before| before.files == files);
        let resolved = Arc::new(resolved);
        let at = Some(Instant::now());
        let kept = match before {
            Some(before) if passes && before.resolved.is_ok() => Known { at, failures, ..before },
            _ => {
                if !same {
                    self.version.fetch_add(1, Ordering::AcqRel);
                }
                if !(passes || same && same_files) {
                    lock_of(&self.unwritten).insert(call.clone());
                }
                Known { files, at, resolved: resolved.clone(), failures, has_secrets: true }
            }
        };
        known.insert(call.clone(), kept);
        resolved
    }

    pub(super) fn flight(&self, call: &Call) -> Arc<tokio::sync::Mutex<()>> {
        lock_of(&self.asking).entry(call.clone()).or_default().clone()
    }
}

impl Known {
    pub(super) fn is_younger(&self, age: Duration) -> bool {
        age == Duration::MAX || self.at.is_some_and(|at| at.elapsed() < age)
    }
}

pub(super) fn is_same(before: &Result<Model, Error>, now: &Result<Model, Error>) -> bool {
    match (before, now) {
        (Ok(before), Ok(now)) => before.project == now.project && before.fingerprint == now.fingerprint,
        (Err(before), Err(now)) => before.message == now.message,
        _ => false,
    }
}
