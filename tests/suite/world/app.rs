//! An app of a world: its directory, and the containers it has.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::World;
use super::things::Life;

/// Describes an app, and makes it.
pub struct App<'w> {
    world: &'w World,
    name: String,
    model: Value,
}

impl<'w> App<'w> {
    pub(super) fn new(world: &'w World, name: &str) -> Self {
        Self { world, name: name.to_owned(), model: json!({"name": name, "services": {}}) }
    }

    pub fn service(self, name: &str, image: &str) -> Self {
        self.service_with(name, json!({ "image": image }))
    }

    /// A service as `docker compose config` says it.
    pub fn service_with(mut self, name: &str, value: Value) -> Self {
        self.model["services"][name] = value;
        self
    }

    /// A further key of the Compose file.
    pub fn key(mut self, key: &str, value: Value) -> Self {
        self.model[key] = value;
        self
    }

    /// A further file.
    pub fn file(self, name: &str, text: &str) -> Self {
        let dir = self.dir();
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
        self
    }

    /// Has its files, and no containers.
    pub fn absent(self) {
        let text = serde_json::to_string_pretty(&self.model).unwrap();
        self.file("compose.yaml", &text);
    }

    /// Has containers that run the images their references mean; images that do not exist yet are made.
    pub fn running(self) {
        self.with_containers(true);
    }

    /// The same with containers that do not run.
    pub fn stopped(self) {
        self.with_containers(false);
    }

    fn with_containers(self, start: bool) {
        let dir = self.dir().display().to_string();
        let project = self.model["name"].as_str().unwrap();
        self.world.engine.things(|things| {
            for (service, value) in self.model["services"].as_object().unwrap() {
                let image = value["image"].as_str().unwrap();
                if things.find_image(image).is_none() {
                    things.publish(image, &format!("{image} old"), Life::Runs);
                }
                things.follow_service(&dir, project, service, image, start);
            }
        });
        self.absent();
    }

    fn dir(&self) -> PathBuf {
        self.world.path("apps").join(&self.name)
    }
}
