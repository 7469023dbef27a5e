//! One app on a real engine, with a Restock of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{Kind, World, engine_script, output, project};

/// The longest any wait of a test takes before it fails.
const DEADLINE: Duration = Duration::from_secs(90);

/// An app, copied from the samples under a name of its own, and the service that looks after it.
pub struct Case {
    pub world: &'static World,
    pub root: tempfile::TempDir,
    pub app: String,
    pub tag: String,
    restock: Option<Child>,
    port: u16,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The JSON of an answer that must have this status.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.json()
    }
}

impl Case {
    /// The app of a sample, in version 1, up and running; and Restock.
    pub fn new(kind: Kind, sample: &str) -> Self {
        let mut case = Self::on(World::of(kind), sample);
        case.up();
        case.serve();
        case
    }

    /// The app's files and its images in version 1; nothing runs.
    pub fn on(world: &'static World, sample: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}-{sample}", COUNT.fetch_add(1, Ordering::Relaxed));
        let root = tempfile::tempdir().expect("a directory");
        let case = Self { world, app: name.clone(), tag: name, root, restock: None, port: 0 };
        copy(&project().join("apps").join(sample), &case.dir());
        for (repository, variant) in images_of(sample) {
            case.publish(repository, "1", variant);
        }
        case.write(".env", &format!("REGISTRY={}\nTAG={}\nSECRET=swordfish\n", world.registry, case.tag));
        case
    }

    pub fn apps(&self) -> PathBuf {
        self.root.path().join("apps")
    }

