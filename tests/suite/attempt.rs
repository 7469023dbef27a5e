//! Every kind of change, met by every fault at every request that changes something, on the way there and on the way back.
//!
//! The matrix is made from what a run without faults asks of the engine, so a new action cannot be forgotten. Each case ends
//! with either the old or the new running under its own name, and an outcome that says which.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use restock::domain::job::{Job, Outcome};
use restock::usecases::settle::Left;
use restock::usecases::update_app::UpdateOptions;
use serde_json::json;

use crate::world::{Fault, Life, Options, Service, WEB, World, image_id, soon};

const SIDE: &str = "registry.test/side:1";

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
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
}

use Change::{App, AppWithStopped, Container, Ephemeral, Rollback, StoppedContainer};

impl Change {
    fn is_app(self) -> bool {
        matches!(self, App | AppWithStopped | Rollback)
    }

    fn name(self) -> &'static str {
        if self.is_app() { "web-web-1" } else { "web" }
    }

    /// Makes what runs, and a newer image that lives as `life` says. A rollback starts from an update to it, so there it
    /// is the older image that may be bad.
    async fn set_up(self, life: Life) -> Arc<World> {
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
                let service = start(&world, Duration::from_secs(10)).await;
                assert_eq!(change(&service, App).await.outcome, Some(Outcome::Updated));
                world.engine.things(|things| things.images.insert(image_id(&old(self)), life));
                return Arc::new(world);
            }
            Container | Ephemeral | StoppedContainer => world.engine.things(|things| {
                things.publish(WEB, &old(self), Life::Runs);
                let policy = json!({"Name": if self == Ephemeral { "no" } else { "always" }});
                let made = things.run("web", WEB);
                made.host["RestartPolicy"] = policy;
                made.host["AutoRemove"] = json!(self == Ephemeral);
                if self == StoppedContainer {
                    made.state = "exited".into();
                }
            }),
        }
        world.engine.publish_with(WEB, "web new", life);
        Arc::new(world)
    }

    /// How many references change their meaning.
    fn references(self) -> usize {
        if self == AppWithStopped { 2 } else { 1 }
    }

    /// The images before and after, in that order.
    fn sides(self) -> [String; 2] {
        let sides = [image_id(&old(self)), image_id("web new")];
        if self == Rollback { [sides[1].clone(), sides[0].clone()] } else { sides }
    }
}

fn old(_: Change) -> String {
    format!("{WEB} old")
}

async fn start(world: &World, engine: Duration) -> Service {
    let mut options = Options::default();
    options.waits.engine = engine;
    world.restock_with(options).await
}

async fn change(service: &Service, change: Change) -> Job {
    use restock::usecases::update_container::{ContainerOptions, Pull};
    let restock = &service.host;
    let container = || ContainerOptions { pull: Pull::Never, ..ContainerOptions::default() };
    let job = restock.service.run_to_end(async || match change {
        App | AppWithStopped => restock.start_update("web", UpdateOptions::default()).await,
        Rollback => restock.start_rollback("web").await,
        Container | Ephemeral | StoppedContainer => restock.start_container_update("web", container()).await,
    });
    soon("the end of the change", job).await.unwrap()
}

