//! What the fake engine does with single containers.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::things::{Container, Life, Things, hex, usual_host};

/// The label that names a container's unit.
pub const UNIT: &str = "PODMAN_SYSTEMD_UNIT";

impl Things {
    /// Has a standalone container that runs what `image` means.
    pub fn run(&mut self, name: &str, image: &str) -> &mut Container {
        if self.find_image(image).is_none() {
            self.publish(image, &format!("{image} old"), Life::Runs);
        }
        let body = json!({"Image": image, "HostConfig": usual_host()});
        assert_eq!(self.create(name, body.to_string().as_bytes()).status(), StatusCode::CREATED);
        let made = self.containers.last_mut().unwrap();
        made.start(&mut self.starts);
        made
    }

    pub fn create(&mut self, name: &str, body: &[u8]) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap();
        let image = body["Image"].as_str().unwrap();
        let Some(image_id) = self.find_image(image).cloned() else {
            return refused(StatusCode::NOT_FOUND, "no such image");
        };
        if self.containers.iter().any(|container| container.name == name) {
            return refused(StatusCode::CONFLICT, "the name is in use");
        }
        let own = body["Labels"].as_object().into_iter().flatten();
        let mut labels: BTreeMap<_, _> = self.image_labels.get(&image_id).cloned().unwrap_or_default();
        labels.extend(own.map(|(label, value)| (label.clone(), value.as_str().unwrap().to_owned())));
        self.made += 1;
        let id = hex(&format!("container {}", self.made));
        self.containers.push(Container {
            id: id.clone(),
            name: name.to_owned(),
            project: String::new(),
            service: String::new(),
            dir: String::new(),
            image: image.to_owned(),
            life: self.images[&image_id],
            log: self.logs.get(image).cloned().unwrap_or_default(),
            image_id,
            state: "created".into(),
            labels,
            started: 0,
            host: body["HostConfig"].clone(),
        });
        (StatusCode::CREATED, axum::Json(json!({ "Id": id, "Warnings": [] }))).into_response()
    }

    pub fn start(&mut self, id: &str) -> Response {
        let starts = &mut self.starts;
        let Some(container) = self.containers.iter_mut().find(|container| container.id == id) else {
            return refused(StatusCode::NOT_FOUND, "no such container");
        };
        container.start(starts);
        self.forget_the_ended();
        StatusCode::NO_CONTENT.into_response()
    }

    /// Stops it; one of `--rm` is gone then.
    pub fn stop(&mut self, id: &str) -> Response {
        let stopped = self.with(id, |container| container.state = "exited".into());
        self.forget_the_ended();
        stopped
    }

    /// Makes the container of a unit anew, from what its reference means now; gives systemd's word for the end.
    pub(super) fn restart_unit(&mut self, unit: &str) -> &'static str {
        let of_unit = |container: &Container| container.labels.get(UNIT).is_some_and(|named| named == unit);
        let Some(at) = self.containers.iter().position(of_unit) else { return "failed" };
        let old = self.containers.remove(at);
        if self.find_image(&old.image).is_none() {
            return "failed";
        }
        self.run(&old.name, &old.image).labels = old.labels;
        "done"
    }

    fn forget_the_ended(&mut self) {
        self.containers.retain(|container| container.host["AutoRemove"] != true || container.state != "exited");
    }

    pub(super) fn set_host(&mut self, id: &str, body: &[u8]) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap();
        self.with(id, |container| {
            for (key, value) in body.as_object().unwrap() {
                container.host[key] = value.clone();
            }
        })
    }

    fn with(&mut self, id: &str, change: impl FnOnce(&mut Container)) -> Response {
        match self.containers.iter_mut().find(|container| container.id == id) {
            Some(container) => {
                change(container);
                StatusCode::NO_CONTENT.into_response()
            }
            None => refused(StatusCode::NOT_FOUND, "no such container"),
        }
    }
}

fn refused(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "message": message }))).into_response()
}
