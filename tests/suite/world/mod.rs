//! A world for one test: a directory with apps and data, a fake engine, a fake `docker`, and a Restock between them.

mod app;
mod client;
mod docker;
mod engine;
mod log;
mod program;
mod restock;
mod shapes;
mod stream;
mod things;
mod verbs;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

pub use app::App;
pub use client::Reply;
pub use docker::Docker;
pub use engine::{Engine, Fault};
pub use log::Log;
pub use program::Program;
pub use restock::{Options, Service};
pub use shapes::mismatch;
pub use stream::Event;
pub use things::{Container, Life, image_id};
pub use verbs::UNIT;

use crate::systemd::Bus;

/// The image of the app `web`.
pub const WEB: &str = "registry.test/web:1";
/// Longer than anything here takes on a busy machine; the schedule's keeper may sleep for half a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// Everything outside Restock. Goes away with the test.
pub struct World {
    dir: tempfile::TempDir,
    pub engine: Engine,
    pub docker: Docker,
    systemd: Systemd,
}

/// The bus of a world that has one, and systemd's manager on it; the last one that came counts.
#[derive(Default)]
struct Systemd {
    bus: OnceLock<Bus>,
    manager: Mutex<Option<zbus::Connection>>,
}

impl World {
    /// No apps, an engine that has nothing, a `docker` that works.
    pub fn new() -> Self {
        // In memory where there is such a place: the database waits for the disk after each write.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("restock-suite-").tempdir_in(place).unwrap();
        std::fs::create_dir(dir.path().join("apps")).unwrap();
        let docker = Docker::new(dir.path());
        docker.install();
        let engine = Engine::start(dir.path().join("engine.sock"), dir.path().join("done"));
        Self { dir, engine, docker, systemd: Systemd::default() }
    }

    /// Lets a systemd be there that restarts the units of containers; called again after it has gone, it comes back.
    pub async fn systemd_comes(&self) {
        let bus = self.systemd.bus.get_or_init(|| Bus::start(self.dir.path()));
        let manager = bus.serve(self.engine.restarts_units()).await;
        *self.systemd.manager.lock().unwrap() = Some(manager);
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// An app that is yet to be described.
    pub fn app(&self, name: &str) -> App<'_> {
        App::new(self, name)
    }

    /// An app `web` with one service `web` that runs [`WEB`].
    pub fn with_web() -> Self {
        let world = Self::new();
        world.app("web").service("web", WEB).running();
        world
    }

    /// The same, and [`WEB`] means a new image since.
    pub fn with_new_web() -> Self {
        let world = Self::with_web();
        world.engine.publish(WEB, "web new");
        world
    }

    /// A Restock with nothing remembered, or with what one before it in this world has left.
    pub async fn restock(&self) -> Service {
        self.restock_with(Options::default()).await
    }

    pub async fn restock_with(&self, options: Options) -> Service {
        Service::start(self, options).await
    }
}

/// Waits for what has to happen, and fails the test when it does not.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits until `look` gives something.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// Waits until asking gives what is wanted.
pub async fn until_asked(what: &str, mut look: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A list of apps without the time at which each was seen.
pub fn without_times(mut apps: serde_json::Value) -> serde_json::Value {
    for app in apps.as_array_mut().unwrap() {
        app.as_object_mut().unwrap().remove("seen_at");
    }
    apps
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