/// Settles until nothing is left open, and gives the job as it is recorded.
async fn settled(service: &Service, job: &Job) -> Job {
    soon("settling", async {
        while service.host.settle_all().await != Left::Nothing {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    service.host.service.job(&job.id).await.unwrap()
}

/// What is there, by name: image and whether it is up.
fn containers(world: &World) -> BTreeMap<String, (String, bool)> {
    world.engine.things(|things| {
        let all = things.containers.iter();
        all.map(|one| (one.name.clone(), (one.image_id.clone(), one.state == "running"))).collect()
    })
}

/// Holds the end of a case against what may never happen.
fn check(case: &str, kind: Change, world: &World, before: &BTreeMap<String, (String, bool)>, job: &Job) {
    check_with(case, kind, world, before, job, false);
}

/// The same; where the engine `refuses` to remove a container, that one stays with a warning.
fn check_with(
    case: &str,
    kind: Change,
    world: &World,
    before: &BTreeMap<String, (String, bool)>,
    job: &Job,
    refuses: bool,
) {
    let after = containers(world);
    let told = format!("{case}: {job:?}\nbefore {before:?}\nafter {after:?}");
    let [old, new] = kind.sides();
    let updated = job.result.as_ref().is_some_and(|result| result.updated || result.outcome == Outcome::RolledBack);
    let (image, up) = after.get(kind.name()).cloned().unwrap_or_default();
    match job.outcome.expect("it has ended") {
        Outcome::Updated => assert_eq!(image, new, "{told}"),
        Outcome::RolledBack if kind == Rollback => assert_eq!(image, new, "{told}"),
        Outcome::RolledBack => assert_eq!(image, old, "{told}"),
        Outcome::Interrupted => assert_eq!(image, if updated { new } else { old }, "{told}"),
        // It says so: nothing is lost, whatever is where.
        Outcome::Failed => {
            let ran = after.values().any(|(image, _)| *image == old) || after.values().any(|(_, up)| *up);
            assert!(ran || image == old, "{told}");
            assert!(job.error.is_some(), "{told}");
            return;
        }
        other => panic!("{other}: {told}"),
    }
    assert_eq!(up, before[kind.name()].1, "{told}");
    let warned = job.result.as_ref().is_some_and(|result| !result.warnings.is_empty());
    let same_names = after.keys().eq(before.keys());
    assert!(same_names || (refuses && warned), "{told}");
    if let Some((_, up)) = after.get("web-side-1") {
        assert!(!up, "what was stopped has been started: {told}");
    }
    // Before anything is touched the pulled image may wait behind its reference.
    let untouched = job.result.iter().flat_map(|result| &result.warnings).any(|said| said.contains("nothing had been"));
    let meaning = world.engine.things(|things| things.find_image(WEB).cloned());
    assert!(untouched || meaning == Some(image), "{meaning:?} {told}");
}

/// No job is open, and no secret is kept.
fn check_database(case: &str, world: &World) {
    let database = rusqlite::Connection::open(world.path("data/restock.db")).unwrap();
    let count = |query: &str| database.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT COUNT(*) FROM jobs WHERE state <> 'finished'"), 0, "{case}");
    let left = "SELECT COUNT(*) FROM attempts WHERE recipe IS NOT NULL OR worker IS NOT NULL OR stage <> 'closed'";
    assert_eq!(count(left), 0, "{case}");
}

/// The changes that a run without faults asks of the engine.
async fn faultless(kind: Change, life: Life) -> Vec<String> {
    let world = kind.set_up(life).await;
    let before = containers(&world);
    world.engine.changes();
    let service = start(&world, Duration::from_secs(10)).await;
    let job = change(&service, kind).await;
    let good = life == Life::Runs || kind == StoppedContainer;
    let expected = match (good, kind) {
        (true, Rollback) => Outcome::RolledBack,
        (true, _) => Outcome::Updated,
        (false, Rollback) => Outcome::Failed,
        (false, _) => Outcome::RolledBack,
    };
    assert_eq!(job.outcome, Some(expected), "{kind:?} {life:?}: {job:?}");
    check(&format!("{kind:?} without a fault"), kind, &world, &before, &job);
    check_database(&format!("{kind:?} without a fault"), &world);
    world.engine.changes()
}

/// Every change meets `fault` once.
async fn each_change_meets(kind: Change, fault: Fault) {
    for life in [Life::Runs, Life::Unhealthy] {
        let changes = faultless(kind, life).await;
        assert!(!changes.is_empty());
        for (n, what) in changes.iter().enumerate() {
            let case = format!("{kind:?} to an image that {life:?}, {fault:?} at {n}: {what}");
            let world = kind.set_up(life).await;
            let before = containers(&world);
            world.engine.fault(n, fault);
            let away = fault == Fault::Gone;
            let service = start(&world, Duration::from_millis(if away { 60 } else { 5000 })).await;
            let job = change(&service, kind).await;
            if away {
                world.engine.come_back();
            }
            let job = settled(&service, &job).await;
            if job.result.is_none() && job.error.as_ref().is_some_and(|error| error.code.starts_with("engine_")) {
                // Refused before anything was touched.
                assert_eq!(containers(&world), before, "{case}: {job:?}");
            } else {
                check_with(&case, kind, &world, &before, &job, fault == Fault::Refused);
            }
            check_database(&case, &world);
        }
    }
}

/// A process dies at every change, before or after it is done, and another one goes on. After a second death the new side
/// is not tried again.
async fn each_change_is_died_at(kind: Change, fault: Fault, deaths: usize) {
    let mut twice_in_forward = 0;
    for life in [Life::Runs, Life::Unhealthy] {
        let changes = faultless(kind, life).await;
        for (n, what) in changes.iter().enumerate() {
            let case = format!("{kind:?} to an image that {life:?}, {deaths} deaths, {fault:?} at {n}: {what}");
            let world = kind.set_up(life).await;
            let before = containers(&world);
            for death in 0..deaths {
                // The second one comes as far as the first action: before it, the images are protected once more.
                world.engine.fault(if death == 0 { n } else { kind.references() }, fault);
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                let inner = world.clone();
                let life = runtime.spawn(async move {
                    let service = start(&inner, Duration::from_secs(5)).await.that_dies();
                    if death == 0 {
                        change(&service, kind).await;
                    } else {
                        while service.host.settle_all().await == Left::Held {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                });
                tokio::select! {
                    () = soon("the fault", world.engine.hung()) => {}
                    // Settling may need no change at all.
                    ended = life => assert!(death > 0, "{case}: {ended:?}"),
                }
                runtime.shutdown_background();
            }
            let service = start(&world, Duration::from_secs(5)).await;
            let jobs = soon("the lock of the dead", async {
                loop {
                    let jobs = service.host.service.store.running().await.unwrap();
                    if service.host.settle_all().await == Left::Nothing {
                        return jobs;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
            .await;
            match jobs.first() {
                Some(job) => check(&case, kind, &world, &before, &service.host.service.job(&job.id).await.unwrap()),
                // It had ended already.
                None => assert!(!containers(&world).is_empty(), "{case}"),
            }
            check_database(&case, &world);
            if counted_deaths(&world) >= 2 {
                twice_in_forward += 1;
                assert_eq!(containers(&world)[kind.name()].0, kind.sides()[0], "{case}");
            }
        }
    }
    // Compose moves an app in one go, which the engine's changes do not show.
    assert_eq!(twice_in_forward > 0, deaths >= 2 && !kind.is_app(), "{kind:?}");
}

fn counted_deaths(world: &World) -> i64 {
    let database = rusqlite::Connection::open(world.path("data/restock.db")).unwrap();
    let query = "SELECT COALESCE(MAX(deaths), 0) FROM attempts";
    database.query_row(query, [], |row| row.get(0)).unwrap()
}

macro_rules! matrix {
    ($($name:ident => $kind:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn refused() {
                each_change_meets($kind, Fault::Refused).await;
            }
            #[tokio::test]
            async fn answer_lost() {
                each_change_meets($kind, Fault::AnswerLost).await;
            }
            #[tokio::test]
            async fn twice() {
                each_change_meets($kind, Fault::Twice).await;
            }
            #[tokio::test]
            async fn engine_gone() {
                each_change_meets($kind, Fault::Gone).await;
            }
            #[tokio::test]
            async fn death_before() {
                each_change_is_died_at($kind, Fault::HangsBefore, 1).await;
            }
            #[tokio::test]
            async fn death_after() {
                each_change_is_died_at($kind, Fault::HangsAfter, 1).await;
            }
            #[tokio::test]
            async fn two_deaths() {
                each_change_is_died_at($kind, Fault::HangsAfter, 2).await;
            }
        }
    )*};
}

matrix! {
    app => App;
    app_with_a_stopped_service => AppWithStopped;
    rollback => Rollback;
    container => Container;
    container_that_removes_itself => Ephemeral;
    stopped_container => StoppedContainer;
}