    pub fn dir(&self) -> PathBuf {
        self.apps().join(&self.app)
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.dir().join(file), text).expect("a file");
    }

    /// Publishes an image under the case's own tag.
    pub fn publish(&self, repository: &str, version: &str, variant: &str) -> String {
        self.world.publish(&[], &format!("demo/{repository}"), &self.tag, version, variant)
    }

    /// The reference of one of the case's images.
    pub fn reference(&self, repository: &str) -> String {
        format!("{}/demo/{repository}:{}", self.world.registry, self.tag)
    }

    pub fn compose(&self, args: &[&str]) -> String {
        output(self.world.command("docker").arg("compose").args(args).current_dir(self.dir()))
    }

    pub fn docker(&self, args: &[&str]) -> String {
        output(self.world.command("docker").args(args))
    }

    pub fn up(&self) {
        self.compose(&["up", "-d", "--quiet-pull"]);
    }

    /// Starts Restock and waits until it is ready.
    pub fn serve(&mut self) {
        self.serve_with(&[]);
    }

    pub fn serve_with(&mut self, options: &[&str]) {
        self.stop_serving();
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        self.port = free.local_addr().expect("an address").port();
        drop(free);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log");
        let mut command = self.restock(&["serve", "--listen", &format!("127.0.0.1:{}", self.port), "--log", "debug"]);
        command.args(options).stderr(log).stdout(Stdio::null());
        self.restock = Some(command.spawn().expect("restock"));
        self.wait_for("Restock to answer", || ureq::get(self.url("/health")).call().is_ok().then_some(()));
    }

    /// A command of the program on this case's apps and data.
    pub fn restock(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.world.command(env!("CARGO_BIN_EXE_restock"));
        let (apps, data) = (self.apps(), self.root.path().join("data"));
        command.args(args).arg("--apps").arg(apps).arg("--data").arg(data);
        // As variables, so that a case can say otherwise with flags.
        command.env("RESTOCK_SETTLE", "1s").env("RESTOCK_HEALTH_TIMEOUT", "15s");
        command
    }

    /// Starts a registry of the case's own, in [`registry_dir`](Self::registry_dir); it ends with the case.
    pub fn registry<S: AsRef<std::ffi::OsStr>>(&self, options: &[S]) -> String {
        output(engine_script().arg("registry").arg(self.root.path().join("r")).args(options))
    }

    /// Where the case's own registry has its files.
    pub fn registry_dir(&self) -> PathBuf {
        self.root.path().join("r/registry")
    }

    /// Publishes an image of one version to the case's own registry; `options` open it.
    pub fn publish_to<S: AsRef<std::ffi::OsStr>>(&self, options: &[S], image: &str, version: &str) -> String {
        let (registry, rest) = image.split_once('/').expect("a registry");
        let (repository, tag) = rest.rsplit_once(':').expect("a tag");
        let mut publish = self.world.command(project().join("fixtures/images/publish"));
        output(publish.args(options).args([registry, repository, tag, version, "web"]))
    }

    /// The directory of a `config.json` that has this login, `NAME:WORD`, or none.
    pub fn login(&self, registry: &str, login: Option<&str>) -> PathBuf {
        use base64::Engine;
        let config = self.root.path().join("docker");
        if !config.exists() {
            std::fs::create_dir(&config).expect("a directory");
            let plugins = self.world.parts.join("cli/cli-plugins");
            std::os::unix::fs::symlink(plugins, config.join("cli-plugins")).expect("a link");
        }
        let auth = login.map(|login| base64::engine::general_purpose::STANDARD.encode(login));
        let auths = auth.map_or_else(|| json!({}), |auth| json!({ registry: { "auth": auth } }));
        std::fs::write(config.join("config.json"), json!({ "auths": auths }).to_string()).expect("a file");
        config
    }

    /// Ends Restock at once, as a power cut would.
    pub fn kill(&mut self) {
        self.stop_serving();
    }

    fn stop_serving(&mut self) {
        if let Some(mut child) = self.restock.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    pub fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[])
    }

    pub fn post(&self, path: &str) -> Reply {
        self.send("POST", path, &[])
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.exchange(method, path, headers, String::new())
    }

    pub fn send_json(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.exchange(method, path, &[("Content-Type", "application/json")], body.to_string())
    }

    fn exchange(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Reply {
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE)).build(),
        );
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response =
            agent.run(request.body(body).expect("a request")).unwrap_or_else(|error| panic!("{path}: {error}"));
        let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = response.body_mut().read_to_string().expect("a body");
        Reply { status: response.status().as_u16(), headers, body }
    }

    /// The memory that Restock has resident, in KiB.
    #[allow(dead_code, reason = "the benchmarks share this file, and only they ask")]
    pub fn memory(&self) -> u64 {
        self.memory_of("VmRSS:")
    }

    /// The most memory that Restock had resident since it was started, in KiB.
    #[allow(dead_code, reason = "the benchmarks share this file, and only they ask")]
    pub fn peak_memory(&self) -> u64 {
        self.memory_of("VmHWM:")
    }

    #[allow(dead_code, reason = "the benchmarks share this file, and only they ask")]
    fn memory_of(&self, what: &str) -> u64 {
        let pid = self.restock.as_ref().expect("Restock runs").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("its memory");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number")
    }

    /// Updates the app and gives the answer.
    pub fn update(&self) -> Reply {
        self.post(&format!("/api/apps/{}/update", self.app))
    }

    /// Starts the update in the background; gives the job's path.
    pub fn start_update(&self) -> String {
        let reply = self.send("POST", &format!("/api/apps/{}/update", self.app), &[("Prefer", "respond-async")]);
        reply.expect(202);
        reply.headers["location"].clone()
    }

    /// Waits until a job has finished.
    pub fn finished(&self, job: &str) -> Value {
        self.wait_for("the job to finish", || {
            let job = self.get(job).json();
            (job["state"] == "finished").then_some(job)
        })
    }

    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(start.elapsed() < DEADLINE, "no sign of {what}; the log says:\n{}", self.read_log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn read_log(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The inspections of the app's containers, by name.
    pub fn containers(&self) -> BTreeMap<String, Value> {
        let label = format!("label=com.docker.compose.project={}", self.app);
        let ids = self
            .world
            .command("docker")
            .args(["ps", "-aq", "--no-trunc", "--filter", &label])
            .output()
            .expect("docker ps");
        let ids: Vec<_> = String::from_utf8_lossy(&ids.stdout).lines().map(str::to_owned).collect();
        if ids.is_empty() {
            return BTreeMap::new();
        }
        let inspected = self.world.command("docker").arg("inspect").args(&ids).output().expect("docker inspect");
        let values: Vec<Value> = serde_json::from_slice(&inspected.stdout).expect("JSON");
        values
            .into_iter()
            .map(|value| (value["Name"].as_str().expect("a name").trim_start_matches('/').to_owned(), value))
            .collect()
    }

    /// The IDs of the containers of one service.
    pub fn ids(&self, service: &str) -> Vec<String> {
        let of_service = |value: &&Value| value["Config"]["Labels"]["com.docker.compose.service"] == service;
        let containers = self.containers();
        containers.values().filter(of_service).map(|value| value["Id"].as_str().expect("an ID").to_owned()).collect()
    }

    /// Removes the containers that a case made beside its app; their names begin with the app's.
    fn remove_standalone(&self) {
        let filter = format!("name=^/{}-", self.app);
        let listed = self.world.command("docker").args(["ps", "-aq", "--filter", &filter]).output();
        let ids = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for id in ids.lines() {
            // What is left goes away with the engine.
            let _ = self.world.command("docker").args(["rm", "--force", "--volumes", id]).output();
        }
    }

    /// The version that each container of a service runs, and its state.
    pub fn runs(&self, service: &str) -> Vec<(String, String)> {
        let of_service = |value: &&Value| value["Config"]["Labels"]["com.docker.compose.service"] == service;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = |value: &Value| text(&value["Config"]["Labels"]["org.opencontainers.image.version"]);
        let containers = self.containers();
        containers.values().filter(of_service).map(|value| (version(value), text(&value["State"]["Status"]))).collect()
    }

    /// Asserts that all containers of a service run this version.
    #[track_caller]
    pub fn assert_runs(&self, service: &str, version: &str) {
        let runs = self.runs(service);
        let wanted = (version.to_owned(), "running".to_owned());
        assert!(!runs.is_empty() && runs.iter().all(|run| *run == wanted), "{service} should run {version}: {runs:?}");
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        self.stop_serving();
        if self.registry_dir().exists() {
            // Its process; the files go with the directory.
            let _ = engine_script().arg("registry-stop").arg(self.root.path().join("r")).output();
        }
        if std::thread::panicking() {
            eprintln!("--- log of Restock\n{}", self.read_log());
        }
        self.remove_standalone();
        let down = ["compose", "--profile", "*", "down", "--volumes", "--timeout", "0"];
        // What is left goes away with the engine.
        let _ = self.world.command("docker").args(down).current_dir(self.dir()).output();
    }
}

/// Which images a sample needs, and what they do.
fn images_of(sample: &str) -> &'static [(&'static str, &'static str)] {
    match sample {
        "shop" => &[("db", "data"), ("shop", "web"), ("web", "web")],
        "pinned" => &[("cache", "plain"), ("web", "web")],
        "profiles" => &[("web", "web"), ("plain", "plain")],
        "vpn" => &[("vpn", "web"), ("plain", "plain")],
        "photos" => &[("photos", "data")],
        _ => &[("web", "web")],
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a sample") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}
