use std::path::Path;

use restock::adapters::engine::{DockerHost, Engine};
use restock::domain::container::{Container, ContainerState, Health};
use restock::domain::plan::runs;
use serde_json::Value;

use super::{name, read, recordings, with_ending};
use crate::world::World;

const WEB: &str = "127.0.0.1:5000/demo/web";

/// An engine that answers as the one of the recording did.
struct Recorded {
    engine: Engine,
    folder: &'static str,
    /// Holds the socket.
    _world: World,
}

impl Recorded {
    fn new(folder: &'static str) -> Self {
        let world = World::new();
        let answers: Vec<_> = with_ending(&recordings(folder), "json").iter().map(|path| answer(path)).collect();
        for (asked, status, value) in &answers {
            world.engine.answer_instead(asked, *status, value.clone());
        }
        // An image that was recorded without the parameter answers also with it, if it has no recording of its own.
        for (asked, status, value) in answers {
            world.engine.answer_instead(&format!("{asked}?manifests=1"), status, value);
        }
        let engine = Engine::new(DockerHost::Unix(world.path("engine.sock"))).unwrap();
        Self { engine, folder, _world: world }
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&read(recordings(self.folder).join(format!("{name}.json")))).unwrap()
    }

    async fn web(&self) -> Container {
        self.engine.containers().await.unwrap().into_iter().find(|container| container.name == "web-web-1").unwrap()
    }
}

/// What was asked, and what the engine said.
fn answer(path: &Path) -> (String, u16, Value) {
    let asked = read(path.with_extension("cmd")).trim_end().strip_prefix("GET ").unwrap().to_owned();
    let status = if name(path) == "image-missing" { 404 } else { 200 };
    (asked, status, serde_json::from_str(&read(path.with_extension("json"))).unwrap())
}

fn engines() -> Vec<Recorded> {
    ["engine-20.10.24", "engine-28.5.2-classic", "engine-28.5.2-containerd"].map(Recorded::new).into()
}

#[tokio::test]
async fn every_engine_says_its_version() {
    for recorded in engines() {
        let info = recorded.engine.info().await.unwrap();
        assert!(recorded.folder.contains(info.version.split('+').next().unwrap()), "{info:?}");
        assert!(info.api_version.starts_with("1."));
    }
}

#[tokio::test]
async fn every_container_is_listed_with_its_service_and_health() {
    for recorded in engines() {
        let containers = recorded.engine.containers().await.unwrap();
        assert_eq!(containers.len(), recorded.json("container-list").as_array().unwrap().len());
        for container in &containers {
            let labels = container.compose.as_ref().unwrap();
            let expected = format!("{}-{}-{}", labels.project, labels.service, labels.number);
            assert_eq!(container.name, expected);
            assert!(container.image_id.as_str().starts_with("sha256:") && !labels.one_off);
            assert!(labels.working_dir.as_ref().unwrap().starts_with("/apps/"));
        }
        let health = |name: &str| containers.iter().find(|known| known.name == name).map(|known| known.health);
        assert_eq!(health("web-web-1"), Some(Health::Starting));
        assert!([None, Some(Health::Unhealthy)].contains(&health("shop-api-1")));
        assert!([None, Some(Health::Healthy)].contains(&health("shop-db-1")));
        assert!([None, Some(Health::None)].contains(&health("shop-worker-1")));
    }
}

#[tokio::test]
async fn an_inspection_tells_what_the_proof_needs() {
    for recorded in engines() {
        for inspection in ["container-inspect", "container-inspect-index"] {
            let id = recorded.json(inspection)["Id"].as_str().unwrap().to_owned();
            let vitals = recorded.engine.vitals(&id).await.unwrap().unwrap();
            assert_eq!((vitals.state, vitals.health), (ContainerState::Running, Health::Starting));
            assert_eq!((vitals.restarts, vitals.exit_code, vitals.error), (0, 0, None));
            assert!(vitals.started_at.is_some() && !vitals.image_id.as_str().is_empty());
            assert_eq!(vitals.manifest.is_some(), recorded.folder.ends_with("containerd"));
        }
        assert!(recorded.engine.vitals("nobody").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn images_are_read_with_their_labels_and_a_missing_one_is_none() {
    for recorded in engines() {
        let image = recorded.engine.image(&format!("{WEB}:latest")).await.unwrap().unwrap();
        assert_eq!((image.version.as_deref(), image.source.as_deref()), (Some("1"), Some("https://git.example/demo")));
        assert!(image.repo_digests.iter().any(|digest| digest.starts_with(WEB)));
        assert!(recorded.engine.image(&format!("{WEB}:none")).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_container_runs_its_own_image_on_every_store_also_behind_an_index() {
    for recorded in engines() {
        let container = recorded.web().await;
        for tag in ["latest", "index"] {
            let image = recorded.engine.image(&format!("{WEB}:{tag}")).await.unwrap().unwrap();
            assert!(runs(&container, &image, None), "{} {tag}", recorded.folder);
        }
        let index = recorded.engine.image(&format!("{WEB}:index")).await.unwrap().unwrap();
        // Of the three manifests only the one for this platform is here; one is an attestation.
        assert_eq!(index.manifests.len(), usize::from(recorded.folder.ends_with("containerd")));
    }
}
