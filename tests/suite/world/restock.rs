//! The service under test, in the test's own process.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use restock::adapters::apps_dir::AppsDir;
use restock::adapters::clock::Clock;
use restock::adapters::compose::Locator;
use restock::adapters::engine::Engine;
use restock::adapters::lock::Locks;
use restock::adapters::notifier::Notifier;
use restock::adapters::registry::{Registry, RegistryOptions};
use restock::adapters::store::Store;
use restock::adapters::systemd::Systemd;
use restock::config::{CommonOptions, DockerApi, Environment, Secret, Settings};
use restock::domain::access::Rights;
use restock::domain::host::HostName;
use restock::http::{Http, router};
use restock::usecases::access::{Access, read_keys};
use restock::usecases::freshness::Freshness;
use restock::usecases::notify::{Notifying, Pace};
use restock::usecases::{Host, HostParts, Limits, Parts, Waits};

use serde_json::Value;

use super::client::Request;
use super::{World, soon, until};

/// What a test may want to be different.
pub struct Options {
    pub pull_timeout: Duration,
    pub health_timeout: Duration,
    /// How long protecting names stay; `None` means as long as by default.
    pub keep: Option<Duration>,
    pub concurrency: usize,
    pub version_lookup: bool,
    pub allowed_hosts: Vec<String>,
    /// The lines of a file of keys; none leave everything open.
    pub keys: &'static str,
    /// User and password.
    pub login: Option<(&'static str, &'static str)>,
    /// When passes may apply something.
    pub window: Option<String>,
    /// What windows, minimum ages and schedules go by.
    pub clock: Clock,
    pub docker_api: DockerApi,
    /// The key `notify` of the file of options.
    pub notify: Value,
    /// The container that Restock runs in.
    pub own_container: Option<String>,
    pub waits: Waits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pull_timeout: Duration::from_secs(60),
            health_timeout: Duration::from_millis(500),
            keep: None,
            concurrency: 4,
            version_lookup: true,
            allowed_hosts: Vec::new(),
            keys: "",
            login: None,
            window: None,
            clock: Clock::system(),
            docker_api: DockerApi::Full,
            notify: Value::Null,
            own_container: None,
            waits: Waits {
                engine: Duration::from_secs(60),
                writes: Duration::from_millis(300),
                retry: Duration::from_millis(20),
                look: Duration::from_millis(20),
            },
        }
    }
}

/// A Restock with its routes. Two of them in one world are like two processes: they share files only.
pub struct Service {
    /// The use cases on the one host.
    pub host: Arc<Host>,
    pub http: Http,
    routes: Router,
    /// It ends in the middle of its work, as when it is killed.
    dies: bool,
}

impl Service {
    pub(super) async fn start(world: &World, options: Options) -> Self {
        let settings = settings(world, &options.notify);
        let store = Store::open(&settings.data).unwrap();
        let registry = Registry::new(RegistryOptions::new(settings.docker_config()));
        let parts = Parts {
            limits: Limits {
                health_timeout: options.health_timeout,
                settle: Duration::ZERO,
                keep: options.keep.unwrap_or(settings.keep),
                cleanup: settings.cleanup,
                pull_timeout: options.pull_timeout,
                concurrency: options.concurrency,
                window: options.window.map(|window| window.parse().unwrap()),
                zone: settings.timezone.clone(),
                waits: options.waits,
            },
            clock: options.clock,
            locks: Locks::new(&settings.data),
            freshness: Freshness::new(registry, store.clone())
                .await
                .unwrap()
                .with_version_lookup(options.version_lookup),
            notifying: Notifying::new(
                Notifier::new(settings.notify.clone(), settings.child_environment().clone()),
                Pace { first: Duration::from_millis(20), ..Pace::default() },
            ),
            store: store.clone(),
        };
        let local = HostParts {
            name: HostName::local(),
            engine: Engine::new(settings.docker_host.clone()).unwrap(),
            apps: AppsDir::new(HostName::local(), settings.apps.clone()),
            locator: Locator::new(settings.child_environment().clone()),
            systemd: Systemd::new(settings.dbus.clone()),
            own_container: options.own_container,
        };
        let restock = restock::usecases::Restock::new(restock::usecases::Service::new(parts), vec![local]);
        let host = restock.local().unwrap().clone();
        let login = options.login.map(|(user, password)| (user.to_owned(), Secret::new(password)));
        let access = Access::new(login, keys(world, options.keys), store);
        let http = Http::new(restock.clone(), access, options.allowed_hosts, options.docker_api);
        Self { host, routes: router(http.clone()), http, dies: false }
    }

    /// The same, which may be ended in the middle of its work.
    pub fn that_dies(mut self) -> Self {
        self.dies = true;
        self
    }

    pub fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    pub fn delete(&self, path: &str) -> Request {
        self.request("DELETE", path)
    }

    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.routes.clone(), method, path)
    }

    /// Starts an update and gives its job's ID at once.
    pub async fn start_update(&self, app: &str) -> String {
        let reply = self.post(&format!("/api/apps/{app}/update")).header("prefer", "respond-async").await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// Waits for the end of a job, and gives it.
    pub async fn finished(&self, id: &str) -> Value {
        soon("the end of a job", async {
            loop {
                let job = self.get(&format!("/api/jobs/{id}")).await.ok();
                if job["state"] == "finished" {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    /// Waits until no job runs.
    pub async fn idle(&self) {
        until("the end of every job", || self.host.service.jobs.running().is_empty().then_some(())).await;
    }
}

/// A test leaves no work behind: what still ran would use directories that are gone.
impl Drop for Service {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.dies {
            assert!(self.host.service.jobs.running().is_empty(), "a job still runs");
        }
    }
}

fn keys(world: &World, lines: &str) -> Vec<([u8; 32], Rights)> {
    if lines.is_empty() {
        return Vec::new();
    }
    let file = world.path("keys");
    std::fs::write(&file, lines).unwrap();
    read_keys(&file).unwrap()
}

/// The settings as the program itself would have found them, in an environment with much that is not for children.
fn settings(world: &World, notify: &Value) -> Settings {
    let environment = Environment::from_iter([
        ("PATH", world.path("bin").display().to_string()),
        ("HOME", world.path("home").display().to_string()),
        ("DOCKER_CONFIG", world.path("home/.docker").display().to_string()),
        ("HTTPS_PROXY", "http://proxy:3128".into()),
        ("COMPOSE_FILE", "other.yaml".into()),
        ("RESTOCK_PASSWORD", "swordfish".into()),
        ("TAG", "leaked".into()),
    ]);
    // JSON is YAML as well.
    std::fs::write(world.path("restock.yaml"), serde_json::json!({ "notify": notify }).to_string()).unwrap();
    let text = |path: &str| Some(world.path(path).display().to_string());
    let options = CommonOptions {
        apps: text("apps"),
        data: text("data"),
        docker_host: Some(format!("unix://{}", world.path("engine.sock").display())),
        config: text("restock.yaml"),
        dbus: Some(format!("unix:path={}", world.path("bus").display())),
        ..CommonOptions::default()
    };
    Settings::resolve(&options, &environment).unwrap()
}
