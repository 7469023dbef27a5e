//! A Docker Engine that is not one: it answers on a unix socket, and tells what it was asked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

use super::things::{Container, Life, Things, canonical, image_id};
use crate::systemd::{Answer, Restart};

/// The engine of one world. It stops with the test's runtime.
pub struct Engine {
    shared: Arc<Shared>,
    server: Mutex<Option<Server>>,
}

struct Server {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Shared {
    socket: PathBuf,
    /// Where the fake `docker` notes what it has done.
    done: PathBuf,
    inner: Mutex<Inner>,
    /// Ends the server that listens now.
    stop: Mutex<CancellationToken>,
    /// A request has come that is never answered.
    hung: Notify,
}

#[derive(Default)]
struct Inner {
    things: Things,
    /// How many lines of `done` have been read.
    read: usize,
    requests: Vec<String>,
    /// The login that came with each pull.
    logins: Vec<Option<String>>,
    /// The beginning of the path of the last request that is answered, and what ends the rest.
    last_request: Option<(String, CancellationToken)>,
    /// What it says of itself besides its version.
    version: Value,
    /// What is said to those who listen to the events; none are said before the first `tells_events`.
    events: Option<broadcast::Sender<Bytes>>,
    /// What is answered to a path instead of the truth.
    instead: HashMap<String, (u16, Value)>,
    /// Every change since the last time, `METHOD path` without IDs.
    changes: Vec<String>,
    /// What befalls the change after so many others.
    fault: Option<(usize, Fault)>,
}

/// What befalls one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The engine says that it cannot, and does nothing.
    Refused,
    /// It is done, and the connection ends without an answer.
    AnswerLost,
    /// It is done twice.
    Twice,
    /// The engine is gone before it, and stays away until it is called back.
    Gone,
    /// It is not done, and never answered.
    HangsBefore,
    /// It is done, and never answered.
    HangsAfter,
}

impl Engine {
    /// Starts to listen on `socket`.
    pub fn start(socket: PathBuf, done: PathBuf) -> Self {
        let shared =
            Arc::new(Shared { socket, done, inner: Mutex::default(), stop: Mutex::default(), hung: Notify::new() });
        let engine = Self { shared, server: Mutex::new(None) };
        engine.come_back();
        engine
    }

    /// Listens again after [`Engine::go_away`].
    pub fn come_back(&self) {
        // A server that a fault ended has left it.
        let _ = std::fs::remove_file(&self.shared.socket);
        let listener = UnixListener::bind(&self.shared.socket).unwrap();
        let routes = Router::new().fallback(answer).with_state(self.shared.clone());
        let stop = CancellationToken::new();
        let serve = axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        let task = tokio::spawn(async move { serve.await.unwrap() });
        *self.shared.stop.lock().unwrap() = stop.clone();
        *self.server.lock().unwrap() = Some(Server { stop, task });
    }

    /// Closes every connection and takes the socket away.
    pub async fn go_away(&self) {
        self.server.lock().unwrap().as_ref().unwrap().stop.cancel();
        self.gone().await;
    }

    /// Goes away as soon as a request has been answered whose path begins like this; [`Engine::gone`] waits for it.
    pub fn go_away_after(&self, path: &str) {
        let stop = self.server.lock().unwrap().as_ref().unwrap().stop.clone();
        self.shared.caught_up().last_request = Some((path.to_owned(), stop));
    }

    /// Waits until it has gone.
    pub async fn gone(&self) {
        let task = self.server.lock().unwrap().take().unwrap().task;
        super::soon("the engine's end", task).await.unwrap();
        std::fs::remove_file(&self.shared.socket).unwrap();
    }

    /// Gives `reference` a new meaning: an image whose containers run on.
    pub fn publish(&self, reference: &str, label: &str) {
        self.publish_with(reference, label, Life::Runs);
    }

    /// The same with an image whose containers live as `life` says.
    pub fn publish_with(&self, reference: &str, label: &str, life: Life) {
        self.things(|things| things.publish(reference, label, life));
    }

    /// From now on its events can be listened to.
    pub fn tells_events(&self) {
        self.shared.caught_up().events = Some(broadcast::channel(64).0);
    }

    /// How many listen to its events.
    pub fn listeners(&self) -> usize {
        self.shared.caught_up().events.as_ref().map_or(0, broadcast::Sender::receiver_count)
    }

