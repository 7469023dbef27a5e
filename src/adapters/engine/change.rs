//! Changes of single containers and volumes: the parts of a standalone container's replacement.

use std::time::Duration;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{CHANGE_DEADLINE, Engine, READ_DEADLINE, present};
use super::error::EngineError;

/// What a stop may take beyond the container's own grace period.
const STOP_MARGIN: Duration = Duration::from_secs(30);

impl Engine {
    /// Makes a container, for another platform than the engine's own where one is named; gives its ID.
    pub async fn create(&self, name: &str, body: &Value, platform: Option<&str>) -> Result<String, EngineError> {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("name", name)
            .extend_pairs(platform.map(|platform| ("platform", platform)))
            .finish();
        let path = format!("/containers/create?{query}");
        let made = self.wire.json(Method::POST, &path, Some(body), CHANGE_DEADLINE).await?;
        let id = made["Id"].as_str().map(str::to_owned);
        id.ok_or_else(|| EngineError::Protocol { what: path, reason: "it gave no ID".into() })
    }

    /// Starts a container; one that runs is left alone.
    pub async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.done(CHANGE_DEADLINE, self.docker().start_container(container, None)).await
    }

    /// Stops a container by its own signal and `grace` period; a stopped one, or one that is gone, is left alone.
    pub async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        let stopped = self.docker().stop_container(container, None);
        present(self.done(grace + STOP_MARGIN, stopped).await).map(drop)
    }

    /// Gives a container another name.
    pub async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        self.done(CHANGE_DEADLINE, self.docker().rename_container(container, options)).await
    }

    /// Removes a container that does not run; its volumes stay.
    pub async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().v(false).force(false).build();
        let removed = self.docker().remove_container(container, Some(options));
        present(self.done(CHANGE_DEADLINE, removed).await).map(drop)
    }

    /// Sets when the engine brings a container back by itself.
    pub async fn set_restart_policy(&self, container: &str, policy: &Value) -> Result<(), EngineError> {
        let body = json!({ "RestartPolicy": policy });
        let path = format!("/containers/{container}/update");
        match self.wire.json(Method::POST, &path, Some(&body), READ_DEADLINE).await {
            // Podman before 5 has no such route, and brings nothing back by itself but what its units start.
            Err(EngineError::Status { status: 404, message }) if message.trim() == "Not Found" => {
                tracing::debug!(container, "this engine cannot change a restart policy");
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Connects a container to one more network.
    pub async fn connect(&self, network: &str, container: &str, endpoint: &Value) -> Result<(), EngineError> {
        let body = json!({ "Container": container, "EndpointConfig": endpoint });
        self.wire
            .json(Method::POST, &format!("/networks/{network}/connect"), Some(&body), READ_DEADLINE)
            .await
            .map(drop)
    }

    /// Makes sure that a volume exists; one that does is left as it is.
    pub async fn ensure_volume(&self, name: &str) -> Result<(), EngineError> {
        let volume = VolumeCreateRequest { name: Some(name.to_owned()), ..VolumeCreateRequest::default() };
        self.done(READ_DEADLINE, self.docker().create_volume(volume)).await
    }

    /// Returns whether a volume exists.
    pub async fn has_volume(&self, name: &str) -> Result<bool, EngineError> {
        present(self.done(READ_DEADLINE, self.docker().inspect_volume(name)).await).map(|found| found.is_some())
    }
}
