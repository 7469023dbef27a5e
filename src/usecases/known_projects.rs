//! What is known of the apps' projects: remembered with the state of their files, also across restarts, and renewed
//! behind the back of those that ask.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{OnceCell, Semaphore};

use super::context::Host;
use crate::adapters::apps_dir::{AppDir, Fingerprint};
use crate::adapters::compose::{Model, ProjectCall};
use crate::adapters::store::RememberedProject;
use crate::adapters::task;
use crate::domain::app::AppName;
use crate::error::{Code, Error, Kind};

/// How long a resolved project is believed that is read from files which cannot all be seen: an included file may have a
/// variable in its name, or lie on another machine.
const BELIEVED: Duration = Duration::from_secs(60);
/// The same where every file is seen: then only another Compose could resolve it differently.
const BELIEVED_COMPLETE: Duration = Duration::from_secs(10 * 60);
/// How long a mistake is believed at first, and twice as long each further time: it may have been in a file that nobody
/// sees, and its owner, who has mended it, looks again.
const MISTAKE_BELIEVED: Duration = Duration::from_secs(1);

/// An app, and the profiles that are switched on.
pub(super) type Call = (AppName, BTreeSet<String>);
/// A project, or why there is none.
pub(super) type Resolved = Arc<Result<Model, Error>>;

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
    known: Mutex<HashMap<Call, Known>>,
    /// Calls for which Compose is asked now: whoever comes meanwhile waits for that answer.
    asking: Mutex<HashMap<Call, Arc<tokio::sync::Mutex<()>>>>,
    /// Calls that are being renewed behind an answer.
    renewing: Mutex<HashSet<Call>>,
    /// Calls whose answer the database does not have.
    unwritten: Mutex<HashSet<Call>>,
    /// Each answer that is not known costs a child; more at once would starve the machine.
    children: Semaphore,
    version: AtomicU64,
    loaded: OnceCell<()>,
}

struct Known {
    files: Arc<Fingerprint>,
    /// `None` for longer ago than this machine has been up.
    at: Option<Instant>,
    resolved: Resolved,
    /// How often Compose has failed since it last gave a project.
    failures: u32,
    /// The values of its variables are known, so that they can be taken out of texts. The database does not have them.
    has_secrets: bool,
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
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whatever is known, however the files are now.
    fn known(&self, call: &Call, dir: &AppDir) -> Option<Resolved> {
        let known = lock(&self.known);
        let known = known.get(call).filter(|known| known.files.is_of(&dir.path))?;
        Some(known.resolved.clone())
    }

    fn recall(&self, call: &Call, dir: &AppDir, files: &Fingerprint, trust: Trust) -> Option<Resolved> {
        let known = lock(&self.known);
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

    /// Whether what is known may be out of date.
    fn is_due(&self, call: &Call, files: &Fingerprint) -> bool {
        let known = lock(&self.known);
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
    fn remember(&self, call: &Call, files: Arc<Fingerprint>, resolved: Result<Model, Error>) -> Resolved {
        let mut known = lock(&self.known);
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
                    lock(&self.unwritten).insert(call.clone());
                }
                Known { files, at, resolved: resolved.clone(), failures, has_secrets: true }
            }
        };
        known.insert(call.clone(), kept);
        resolved
    }

    fn flight(&self, call: &Call) -> Arc<tokio::sync::Mutex<()>> {
        lock(&self.asking).entry(call.clone()).or_default().clone()
    }
}

impl Known {
    fn is_younger(&self, age: Duration) -> bool {
        age == Duration::MAX || self.at.is_some_and(|at| at.elapsed() < age)
    }
}

impl Host {
    /// A project as far as `trust` allows from what is known, else as Compose resolves it.
    pub(super) async fn project(&self, app: &AppDir, call: &Call, trust: Trust) -> Result<Resolved, Error> {
        self.resolver.loaded.get_or_init(|| self.load_projects()).await;
        if trust == Trust::Known
            && let Some(known) = self.resolver.known(call, app)
        {
            return Ok(known);
        }
        let files = match self.apps.fingerprint(app).await {
            Ok(files) => files,
            // One app that hangs is broken; what is done with others goes on.
            Err(error) => return Ok(Arc::new(Err(Error::from(error).app(&app.name)))),
        };
        match self.resolver.recall(call, app, &files, trust) {
            Some(resolved) => Ok(resolved),
            None => self.ask_compose(app, call, trust).await,
        }
    }