    /// Says that something has happened to a container or an image.
    pub fn event(&self, kind: &str, action: &str) {
        let line = format!("{}\n", json!({"Type": kind, "Action": action}));
        self.shared.caught_up().events.as_ref().unwrap().send(line.into()).unwrap();
    }

    /// Looks at or changes what there is.
    pub fn things<T>(&self, look: impl FnOnce(&mut Things) -> T) -> T {
        look(&mut self.shared.caught_up().things)
    }

    /// A container by its name.
    pub fn container(&self, name: &str) -> Option<Container> {
        self.things(|things| things.containers.iter().find(|container| container.name == name).cloned())
    }

    /// Changes a container.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Container)) {
        self.things(|things| change(things.containers.iter_mut().find(|container| container.name == name).unwrap()));
    }

    /// From now on answers a request for `path` (with its query) with `value`.
    pub fn answer_instead(&self, path: &str, status: u16, value: Value) {
        self.shared.caught_up().instead.entry(path.to_owned()).or_insert((status, value));
    }

    /// Lets `fault` befall the change that comes after `after` others, counted from now.
    pub fn fault(&self, after: usize, fault: Fault) {
        let mut inner = self.shared.caught_up();
        inner.changes.clear();
        inner.fault = Some((after, fault));
    }

    /// Waits for the change that is never answered.
    pub async fn hung(&self) {
        self.shared.hung.notified().await;
    }

    /// The changes since the last time, or since a fault was set, as `METHOD /path` with the IDs of containers left out.
    pub fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.caught_up().changes)
    }

    /// A systemd that restarts units whose containers are here: each restart is a change, which faults befall like others.
    pub(super) fn restarts_units(&self) -> Restart {
        let shared = self.shared.clone();
        Arc::new(move |unit: &str| shared.restart(unit))
    }

    /// From now on says this of itself as well.
    pub fn says(&self, version: Value) {
        self.shared.caught_up().version = version;
    }

    /// Lets every image that it has be one that was made on this machine.
    pub fn made_its_images(&self) {
        self.things(|things| things.made_here.extend(things.images.keys().cloned()));
    }

    /// From now on it is one with a containerd store from before Docker 27.2: images go with their last name.
    pub fn forgets_images(&self) {
        self.says(json!({"Version": "26.1.5"}));
        self.answer_instead("/info", 200, json!({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}));
        self.things(|things| things.forgets_images = true);
    }

    /// The login that came with each pull since the beginning.
    pub fn logins(&self) -> Vec<Option<String>> {
        self.shared.caught_up().logins.clone()
    }

    /// What was asked since the last time: `METHOD /path?query`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.caught_up().requests)
    }
}

impl Shared {
    /// The state, with everything in it that Compose has done by now.
    fn caught_up(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap();
        let done = std::fs::read_to_string(&self.done).unwrap_or_default();
        for line in done.lines().skip(inner.read) {
            inner.things.compose_did(line);
        }
        inner.read = done.lines().count();
        inner
    }
}

impl Shared {
    fn restart(self: &Arc<Self>, unit: &str) -> Answer {
        let fault = self.caught_up().befalls(format!("RESTART {unit}"));
        let (shared, unit) = (self.clone(), unit.to_owned());
        let restart = move || shared.caught_up().things.restart_unit(&unit);
        match fault {
            None => Answer::Job(Box::new(restart)),
            Some(Fault::Twice) => Answer::Job(Box::new(move || {
                restart();
                restart()
            })),
            Some(Fault::Refused) => Answer::Refused("the unit is masked"),
            Some(Fault::AnswerLost) => {
                restart();
                Answer::Lost
            }
            Some(Fault::Gone) => Answer::Gone,
            Some(fault @ (Fault::HangsBefore | Fault::HangsAfter)) => {
                if fault == Fault::HangsAfter {
                    restart();
                }
                self.hung.notify_one();
                Answer::Never
            }
        }
    }
}

