//! A `docker` that does what a scenario says, an engine that remembers what it was asked, and Restock between them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use restock::adapters::apps_dir::AppsDir;
use restock::adapters::compose::Locator;
use restock::adapters::engine::{DockerHost, Engine};
use restock::adapters::lock::Locks;
use restock::adapters::registry::{Registry, RegistryOptions};
use restock::adapters::store::Store;
use restock::http::{Http, router};
use restock::usecases::access::Access;
use restock::usecases::freshness::Freshness;
use restock::usecases::{Limits, Parts, Restock};
use serde_json::{Value, json};
use tower::ServiceExt;

/// One app `web` in a world of fakes.
pub struct Fake {
    pub root: tempfile::TempDir,
    pub engine: FakeEngine,
    routes: Router,
}

/// What the fake engine has, and what it was asked.
#[derive(Clone)]
pub struct FakeEngine(Arc<Mutex<Inside>>);

struct Inside {
    home: PathBuf,
    requests: Vec<String>,
    /// What each reference means now, and after the next pull.
    images: BTreeMap<String, String>,
    newer: BTreeMap<String, String>,
    containers: Vec<Value>,
    /// Containers made from this image do not work.
    bad: Option<String>,
}

impl Fake {
    /// The services of the app: their names, images and whether they run. All run image `old`.
    pub async fn new(services: &[(&str, &str, bool)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (home, app) = (root.path().join("home"), root.path().join("apps/web"));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::create_dir_all(&app).unwrap();
        std::fs::write(app.join("compose.yaml"), "services: {}").unwrap();
        let bin = root.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fake-docker/docker");
        std::os::unix::fs::symlink(docker, bin.join("docker")).unwrap();
        let engine = FakeEngine::start(&home, &app, services, &root.path().join("engine.sock"));
        let config: serde_json::Map<_, _> =
            services.iter().map(|(name, image, _)| ((*name).to_owned(), json!({ "image": image }))).collect();
        std::fs::write(home.join("config.json"), json!({"name": "web", "services": config}).to_string()).unwrap();
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let env = BTreeMap::from([("PATH".into(), path.into()), ("HOME".into(), home.clone().into_os_string())]);
        let data = root.path().join("data");
        let store = Store::open(&data).unwrap();
        let registry = Registry::new(RegistryOptions::new(home.join("none.json")));
        let restock = Restock::new(Parts {
            limits: Limits {
                health_timeout: Duration::from_secs(5),
                settle: Duration::ZERO,
                keep: Duration::from_secs(3600),
                pull_timeout: Duration::from_secs(2),
                concurrency: 2,
            },
            apps: AppsDir::new(root.path().join("apps")),
            engine: Engine::new(DockerHost::Unix(root.path().join("engine.sock"))).unwrap(),
            locator: Locator::new(env),
            locks: Locks::new(&data),
            freshness: Freshness::new(registry, store.clone()).await.unwrap(),
            store: store.clone(),
        });
        let routes = router(Http::new(restock, Access::new(None, Vec::new(), store), Vec::new()));
        Self { root, engine, routes }
    }

    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Lets a script answer for a verb of Compose.
    pub fn script(&self, verb: &str, text: &str) {
        let file = self.home().join(verb);
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What `docker` was called with, without the questions for its version.
    pub fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.home().join("calls")).unwrap_or_default();
        calls.lines().filter(|call| !call.contains(" version ")).map(str::to_owned).collect()
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Response, Value) {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(30), self.routes.clone().oneshot(request)).await;
        let (parts, body) = answer.expect("an answer in time").unwrap().into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let value =
            serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
        (parts.status.as_u16(), Response::from_parts(parts, Body::empty()), value)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, value) = self.send("GET", path, &[], "").await;
        (status, value)
    }

    pub async fn post(&self, path: &str) -> (u16, Value) {
        let (status, _, value) = self.send("POST", path, &[], "").await;
        (status, value)
    }
}

