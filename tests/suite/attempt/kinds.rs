//! The kinds of change, each with a world to make it in.

use std::sync::Arc;

use restock::domain::job::{Job, Outcome};
use restock::error::Error;
use restock::usecases::update_container::{ContainerOptions, Pull};
use restock::usecases::update_options::UpdateOptions;
use serde_json::json;

use crate::world::{Life, Options, Service, UNIT, WEB, World, image_id, soon};

const SIDE: &str = "registry.test/side:1";
/// What [`WEB`] means at first.
const OLD: &str = "registry.test/web:1 old";

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// An app of one service.
    App,
    /// An app with a stopped service on another image that changes as well.
    AppWithStopped,
    /// Back to the image before the last update.
    Rollback,
    Container,
    /// A container that removes itself when it stops.
    Ephemeral,
    /// A container that does not run.
    StoppedContainer,
    /// A container that a systemd unit makes, on Podman.
    Unit,
}

use Change::{App, AppWithStopped, Container, Ephemeral, Rollback, StoppedContainer, Unit};

impl Change {
    pub fn is_app(self) -> bool {
        matches!(self, App | AppWithStopped | Rollback)
    }

    pub fn name(self) -> &'static str {
        if self.is_app() { "web-web-1" } else { "web" }
    }

    /// Makes what runs, and a newer image that lives as `life` says. A rollback starts from an update to it, so there it
    /// is the older image that may be bad.
    pub async fn set_up(self, life: Life) -> Arc<World> {
        let world = World::new();
        match self {
            App => world.app("web").service("web", WEB).running(),
            AppWithStopped => {
                world.app("web").service("web", WEB).service("side", SIDE).running();
                world.engine.change("web-side-1", |side| side.state = "exited".into());
                world.engine.publish(SIDE, "side new");
            }
            Rollback => {
                world.app("web").service("web", WEB).running();
                world.engine.publish(WEB, "web new");
                let service = start(&world, Options::default()).await;
                assert_eq!(App.run(&service).await.unwrap().outcome, Some(Outcome::Updated));
                world.engine.things(|things| things.images.insert(image_id(OLD), life));
                return Arc::new(world);
            }
            Container | Ephemeral | StoppedContainer => world.engine.things(|things| {
                things.publish(WEB, OLD, Life::Runs);
                let policy = json!({"Name": if self == Ephemeral { "no" } else { "always" }});
                let made = things.run("web", WEB);
                made.host["RestartPolicy"] = policy;
                made.host["AutoRemove"] = json!(self == Ephemeral);
                if self == StoppedContainer {
                    made.state = "exited".into();
                }
            }),
            Unit => {
                world.engine.says(json!({"Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]}));
                world.engine.things(|things| {
                    things.publish(WEB, OLD, Life::Runs);
                    things.run("web", WEB).labels.insert(UNIT.into(), "web.service".into());
                });
                world.systemd_comes().await;
            }
        }
        world.engine.publish_with(WEB, "web new", life);
        Arc::new(world)
    }

    /// How many references change their meaning.
    pub fn references(self) -> usize {
        if self == AppWithStopped { 2 } else { 1 }
    }

    /// The images before and after, in that order.
    pub fn sides(self) -> [String; 2] {
        let sides = [image_id(OLD), image_id("web new")];
        if self == Rollback { [sides[1].clone(), sides[0].clone()] } else { sides }
    }

    /// Makes the change, to its end.
    ///
    /// # Errors
    /// It could not even begin.
    pub async fn run(self, service: &Service) -> Result<Job, Error> {
        let restock = &service.host;
        let container = || ContainerOptions { pull: Pull::Never, ..ContainerOptions::default() };
        let job = restock.service.run_to_end(async || match self {
            App | AppWithStopped => restock.start_update("web", UpdateOptions::default()).await,
            Rollback => restock.start_rollback("web").await,
            _ => restock.start_container_update("web", container()).await,
        });
        soon("the end of the change", job).await
    }

    /// How a run without faults ends, where the image lives as `life` says.
    pub fn faultless_end(self, life: Life) -> Outcome {
        match (life == Life::Runs || self == StoppedContainer, self) {
            (true, Rollback) => Outcome::RolledBack,
            (true, _) => Outcome::Updated,
            (false, Rollback) => Outcome::Failed,
            (false, _) => Outcome::RolledBack,
        }
    }
}

/// A Restock that does not wait where nothing in the world would change by waiting.
pub(super) async fn start(world: &World, mut options: Options) -> Service {
    let quick = std::time::Duration::from_millis(5);
    (options.waits.retry, options.waits.look) = (quick, quick);
    world.restock_with(options).await
}