impl Inner {
    /// Counts a change, and gives what befalls it.
    fn befalls(&mut self, change: String) -> Option<Fault> {
        let number = self.changes.len();
        self.changes.push(change);
        self.fault.take_if(|(after, _)| *after == number).map(|(_, fault)| fault)
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match respond(&shared, &method, &uri, &headers, &body) {
        Reply::Sent(response) => response,
        Reply::Lost => std::panic::resume_unwind(Box::new("only this ends a connection before the head of an answer")),
        Reply::Never => {
            shared.hung.notify_one();
            std::future::pending().await
        }
    }
}

/// What becomes of a request.
enum Reply {
    Sent(Response),
    /// The connection ends without an answer.
    Lost,
    Never,
}

fn respond(shared: &Shared, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Reply {
    let mut inner = shared.caught_up();
    inner.requests.push(format!("{method} {uri}"));
    let asked = uri.to_string();
    if asked.starts_with("/images/create") {
        inner.logins.push(headers.get("x-registry-auth").map(|login| login.to_str().unwrap().to_owned()));
    }
    let mut twice = false;
    if is_change(method, uri.path()) {
        match inner.befalls(format!("{method} {}", uri.path())) {
            None => {}
            Some(Fault::Twice) => twice = true,
            Some(Fault::Refused) => {
                let said = json!({"message": "no space left on device"});
                return Reply::Sent((StatusCode::INTERNAL_SERVER_ERROR, axum::Json(said)).into_response());
            }
            Some(fault @ (Fault::HangsBefore | Fault::HangsAfter)) => {
                if fault == Fault::HangsAfter {
                    do_it(&mut inner, method, uri, body);
                }
                return Reply::Never;
            }
            Some(fault) => {
                if fault == Fault::AnswerLost {
                    do_it(&mut inner, method, uri, body);
                } else {
                    shared.stop.lock().unwrap().cancel();
                }
                return Reply::Lost;
            }
        }
    }
    if twice {
        do_it(&mut inner, method, uri, body);
    }
    if let Some((_, stop)) = inner.last_request.take_if(|(path, _)| asked.starts_with(path.as_str())) {
        stop.cancel();
    }
    if let Some((status, value)) = inner.instead.get(&asked) {
        return Reply::Sent((StatusCode::from_u16(*status).unwrap(), axum::Json(value)).into_response());
    }
    Reply::Sent(do_it(&mut inner, method, uri, body))
}

fn is_change(method: &Method, path: &str) -> bool {
    let asks = method == Method::GET || method == Method::HEAD;
    !asks && !matches!(path, "/images/create" | "/images/load" | "/volumes/create")
}

fn done(found: bool, name: &str) -> Response {
    if found { StatusCode::NO_CONTENT.into_response() } else { missing("container", name) }
}

/// Does what is asked, and answers.
fn do_it(inner: &mut Inner, method: &Method, uri: &Uri, body: &Bytes) -> Response {
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let value = |key: &str| query.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    let path = uri.path().trim_start_matches('/');
    let (kind, rest) = path.split_once('/').unwrap_or((path, ""));
    let (name, verb) = rest.rsplit_once('/').unwrap_or((rest, ""));
    let Inner { things, version, events, .. } = &mut *inner;
    match (method.as_str(), kind, name, verb) {
        ("GET", "version", ..) => {
            let mut said = json!({"Version": "28.5.2", "ApiVersion": "1.51", "Os": "linux", "Arch": "amd64"});
            let more = version.as_object().cloned().unwrap_or_default();
            said.as_object_mut().unwrap().extend(more);
            axum::Json(said).into_response()
        }
        ("POST", "containers", "create", _) => things.create(value("name").unwrap(), body),
        ("POST", "containers", id, "start") => things.start(id),
        ("POST", "containers", id, "stop") => things.stop(id),
        ("POST", "containers", id, "update") => things.set_host(id, body),
        ("GET", "events", ..) => {
            events.as_ref().map_or_else(|| missing("page", path), |events| listened(events.subscribe()))
        }
        ("GET", "containers", "json", _) => list(things, value("filters")),
        ("GET", "containers", id, "json") => {
            let found = things.containers.iter().find(|container| container.id == id || container.name == id);
            found
                .map_or_else(|| missing("container", id), |container| axum::Json(container.inspected()).into_response())
        }
        ("GET", "containers", id, "logs") => {
            let tail = value("tail").unwrap().parse().unwrap();
            let found = things.containers.iter().find(|container| container.id == id);
            found.map_or_else(|| missing("container", id), |container| container.last_lines(tail).into_response())
        }
        ("DELETE", "containers", id, _) => {
            let before = things.containers.len();
            things.containers.retain(|container| container.id != id);
            done(things.containers.len() < before, id)
        }
        ("POST", "containers", id, "rename") => {
            let Some(found) = things.containers.iter_mut().find(|container| container.id == id) else {
                return missing("container", id);
            };
            found.name = value("name").unwrap().to_owned();
            StatusCode::NO_CONTENT.into_response()
        }
        ("GET", "images", "json", _) => axum::Json(images(things)).into_response(),
        ("GET", "images", name, "json") => image(things, name),
        ("POST", "images", "create", _) => {
            // Tests may have said how its containers live.
            let life = things.images.get(&image_id("pulled")).copied().unwrap_or(Life::Runs);
            things.publish(&format!("{}:{}", value("fromImage").unwrap(), value("tag").unwrap()), "pulled", life);
            messages("status", "Status: Downloaded newer image")
        }
        // What real archives say in their manifest: `reference label`.
        ("POST", "images", "load", _) => {
            let archive = String::from_utf8(body.to_vec()).unwrap();
            let (reference, label) = archive.split_once(' ').unwrap();
            things.publish(reference, label, Life::Runs);
            messages("stream", &format!("Loaded image: {reference}\n"))
        }
        ("POST", "images", name, "tag") => tag(things, name, value("repo").unwrap(), value("tag").unwrap()),
        ("DELETE", "images", name, verb) => {
            let name = if verb.is_empty() { name.to_owned() } else { format!("{name}/{verb}") };
            if name.starts_with("sha256:") {
                things.names.retain(|_, id| *id != name);
            } else {
                things.names.remove(&canonical(&name));
            }
            axum::Json(json!([{"Untagged": name}])).into_response()
        }
        ("POST", "volumes", "create", _) => {
            let asked: Value = serde_json::from_slice(body).unwrap();
            things.volumes.insert(asked["Name"].as_str().unwrap().to_owned());
            (StatusCode::CREATED, axum::Json(asked)).into_response()
        }
        ("GET", "volumes", name, _) if things.volumes.contains(name) => {
            axum::Json(json!({ "Name": name })).into_response()
        }
        ("GET", "volumes", name, _) => missing("volume", name),
        _ => missing("page", path),
    }
}

fn listened(events: broadcast::Receiver<Bytes>) -> Response {
    let lines = BroadcastStream::new(events).map(|line| line.map_err(std::io::Error::other));
    axum::body::Body::from_stream(lines).into_response()
}

fn messages(key: &str, said: &str) -> Response {
    ([("content-type", "application/json")], format!("{}\r\n", json!({ key: said }))).into_response()
}

fn missing(kind: &str, name: &str) -> Response {
    (StatusCode::NOT_FOUND, axum::Json(json!({ "message": format!("no such {kind}: {name}") }))).into_response()
}

fn list(things: &Things, filters: Option<&str>) -> Response {
    let filters: Value = filters.map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default();
    let project = filters["label"][0].as_str().and_then(|label| label.strip_prefix("com.docker.compose.project="));
    let shown = things.containers.iter().filter(|container| project.is_none_or(|name| name == container.project));
    axum::Json(shown.map(Container::listed).collect::<Vec<_>>()).into_response()
}

fn images(things: &Things) -> Vec<Value> {
    let shown = |id: &String| {
        let names = names(things, id);
        let pulled = names.iter().filter(|_| !things.made_here.contains(id));
        let digests: Vec<_> = pulled.filter_map(|name| Some(format!("{}@{id}", name.rsplit_once(':')?.0))).collect();
        json!({"Id": id, "RepoTags": names, "RepoDigests": digests})
    };
    things.images.keys().map(shown).collect()
}

fn names(things: &Things, id: &str) -> Vec<String> {
    let own = things.names.iter().filter(|(_, known)| *known == id);
    own.map(|(name, _)| name.trim_start_matches("docker.io/library/").to_owned()).collect()
}

fn image(things: &Things, name: &str) -> Response {
    match things.find_image(name) {
        Some(id) => {
            let (names, labels) = (names(things, id), things.image_labels.get(id).cloned().unwrap_or_default());
            let shown = json!({"Id": id, "RepoTags": names, "RepoDigests": [], "Config": {"Labels": labels}});
            axum::Json(shown).into_response()
        }
        None => missing("image", name),
    }
}

fn tag(things: &mut Things, image: &str, repository: &str, tag: &str) -> Response {
    match things.find_image(image).cloned() {
        Some(id) => {
            things.names.insert(canonical(&format!("{repository}:{tag}")), id);
            StatusCode::CREATED.into_response()
        }
        None => missing("image", image),
    }
}