impl FakeEngine {
    fn start(home: &Path, app: &Path, services: &[(&str, &str, bool)], socket: &Path) -> Self {
        let containers = services.iter().map(|(name, image, up)| container(app, name, image, *up));
        let images = services.iter().map(|(_, image, _)| ((*image).to_owned(), "sha256:old".to_owned()));
        let engine = Self(Arc::new(Mutex::new(Inside {
            home: home.to_owned(),
            requests: Vec::new(),
            images: images.collect(),
            newer: BTreeMap::new(),
            containers: containers.collect(),
            bad: None,
        })));
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let routes = Router::new().fallback(answer).with_state(engine.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        engine
    }

    /// The next pull brings another image for a reference.
    pub fn publish(&self, reference: &str, id: &str) {
        self.0.lock().unwrap().newer.insert(reference.into(), id.into());
    }

    /// Containers made from this image exit at once.
    pub fn breaks(&self, id: &str) {
        self.0.lock().unwrap().bad = Some(id.into());
    }

    pub fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.clone()
    }

    /// Changes every container.
    pub fn each(&self, change: impl Fn(&mut Value)) {
        self.0.lock().unwrap().containers.iter_mut().for_each(change);
    }
}

impl Inside {
    /// What the fake `docker` has done since it was last looked.
    fn catch_up(&mut self) {
        if std::fs::remove_file(self.home.join("pulled")).is_ok() {
            self.images.append(&mut self.newer);
        }
        if std::fs::remove_file(self.home.join("upped")).is_ok() {
            for container in &mut self.containers {
                let image = self.images[container["Image"].as_str().unwrap()].clone();
                if container["ImageID"] != image {
                    let id = format!("{}{}", container["Id"].as_str().unwrap(), "x");
                    (container["ImageID"], container["Id"]) = (image.into(), id.into());
                }
            }
        }
    }
}

fn container(app: &Path, service: &str, image: &str, up: bool) -> Value {
    json!({"Id": format!("{service}-id"), "Names": [format!("/web-{service}-1")], "Image": image, "ImageID": "sha256:old",
           "State": if up { "running" } else { "exited" }, "Status": "", "Labels": {
               "com.docker.compose.project": "web", "com.docker.compose.service": service,
               "com.docker.compose.project.working_dir": app, "com.docker.compose.oneoff": "False"}})
}

async fn answer(State(engine): State<FakeEngine>, request: Request) -> Response {
    let mut parts = engine.0.lock().unwrap();
    parts.catch_up();
    let path = request.uri().path().to_owned();
    parts.requests.push(format!("{} {path}", request.method()));
    let between =
        |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("/json")).map(str::to_owned);
    let value = match path.as_str() {
        "/version" => json!({"Version": "fake", "ApiVersion": "1.41"}),
        "/containers/json" => json!(parts.containers),
        "/images/json" => json!([]),
        _ if path.ends_with("/tag") => {
            let image = path.trim_start_matches("/images/").trim_end_matches("/tag").to_owned();
            let query: BTreeMap<String, String> =
                url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
                    .into_owned()
                    .collect();
            let familiar = query["repo"].trim_start_matches("docker.io/library/").to_owned();
            parts.images.insert(
                if query["tag"] == "latest" { familiar } else { format!("{familiar}:{}", query["tag"]) },
                image,
            );
            return StatusCode::CREATED.into_response();
        }
        _ if request.method() == Method::GET => match (between("/containers/"), between("/images/")) {
            (Some(id), _) => match parts.containers.iter().find(|container| container["Id"] == id) {
                Some(container) => inspected(container, parts.bad.as_deref()),
                None => return missing(),
            },
            (_, Some(name)) if name.starts_with("sha256:") => json!({ "Id": name }),
            (_, Some(name)) => match parts.images.get(&name) {
                Some(id) => json!({ "Id": id }),
                None => return missing(),
            },
            _ => return missing(),
        },
        _ => return missing(),
    };
    axum::Json(value).into_response()
}

fn inspected(container: &Value, bad: Option<&str>) -> Value {
    let broken = bad.is_some_and(|bad| container["ImageID"] == bad);
    let state = if broken { json!("exited") } else { container["State"].clone() };
    json!({"Id": container["Id"], "Image": container["ImageID"], "RestartCount": 0, "HostConfig": {},
           "State": {"Status": state, "ExitCode": i32::from(broken), "StartedAt": "2026-01-01T00:00:00Z"}})
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, axum::Json(json!({"message": "no such thing"}))).into_response()
}
