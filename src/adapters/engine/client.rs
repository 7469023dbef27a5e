//! The client of an engine: one method, one request.

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use hyper::Method;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::error::EngineError;
use super::host::DockerHost;
use super::labels::ImageLabels;
use super::origins::FromElsewhere;
use super::parse;
use super::wire::Wire;
use crate::domain::app::ProjectName;
use crate::domain::container::{Container, Vitals};

/// How long a read may take. The engine answers from memory; a busy disk is the worst case.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(30);
/// How long a change of a container, an image or a volume may take on a busy disk.
pub(super) const CHANGE_DEADLINE: Duration = Duration::from_secs(120);
/// How long the engine may take to say that it lives.
const PING_DEADLINE: Duration = Duration::from_secs(3);

/// A Docker Engine, or what speaks its API. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(super) wire: Wire,
    docker: Docker,
    pub(super) image_labels: ImageLabels,
    pub(super) from_elsewhere: FromElsewhere,
    /// See [`Engine::forgets_replaced_images`].
    forgets: Arc<OnceCell<bool>>,
}

/// What an engine says about itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EngineInfo {
    pub version: String,
    pub api_version: String,
    /// Operating system and architecture, `linux/amd64`, where it says so.
    #[serde(skip)]
    pub platform: Option<String>,
    /// It is Podman, which speaks the same API.
    #[serde(skip)]
    pub is_podman: bool,
}

/// How an engine goes about pulls, by the settings of its administrator. Podman has its own files for that and reports
/// none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// The registries, by name or network, that it speaks plain http to, or whose certificates it does not check.
    pub insecure: Vec<String>,
    /// The addresses that it asks in the place of Docker Hub, in this order.
    pub mirrors: Vec<String>,
}

impl Engine {
    /// An engine that is first contacted when it is first asked: one that is down now may come up later.
    pub fn new(host: DockerHost) -> Result<Self, EngineError> {
        let wire = Wire::new(host);
        let transport = wire.clone();
        let send = move |request| {
            let wire = transport.clone();
            async move { wire.send(request).await.map_err(EngineError::into_bollard) }
        };
        // Every call has a deadline of its own; bollard's would be the same for all.
        let docker =
            Docker::connect_with_custom_transport(send, Some("http://docker"), u64::MAX, bollard::API_DEFAULT_VERSION)
                .map_err(|error| EngineError::of_bollard(error, wire.host()))?;
        Ok(Self {
            wire,
            docker,
            image_labels: ImageLabels::default(),
            from_elsewhere: FromElsewhere::default(),
            forgets: Arc::default(),
        })
    }

    /// The typed client, over the same wire. It waits without end: [`Engine::ask`] and [`Engine::done`] do not.
    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Waits for what bollard reads, but no longer than `deadline`.
    pub(super) async fn ask<T>(
        &self,
        deadline: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        let answer = tokio::time::timeout(deadline, call).await;
        let answer = answer.map_err(|_| EngineError::Timeout { after: deadline })?;
        answer.map_err(|error| EngineError::of_bollard(error, self.wire.host()))
    }

    /// Waits, but no longer than `deadline`, until the engine has done something. An answer that bollard cannot read does
    /// not matter then: it reads one only after a status of success. (Drivers of volumes report what they like.)
    pub(super) async fn done<T>(
        &self,
        deadline: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<(), EngineError> {
        let done = async {
            match call.await {
                Err(bollard::errors::Error::JsonDataError { .. }) => Ok(()),
                answer => answer.map(drop),
            }
        };
        self.ask(deadline, done).await
    }

    /// Asks for the engine's version: the cheapest proof that it lives and answers.
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        let version = self.ask(PING_DEADLINE, self.docker.version()).await?;
        let word = |said: Option<String>| said.unwrap_or_else(|| "unknown".to_owned());
        let components = version.components.unwrap_or_default();
        Ok(EngineInfo {
            version: word(version.version),
            api_version: word(version.api_version),
            platform: version.os.zip(version.arch).map(|(os, arch)| format!("{os}/{arch}")),
            is_podman: components.iter().any(|component| component.name == "Podman Engine"),
        })
    }

    /// Reports whether a pull that gives an image's name to another image makes the engine forget the former one, although
    /// containers run it: containerd stores keep it since Docker 27.2 (moby, commit db40a6132b). The engine is asked once.
    pub async fn forgets_replaced_images(&self) -> Result<bool, EngineError> {
        let ask = || async {
            let engine = self.info().await?;
            if engine.is_podman || !parse::is_before(&engine.version, (27, 2)) {
                return Ok(false);
            }
            let info = self.wire.json(Method::GET, "/info", None, READ_DEADLINE).await?;
            Ok(parse::has_containerd_store(&info))
        };
        self.forgets.get_or_try_init(ask).await.copied()
    }

    /// The engine's settings for the registries that it pulls from.
    pub async fn registry_settings(&self) -> Result<RegistrySettings, EngineError> {
        let info = self.wire.json(Method::GET, "/info", None, READ_DEADLINE).await?;
        Ok(parse::registry_settings(&info["RegistryConfig"]))
    }

    /// Every container, stopped ones included: one request, however many there are.
    pub async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.list("/containers/json?all=1").await
    }

    /// The containers of one Compose project, stopped ones included.
    pub async fn project_containers(&self, project: &ProjectName) -> Result<Vec<Container>, EngineError> {
        let filter = serde_json::json!({"label": [format!("com.docker.compose.project={project}")]}).to_string();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("all", "1")
            .append_pair("filters", &filter)
            .finish();
        self.list(&format!("/containers/json?{query}")).await
    }

    async fn list(&self, path: &str) -> Result<Vec<Container>, EngineError> {
        let value = self.wire.json(Method::GET, path, None, READ_DEADLINE).await?;
        self.read_list(&value).await
    }

    /// Everything about one container, as the engine says it.
    pub async fn inspect(&self, container: &str) -> Result<Value, EngineError> {
        self.wire.json(Method::GET, &format!("/containers/{container}/json"), None, READ_DEADLINE).await
    }

    /// What a container was made from, as it was asked for; `None` when there is no such container.
    pub async fn made_from(&self, container: &str) -> Result<Option<String>, EngineError> {
        let inspected = present(self.inspect(container).await)?;
        Ok(inspected.and_then(|value| value["Config"]["Image"].as_str().map(str::to_owned)))
    }

    /// What the proof that a container works needs to know; `None` when there is no such container.
    pub async fn vitals(&self, container: &str) -> Result<Option<Vitals>, EngineError> {
        present(self.inspect(container).await.map(|value| parse::vitals(&value)))
    }

    /// The MAC address that somebody has set for a container: only versions of the API before 1.44 say it for sure.
    /// `None` where the engine speaks none of them any more.
    pub async fn mac_set_by_hand(&self, container: &str) -> Result<Option<Value>, EngineError> {
        let path = format!("/v1.43/containers/{container}/json");
        match self.wire.json(Method::GET, &path, None, READ_DEADLINE).await {
            Ok(mut inspected) => Ok(Some(inspected["Config"]["MacAddress"].take())),
            Err(EngineError::Status { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Turns the engine's "no such …" into `None`.
pub(super) fn present<T>(answer: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
