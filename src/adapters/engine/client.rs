//! What Restock asks of an engine and tells it to do: one method, one request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    RemoveContainerOptionsBuilder, RemoveImageOptions, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::error::EngineError;
use super::host::DockerHost;
use super::labels::ImageLabels;
use super::origins::FromElsewhere;
use super::parse;
use super::wire::{HEAD_DEADLINE, Wire};
use crate::domain::app::ProjectName;
use crate::domain::container::{Container, LocalImage, Vitals};
use crate::domain::image::{ImageId, ImageReference};

/// How long a read may take. The engine answers from memory; a busy disk is the worst case.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(30);
/// How long the engine may take to say that it lives.
const PING_DEADLINE: Duration = Duration::from_secs(3);

/// Longer than any event: its labels are those of one container.
const MAX_EVENT: usize = 1 << 20;

/// The events after which a list of containers or images looks different. Those of `exec` are not among them: every
/// healthcheck is one.
const WATCHED: [&str; 19] = [
    "create",
    "start",
    "restart",
    "stop",
    "die",
    "destroy",
    "kill",
    "oom",
    "pause",
    "unpause",
    "rename",
    "update",
    "health_status",
    "pull",
    "push",
    "tag",
    "untag",
    "delete",
    "load",
];

/// What an event of an engine is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The engine is listened to from now on.
    Listening,
    Containers,
    /// Images, or something that is not understood.
    Images,
}

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
            async move {
                let sent = wire.send(request).await;
                sent.map_err(|error| bollard::errors::Error::from(std::io::Error::other(error.to_string())))
            }
        };
        let timeout = HEAD_DEADLINE.as_secs();
        let docker =
            Docker::connect_with_custom_transport(send, Some("http://docker"), timeout, bollard::API_DEFAULT_VERSION)?;
        Ok(Self {
            wire,
            docker,
            image_labels: ImageLabels::default(),
            from_elsewhere: FromElsewhere::default(),
            forgets: Arc::default(),
        })
    }

    /// The typed client, over the same wire.
    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Asks for the engine's version: the cheapest proof that it lives and answers.
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        let value = self.wire.json(Method::GET, "/version", None, PING_DEADLINE).await?;
        let word = |key: &str| value[key].as_str().unwrap_or("unknown").to_owned();
        let components = value["Components"].as_array().into_iter().flatten();
        Ok(EngineInfo {
            version: word("Version"),
            api_version: word("ApiVersion"),
            platform: value["Os"].as_str().zip(value["Arch"].as_str()).map(|(os, arch)| format!("{os}/{arch}")),
            is_podman: components.into_iter().any(|component| component["Name"] == "Podman Engine"),
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

    /// Calls `heard` when the engine is listened to, and then whenever containers or images have changed; ends only
    /// with an error.
    pub async fn watch(&self, mut heard: impl FnMut(News)) -> Result<(), EngineError> {
        let filter = serde_json::json!({"type": ["container", "image"], "event": WATCHED}).to_string();
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("filters", &filter).finish();
        let request = hyper::Request::get(format!("/events?{query}"));
        let request = request.body(bollard::body_full(bytes::Bytes::new()));
        let request =
            request.map_err(|error| EngineError::Protocol { what: "/events".into(), reason: error.to_string() })?;
        let response = self.wire.send(request).await?;
        if !response.status().is_success() {
            let message = "its events cannot be read".into();
            return Err(EngineError::Status { status: response.status().as_u16(), message });
        }
        let mut body = response.into_body();
        heard(News::Listening);
        let mut line = Vec::new();
        while let Some(frame) = body.frame().await {
            let gone = |error: hyper::Error| EngineError::Unreachable {
                host: self.wire.host().to_string(),
                reason: error.to_string(),
            };
            let data = frame.map_err(gone)?.into_data().unwrap_or_default();
            for part in data.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if part.ends_with(b"\n") || line.len() > MAX_EVENT {
                    heard(parse::news(&line));
                    line.clear();
                }
            }
        }
        Err(EngineError::Unreachable { host: self.wire.host().to_string(), reason: "its events ended".into() })
    }

    /// What the proof that a container works needs to know; `None` when there is no such container.
    pub async fn vitals(&self, container: &str) -> Result<Option<Vitals>, EngineError> {
        present(self.inspect(container).await.map(|value| parse::vitals(&value)))
    }

    /// The image that `reference` (or an ID) means in the engine's store now; `None` when it means none.
    ///
    /// `manifests=1` lists the manifests behind an index on containerd stores; others ignore it.
    pub async fn image(&self, reference: &str) -> Result<Option<LocalImage>, EngineError> {
        let path = format!("/images/{reference}/json?manifests=1");
        let value = match self.wire.json(Method::GET, &path, None, READ_DEADLINE).await {
            // It cannot be parsed, so nothing has that name.
            Err(EngineError::Status { status: 400, .. }) => None,
            answer => present(answer)?,
        };
        Ok(value.as_ref().and_then(parse::local_image))
    }

    /// Everything about an image, as the engine says it; `None` when there is no such image.
    pub async fn inspect_image(&self, image: &str) -> Result<Option<Value>, EngineError> {
        present(self.wire.json(Method::GET, &format!("/images/{image}/json"), None, READ_DEADLINE).await)
    }

    /// The image that a name means now; `None` when it means none.
    pub async fn meaning(&self, name: &str) -> Result<Option<ImageId>, EngineError> {
        let image = self.inspect_image(name).await?;
        Ok(image.and_then(|image| image["Id"].as_str().map(ImageId::new)))
    }

    /// The complete names that the image has which a name or an ID means. A name with a tag is the only one that is meant:
    /// without it the image keeps the others.
    pub async fn names_of(&self, image: &str) -> Result<Vec<String>, EngineError> {
        let inspected = self.inspect_image(image).await?.unwrap_or_default();
        let names = inspected["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let names = names.filter_map(|name| name.parse::<ImageReference>().ok()).map(|name| name.canonical());
        let asked = image.parse::<ImageReference>().ok().map(|name| name.canonical());
        let names: Vec<_> = names.collect();
        Ok(match asked.filter(|asked| names.contains(asked)) {
            Some(asked) => vec![asked],
            None => names,
        })
    }

    /// As [`Engine::inspect_image`], of an index the image for `platform`, as a descriptor has it; null means the
    /// engine's own.
    pub async fn inspect_image_for(&self, image: &str, platform: &Value) -> Result<Option<Value>, EngineError> {
        if platform.is_null() {
            return self.inspect_image(image).await;
        }
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("platform", &platform.to_string())
            .finish();
        present(self.wire.json(Method::GET, &format!("/images/{image}/json?{query}"), None, READ_DEADLINE).await)
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

    /// What each of `references` means now, asked once each and all at the same time.
    pub async fn images(
        &self,
        references: impl IntoIterator<Item = String>,
    ) -> Result<BTreeMap<String, Option<LocalImage>>, EngineError> {
        let asked = references.into_iter().map(|reference| async move {
            let image = self.image(&reference).await;
            image.map(|image| (reference, image))
        });
        futures_util::future::try_join_all(asked).await.map(|images| images.into_iter().collect())
    }

    /// What each name in the store means, by its complete form: one request for all.
    pub async fn names(&self) -> Result<BTreeMap<String, ImageId>, EngineError> {
        let images = self.wire.json(Method::GET, "/images/json", None, READ_DEADLINE).await?;
        let names = |image: &Value| {
            let names = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
            // `<none>:<none>` is no name.
            let names = names.filter_map(|name| name.parse::<ImageReference>().ok());
            let id = ImageId::new(image["Id"].as_str()?);
            Some(names.map(|name| (name.canonical(), id.clone())).collect::<Vec<_>>())
        };
        Ok(images.as_array().into_iter().flatten().filter_map(names).flatten().collect())
    }

    /// Gives an image one more name.
    pub async fn tag(&self, image: &ImageId, repository: &str, tag: &str) -> Result<(), EngineError> {
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        Ok(self.docker.tag_image(image.as_str(), Some(options)).await?)
    }

    /// Takes a name away from an image; the image itself goes when that was its last name and nothing uses it.
    pub async fn untag(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::default().noprune(true).build();
        present(self.docker.remove_image(name, Some(options), None).await.map_err(EngineError::from)).map(drop)
    }

    /// Removes an image by its ID, with all its names in registries. The engine refuses while a container uses it.
    pub async fn remove_image(&self, image: &ImageId) -> Result<(), EngineError> {
        let removed = self.docker.remove_image(image.as_str(), None::<RemoveImageOptions>, None).await;
        present(removed.map_err(EngineError::from)).map(drop)
    }

    /// All names of images that start with `repository/`, and what they name.
    pub async fn names_below(&self, repository: &str) -> Result<Vec<(String, ImageId)>, EngineError> {
        let images = self.wire.json(Method::GET, "/images/json", None, READ_DEADLINE).await?;
        let prefix = format!("{repository}/");
        let mut below = Vec::new();
        for image in images.as_array().into_iter().flatten() {
            let names = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let id = ImageId::new(image["Id"].as_str().unwrap_or_default());
            below.extend(names.filter(|name| name.starts_with(&prefix)).map(|name| (name.to_owned(), id.clone())));
        }
        Ok(below)
    }

    /// Gives a container another name.
    pub async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        let options = bollard::query_parameters::RenameContainerOptionsBuilder::default().name(name).build();
        Ok(self.docker.rename_container(container, options).await?)
    }

    /// Removes a container that does not run; its volumes stay.
    pub async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().v(false).force(false).build();
        present(self.docker.remove_container(container, Some(options)).await.map_err(EngineError::from)).map(drop)
    }

    /// Makes sure that a volume exists; one that does is left as it is.
    pub async fn ensure_volume(&self, name: &str) -> Result<(), EngineError> {
        let body = serde_json::json!({ "Name": name });
        self.wire.json(Method::POST, "/volumes/create", Some(&body), READ_DEADLINE).await.map(drop)
    }

    /// Whether a volume exists.
    pub async fn has_volume(&self, name: &str) -> Result<bool, EngineError> {
        present(self.wire.json(Method::GET, &format!("/volumes/{name}"), None, READ_DEADLINE).await)
            .map(|found| found.is_some())
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
