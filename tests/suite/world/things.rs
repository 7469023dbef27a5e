//! What the fake engine has: containers, images and volumes, and what Compose's verbs make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use restock::domain::image::ImageReference;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A container; its fields are what tests change.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// Empty for a standalone container.
    pub project: String,
    pub service: String,
    /// The project's directory, as Compose notes it.
    pub dir: String,
    /// The reference it was made from.
    pub image: String,
    pub image_id: String,
    pub state: String,
    pub life: Life,
    /// What it has written.
    pub log: String,
    /// Labels besides those of Compose.
    pub labels: BTreeMap<String, String>,
    /// Counts the starts of all containers: when this one was started last, and 0 for never.
    pub started: usize,
    /// Its `HostConfig`.
    pub host: Value,
}

/// What becomes of the containers of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Runs on, without a healthcheck.
    Runs,
    Healthy,
    Unhealthy,
    Exits(i64),
    /// Is found running between two of many restarts.
    Loops,
}

/// Everything there is.
#[derive(Debug, Default)]
pub struct Things {
    pub containers: Vec<Container>,
    /// How containers of an image live, by the image's ID.
    pub images: BTreeMap<String, Life>,
    /// What each reference means: canonical form to ID.
    pub names: BTreeMap<String, String>,
    pub volumes: BTreeSet<String>,
    /// What containers write from now on, by the reference that they are made from.
    pub logs: BTreeMap<String, String>,
    /// Labels of images, by the image's ID.
    pub image_labels: BTreeMap<String, BTreeMap<String, String>>,
    /// Images that were made on this machine, by ID.
    pub made_here: BTreeSet<String>,
    /// An image is gone as soon as no name means it, although containers run it.
    pub forgets_images: bool,
    pub(super) made: usize,
    pub(super) starts: usize,
}

/// The ID of the image that tests call `label`.
pub fn image_id(label: &str) -> String {
    format!("sha256:{}", hex(label))
}

pub fn canonical(reference: &str) -> String {
    reference.parse::<ImageReference>().unwrap().canonical()
}

pub(super) fn hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn usual_host() -> Value {
    json!({"RestartPolicy": {"Name": "no"}})
}

impl Things {
    /// Gives `reference` a new meaning.
    pub fn publish(&mut self, reference: &str, label: &str, life: Life) {
        self.images.insert(image_id(label), life);
        let former = self.names.insert(canonical(reference), image_id(label));
        let former = former.filter(|id| self.forgets_images && !self.names.values().any(|known| known == id));
        former.map(|id| self.images.remove(&id));
    }

    /// The image that a reference or an ID means.
    pub fn find_image(&self, reference: &str) -> Option<&String> {
        if self.images.contains_key(reference) {
            return self.images.get_key_value(reference).map(|(id, _)| id);
        }
        let name = self.names.get(&reference.parse::<ImageReference>().ok()?.canonical())?;
        self.images.contains_key(name).then_some(name)
    }

    /// Does what a call of Compose that ended well has done: `directory TAB verb and its arguments`.
    pub fn compose_did(&mut self, line: &str) {
        let (dir, call) = line.split_once('\t').unwrap();
        let mut words = call.split(' ');
        match words.next() {
            Some("up") => {
                let words: Vec<_> = words.collect();
                let after = words.iter().position(|word| *word == "--no-deps").map_or(words.len(), |at| at + 1);
                self.follow(dir, &words[after..], !words.contains(&"--no-start"));
            }
            Some("create") => self.follow(dir, &[], false),
            Some("down") => self.containers.retain(|container| container.dir != dir),
            _ => {}
        }
    }

    /// Makes the containers of `services` (none: all) follow the Compose file in `dir`.
    fn follow(&mut self, dir: &str, services: &[&str], start: bool) {
        let file = std::fs::read(Path::new(dir).join("compose.yaml")).unwrap();
        let project: Value = serde_json::from_slice(&file).unwrap();
        let chosen = |name: &String| services.is_empty() || services.contains(&name.as_str());
        let services = project["services"].as_object().unwrap();
        let mut made = BTreeSet::new();
        for (service, value) in services.iter().filter(|(name, _)| chosen(name)) {
            let name = project["name"].as_str().unwrap();
            let image = value["image"].as_str().unwrap();
            if self.follow_service(dir, name, service, image, start) {
                made.insert(format!("service:{service}"));
            }
        }
        // What lives in the namespaces of a container that was made anew is started again.
        let follows = |service: &String| {
            let mode = services.get(service).and_then(|value| value["network_mode"].as_str());
            mode.is_some_and(|mode| made.contains(mode))
        };
        for container in self.containers.iter_mut().filter(|one| one.dir == dir && follows(&one.service)) {
            if container.state == "running" {
                container.state = "exited".into();
                container.start(&mut self.starts);
            }
        }
    }