    /// Renews what may be out of date of a project whose files are as in `files`, without anybody waiting for it.
    pub(super) fn renew_project(self: &Arc<Self>, app: &AppDir, files: &Fingerprint, call: Call) {
        let is_due = self.resolver.is_due(&call, files);
        if !is_due || !lock(&self.resolver.renewing).insert(call.clone()) {
            return;
        }
        let (host, app) = (self.clone(), app.clone());
        task::spawn("renewing a project", async move {
            tokio::select! {
                renewed = host.ask_compose(&app, &call, Trust::Recent) => if let Err(error) = renewed {
                    tracing::debug!(app = %app.name, %error, "a project could not be renewed");
                },
                () = host.service.stopping.cancelled() => {}
            }
            let others = {
                let mut renewing = lock(&host.resolver.renewing);
                renewing.remove(&call);
                renewing.len()
            };
            // All together: each transaction is synced.
            if others == 0 {
                host.write_projects().await;
            }
        });
    }

    async fn ask_compose(&self, app: &AppDir, call: &Call, trust: Trust) -> Result<Resolved, Error> {
        let flight = self.resolver.flight(call);
        let _alone = flight.lock().await;
        // Looked at before Compose is: what is edited meanwhile makes the answer out of date at once.
        let files = match self.apps.fingerprint(app).await {
            Ok(files) => files,
            Err(error) => return Ok(Arc::new(Err(Error::from(error).app(&app.name)))),
        };
        if let Some(resolved) = self.resolver.recall(call, app, &files, trust) {
            return Ok(resolved);
        }
        let _child =
            self.resolver.children.acquire().await.map_err(|closed| Error::new(Code::Defect, closed.to_string()))?;
        let compose = self.compose().await?;
        let project_call = ProjectCall::new(&app.path).with_profiles(call.1.iter().cloned());
        let resolved = super::resolve::config(&compose, app, &project_call).await;
        Ok(self.resolver.remember(call, files, resolved))
    }

    /// Starts from what the database remembers.
    async fn load_projects(&self) {
        let remembered = match self.service.store.remembered_projects::<Fingerprint>(&self.name).await {
            Ok(remembered) => remembered,
            Err(error) => return tracing::warn!(%error, "what was known of the projects cannot be read"),
        };
        let mut known = lock(&self.resolver.known);
        for RememberedProject { app, profiles, files, outcome, resolved_at } in remembered {
            let age = Timestamp::now().duration_since(resolved_at).unsigned_abs();
            let broken = |reason| Error::new(Code::InvalidComposeFile, reason).app(&app);
            let failures = u32::from(outcome.is_err());
            let resolved = outcome
                .map(|(project, fingerprint)| Model { project, secrets: Vec::new(), fingerprint })
                .map_err(broken);
            let at = Instant::now().checked_sub(age);
            let entry =
                Known { files: Arc::new(files), at, resolved: Arc::new(resolved), failures, has_secrets: false };
            known.entry((app, profiles)).or_insert(entry);
        }
    }

    /// Writes down what the database does not have yet, for the next start; forgets apps that are gone.
    pub(super) async fn write_projects(&self) {
        let unwritten = std::mem::take(&mut *lock(&self.resolver.unwritten));
        if unwritten.is_empty() {
            return;
        }
        let names: BTreeSet<_> = match self.apps.list().await {
            Ok(apps) => apps.into_iter().map(|app| app.name).collect(),
            Err(error) => return tracing::debug!(%error, "what is known of the projects is not written down"),
        };
        let projects = {
            let mut known = lock(&self.resolver.known);
            known.retain(|(app, _), _| names.contains(app));
            lock(&self.resolver.asking).retain(|(app, _), _| names.contains(app));
            let row = |call: &Call| {
                let entry = known.get(call)?;
                Some(RememberedProject {
                    app: call.0.clone(),
                    profiles: call.1.clone(),
                    files: entry.files.as_ref().clone(),
                    outcome: match entry.resolved.as_ref() {
                        Ok(model) => Ok((model.project.clone(), model.fingerprint.clone())),
                        Err(error) if error.kind == Kind::BrokenApp => Err(error.message.clone()),
                        Err(_) => return None,
                    },
                    resolved_at: Timestamp::now(),
                })
            };
            unwritten.iter().filter_map(row).collect()
        };
        if let Err(error) = self.service.store.remember_projects(&self.name, projects, names).await {
            tracing::warn!(%error, "what is known of the projects could not be written down");
        }
    }
}

fn is_same(before: &Result<Model, Error>, now: &Result<Model, Error>) -> bool {
    match (before, now) {
        (Ok(before), Ok(now)) => before.project == now.project && before.fingerprint == now.fingerprint,
        (Err(before), Err(now)) => before.message == now.message,
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
