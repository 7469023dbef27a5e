//! The apps as they were last seen.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::Timestamp;

use crate::adapters::apps_dir::AppDir;
use crate::adapters::compose::Model;
use crate::adapters::flights::Flights;
use crate::domain::app::AppState;
use crate::domain::check::AppStatus;
use crate::domain::container::Container;
use crate::domain::freshness::Status;
use crate::domain::overview::{CurrentJob, Held, LastJob, WayBack};
use crate::domain::schedule::Schedule;
use crate::error::Error;
use crate::usecases::inventory::Snapshot;
use crate::usecases::policies::AppPolicy;

/// An app, its project and its containers.
pub struct App {
    pub dir: AppDir,
    pub state: AppState,
    /// The project, or why it is broken.
    pub model: Result<Model, Error>,
    /// The containers of the project, or of the directory where the project is broken.
    pub containers: Vec<Container>,
    /// Why nothing can be done with it, when its containers were made from another directory.
    pub foreign: Option<String>,
}

/// An app, with what is known besides its files and containers.
pub struct SeenApp {
    pub app: App,
    /// Last known freshness; `None` before the first check.
    pub status: Option<Status>,
    /// The same of its services, with what an update would bring.
    pub found: AppStatus,
    /// Which policy holds for it, and who said so.
    pub policy: AppPolicy,
    /// Why a pass would not apply what is newer.
    pub held: Option<Held>,
    /// The next pass that can apply something to it.
    pub next: Option<Timestamp>,
    /// What was done to it last.
    pub last: Option<LastJob>,
    /// What is being done to it.
    pub job: Option<CurrentJob>,
    /// What a rollback would bring back.
    pub can_roll_back: Option<WayBack>,
}

impl App {
    /// Its own schedule, as its Compose file says it.
    pub fn schedule(&self) -> Option<&Schedule> {
        let settings = self.model.as_ref().ok()?.project.settings.as_ref().ok()?;
        settings.schedule.as_ref()
    }
}

/// All apps at one moment.
pub struct Look {
    pub apps: Vec<SeenApp>,
    /// Another for each look.
    pub serial: u64,
    pub made_at: Timestamp,
    /// The engine's containers and images that it shows.
    pub(in crate::usecases) snapshot: Arc<Snapshot>,
    pub(super) made_from: MadeFrom,
    pub(super) at: Instant,
}

/// Everything that a look shows, as far as this process knows when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MadeFrom {
    /// The engine's containers and images.
    pub(super) snapshot: u64,
    /// Which apps there are, and the state of their files.
    pub(super) apps: u64,
    /// What the files mean.
    pub(super) projects: u64,
    /// What registries have.
    pub(super) freshness: u64,
    /// Policies that are set here, and the jobs that run here.
    pub(super) settings: u64,
}

/// The last look at the apps of one engine.
#[derive(Default)]
pub struct Looks {
    pub(super) flights: Flights<Result<Arc<Look>, Error>>,
    pub(super) last: Mutex<Option<Arc<Look>>>,
    pub(super) settings: AtomicU64,
}

impl Look {
    /// An app by its name.
    pub fn app(&self, name: &str) -> Option<&SeenApp> {
        self.apps.iter().find(|seen| seen.app.dir.name.as_str() == name)
    }

    /// When the engine last said what is shown, to within a minute.
    pub fn seen_at(&self) -> Timestamp {
        self.snapshot.seen_at
    }

    /// What the look depends on besides settings and registries: what is changed outside.
    pub(super) fn outside(&self) -> (u64, u64) {
        (self.made_from.apps, self.made_from.projects)
    }
}