    /// Gives whether it made a container.
    pub fn follow_service(&mut self, dir: &str, project: &str, service: &str, image: &str, start: bool) -> bool {
        let Some(image_id) = self.find_image(image).cloned() else { return false };
        let life = self.images[&image_id];
        let own = |container: &Container| container.dir == dir && container.service == service;
        let makes = !self.containers.iter().any(|container| own(container) && container.image_id == image_id);
        if makes {
            self.containers.retain(|container| !own(container));
            self.made += 1;
            self.containers.push(Container {
                id: hex(&format!("container {}", self.made)),
                name: format!("{project}-{service}-1"),
                project: project.to_owned(),
                service: service.to_owned(),
                dir: dir.to_owned(),
                image: image.to_owned(),
                image_id,
                state: "created".into(),
                life,
                log: self.logs.get(image).cloned().unwrap_or_default(),
                labels: BTreeMap::new(),
                started: 0,
                host: usual_host(),
            });
        }
        for container in self.containers.iter_mut().filter(|container| start && own(container)) {
            container.start(&mut self.starts);
        }
        makes
    }
}

impl Container {
    pub(super) fn start(&mut self, starts: &mut usize) {
        if self.state == "running" {
            return;
        }
        *starts += 1;
        self.started = *starts;
        self.state = if matches!(self.life, Life::Exits(_)) { "exited".into() } else { "running".into() };
    }

    /// Its element of the list of containers.
    pub fn listed(&self) -> Value {
        json!({
            "Id": self.id, "Names": [format!("/{}", self.name)], "Image": self.image, "ImageID": self.image_id,
            "State": self.state, "Status": self.status(), "Labels": self.labels(),
            "HostConfig": {"NetworkMode": self.host["NetworkMode"].as_str().unwrap_or("bridge")},
        })
    }

    /// Its inspection.
    pub fn inspected(&self) -> Value {
        let (restarts, code) = match self.life {
            Life::Loops => (7, 1),
            Life::Exits(code) => (0, code),
            _ => (0, 0),
        };
        let health = match self.life {
            Life::Healthy => json!({"Status": "healthy", "Log": []}),
            Life::Unhealthy => json!({"Status": "unhealthy", "Log": [{"ExitCode": 1, "Output": "no answer"}]}),
            _ => Value::Null,
        };
        json!({
            "Id": self.id, "Name": format!("/{}", self.name), "Image": self.image_id, "RestartCount": restarts,
            "State": {
                "Status": self.state, "ExitCode": code, "OOMKilled": code == 137, "Error": "", "StartedAt": self.started_at(), "Health": health,
            },
            "Config": {"Image": self.image, "Labels": self.labels()},
            "HostConfig": self.host,
            "NetworkSettings": {"Networks": {}},
        })
    }

    /// The end of its log, as the engine sends it: each line in a frame that names the output it was written to.
    pub fn last_lines(&self, tail: usize) -> Vec<u8> {
        let lines: Vec<_> = self.log.lines().collect();
        let frame = |line: &&str| {
            let line = format!("{line}\n");
            let head = [&[2, 0, 0, 0][..], &u32::try_from(line.len()).unwrap().to_be_bytes()[..]].concat();
            [head, line.into_bytes()].concat()
        };
        lines[lines.len().saturating_sub(tail)..].iter().flat_map(frame).collect()
    }

    fn started_at(&self) -> String {
        if self.started == 0 {
            return "0001-01-01T00:00:00Z".into();
        }
        format!("2026-01-02T03:04:05.{:09}Z", self.started)
    }

    fn status(&self) -> &'static str {
        match (self.state.as_str(), self.life) {
            ("running", Life::Healthy) => "Up 3 seconds (healthy)",
            ("running", Life::Unhealthy) => "Up 3 seconds (unhealthy)",
            ("running", _) => "Up 3 seconds",
            _ => "Exited (0) 3 seconds ago",
        }
    }

    fn labels(&self) -> Value {
        let compose = json!({
            "com.docker.compose.project": self.project, "com.docker.compose.service": self.service,
            "com.docker.compose.project.working_dir": self.dir, "com.docker.compose.oneoff": "False",
            "com.docker.compose.container-number": "1",
        });
        let mut labels = if self.project.is_empty() { json!({}) } else { compose };
        for (name, value) in &self.labels {
            labels[name] = value.as_str().into();
        }
        labels
    }
}
