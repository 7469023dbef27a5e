//! Containers as the engine lists them.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{ProjectName, ServiceName};
use super::image::{Digest, ImageId};
use super::policy::PolicyLabels;

/// A container's life, in the engine's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
    /// A word this version does not know; one such container must not hide the others.
    Unknown,
}

impl ContainerState {
    /// Reads the engine's word. Podman also says `stopped`, `stopping`, `configured` and `initialized`.
    pub fn from_engine(word: &str) -> Self {
        match word {
            "created" | "configured" | "initialized" => Self::Created,
            "running" | "stopping" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" | "stopped" => Self::Exited,
            "dead" => Self::Dead,
            _ => Self::Unknown,
        }
    }

    /// Returns whether somebody meant this container to be up: a container between two restarts is.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Restarting | Self::Paused)
    }
}

/// What a container's own healthcheck says; the worse is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The container has no healthcheck.
    None,
    Healthy,
    Starting,
    Unhealthy,
}

impl Health {
    /// The worst health of the containers that should run: one that has stopped has no health, only a state.
    pub fn worst(containers: &[Container]) -> Self {
        let up = containers.iter().filter(|container| container.state.is_up());
        up.map(|container| container.health).max().unwrap_or(Self::None)
    }
}

/// What Compose wrote on a container it made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposeLabels {
    pub project: ProjectName,
    pub service: ServiceName,
    /// The project's directory as Compose saw it.
    pub working_dir: Option<String>,
    /// A container of `docker compose run`, no part of the project's standing state.
    pub one_off: bool,
    /// Counts the replicas of a service from 1.
    pub number: u32,
}

/// A container, as much of it as one list call tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// What the container was created from.
    pub image_id: ImageId,
    /// The platform's manifest it runs; only containerd image stores tell (API 1.48 and newer).
    pub manifest: Option<Digest>,
    /// The image's name as the engine lists it: the reference, or a bare ID once the reference has moved on.
    pub image: String,
    pub state: ContainerState,
    pub health: Health,
    pub compose: Option<ComposeLabels>,
    /// What its labels say of automatic updates.
    pub policy: PolicyLabels,
    /// When it was made, by the engine's clock.
    pub created_at: Option<Timestamp>,
    /// A file with credentials for its image's registry, from the label `io.containers.autoupdate.authfile`.
    pub authfile: Option<PathBuf>,
    /// `org.opencontainers.image.version`, which a container has from its image.
    pub version: Option<String>,
    /// `org.opencontainers.image.source`, likewise.
    pub source: Option<String>,
    /// The systemd unit that runs it, from the label `PODMAN_SYSTEMD_UNIT`.
    pub unit: Option<String>,
    /// `container:<id>` of another container whose network this one lives in.
    pub network_of: Option<String>,
    /// Containers that were linked to this one with `--link`, by their names.
    pub linked_by: Vec<String>,
}

/// How soon after it was made a container that has not been started yet is expected to be: one that was only created, as
/// for a service that was stopped, stays as it is.
const COMING_UP: SignedDuration = SignedDuration::from_secs(60);

impl Container {
    /// Returns whether somebody is just making it: it has not been started for the first time.
    pub fn is_coming_up(&self, now: Timestamp) -> bool {
        let young = self.created_at.is_none_or(|made| now.duration_since(made) < COMING_UP);
        self.state == ContainerState::Created && young
    }

    /// Twelve characters, as the Docker CLI shows it.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// What only an inspection tells, for the proof that a container works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vitals {
    pub state: ContainerState,
    pub health: Health,
    pub exit_code: i64,
    /// How often the engine restarted it under its restart policy.
    pub restarts: i64,
    /// When it last started; `None` when never.
    pub started_at: Option<Timestamp>,
    /// How long its healthcheck lets it start before failures count.
    pub start_period: std::time::Duration,
    /// The engine brings it back by itself when it exits (restart policy other than `no`).
    pub comes_back: bool,
    /// The engine's own words about a failed start.
    pub error: Option<String>,
    /// The last line that a failing healthcheck printed.
    pub health_output: Option<String>,
    pub image_id: ImageId,
    pub manifest: Option<Digest>,
}

/// An image of the engine's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalImage {
    pub id: ImageId,
    /// `repository@digest`, as the engine knows where it came from.
    pub repo_digests: Vec<String>,
    /// The image manifests of an index that are present; only containerd image stores tell.
    pub manifests: Vec<PlatformManifest>,
    /// `org.opencontainers.image.version` where the image carries it.
    pub version: Option<String>,
    /// `org.opencontainers.image.source` where the image carries it.
    pub source: Option<String>,
}

/// One platform of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformManifest {
    pub digest: Digest,
    /// `os/architecture[/variant]`.
    pub platform: String,
}

#[cfg(test)]
impl Container {
    /// One that runs, of no app, made from `image`; tests change what they are about.
    pub(crate) fn sample(name: &str, image: &str) -> Self {
        Self {
            id: name.into(),
            name: name.into(),
            image_id: ImageId::new(image),
            manifest: None,
            image: "x".into(),
            state: ContainerState::Running,
            health: Health::None,
            compose: None,
            policy: PolicyLabels::default(),
            created_at: None,
            authfile: None,
            version: None,
            source: None,
            unit: None,
            network_of: None,
            linked_by: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_health_is_that_of_what_should_run() {
        let worst = |all: &[(ContainerState, Health)]| {
            let container =
                |(state, health): &_| Container { state: *state, health: *health, ..Container::sample("web", "1") };
            Health::worst(&all.iter().map(container).collect::<Vec<_>>())
        };
        let (up, down) = (ContainerState::Running, ContainerState::Exited);
        assert_eq!(worst(&[]), Health::None);
        assert_eq!(worst(&[(up, Health::None), (up, Health::Healthy), (down, Health::Unhealthy)]), Health::Healthy);
        assert_eq!(worst(&[(up, Health::Starting), (up, Health::Healthy)]), Health::Starting);
        assert_eq!(worst(&[(up, Health::Starting), (up, Health::Unhealthy)]), Health::Unhealthy);
    }

    #[test]
    fn only_what_was_just_made_is_coming_up() {
        let now = Timestamp::from_second(1000).unwrap();
        let made = |state, second: i64| {
            let created_at = Some(Timestamp::from_second(second).unwrap());
            Container { state, created_at, ..Container::sample("web", "1") }.is_coming_up(now)
        };
        assert!(made(ContainerState::Created, 990));
        assert!(!made(ContainerState::Created, 100) && !made(ContainerState::Exited, 990));
    }
}
