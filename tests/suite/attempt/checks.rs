//! What the end of a case is held against.

use std::collections::BTreeMap;
use std::time::Duration;

use restock::domain::job::{Job, Outcome};
use restock::usecases::settle::Left;

use super::kinds::Change::{self, Rollback};
use crate::world::{Container, Service, WEB, World, soon};

/// The containers that are there, by name.
pub(super) type There = BTreeMap<String, Found>;

/// A container that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    id: String,
    pub image: String,
    up: bool,
}

/// Settles until nothing is left open, and gives the job as it is recorded.
pub(super) async fn settled(service: &Service, job: &Job) -> Job {
    soon("settling", async {
        while service.host.settle_all().await != Left::Nothing {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    service.host.service.job(&job.id).await.unwrap()
}

pub(super) fn containers(world: &World) -> There {
    world.engine.things(|things| {
        let all = things.containers.iter();
        let found =
            |one: &Container| Found { id: one.id.clone(), image: one.image_id.clone(), up: one.state == "running" };
        all.map(|one| (one.name.clone(), found(one))).collect()
    })
}

/// Holds the end of a case against what may never happen.
pub(super) fn check(case: &str, kind: Change, world: &World, before: &There, job: &Job) {
    check_with(case, kind, world, before, job, false);
}

/// The same; where the engine `refuses` to remove a container, that one stays with a warning.
pub(super) fn check_with(case: &str, kind: Change, world: &World, before: &There, job: &Job, refuses: bool) {
    let after = containers(world);
    let told = format!("{case}: {job:?}\nbefore {before:?}\nafter {after:?}");
    let [old, new] = kind.sides();
    let updated = job.result.as_ref().is_some_and(|result| result.updated || result.outcome == Outcome::RolledBack);
    let Found { image, up, .. } = after.get(kind.name()).cloned().unwrap_or_default();
    if job.error.as_ref().is_some_and(|error| error.message.contains("nothing was touched")) {
        assert_eq!(after, *before, "{told}");
    }
    match job.outcome.expect("it has ended") {
        Outcome::Updated => assert_eq!(image, new, "{told}"),
        Outcome::RolledBack if kind == Rollback => assert_eq!(image, new, "{told}"),
        Outcome::RolledBack => assert_eq!(image, old, "{told}"),
        Outcome::Interrupted => assert_eq!(image, if updated { new } else { old }, "{told}"),
        // It says so: nothing is lost, whatever is where.
        Outcome::Failed => {
            let ran = after.values().any(|found| found.image == old || found.up);
            assert!(ran || image == old, "{told}");
            assert!(job.error.is_some(), "{told}");
            return;
        }
        other => panic!("{other}: {told}"),
    }
    assert_eq!(up, before[kind.name()].up, "{told}");
    let warned = job.result.as_ref().is_some_and(|result| !result.warnings.is_empty());
    let same_names = after.keys().eq(before.keys());
    assert!(same_names || (refuses && warned), "{told}");
    if let Some(side) = after.get("web-side-1") {
        assert!(!side.up, "what was stopped has been started: {told}");
    }
    // Before anything is touched the pulled image may wait behind its reference.
    let untouched = job.result.iter().flat_map(|result| &result.warnings).any(|said| said.contains("nothing had been"));
    let meaning = world.engine.things(|things| things.find_image(WEB).cloned());
    assert!(untouched || meaning == Some(image), "{meaning:?} {told}");
}

/// No job is open, and no secret is kept.
pub(super) fn check_database(case: &str, world: &World) {
    let database = rusqlite::Connection::open(world.path("data/restock.db")).unwrap();
    let count = |query: &str| database.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT COUNT(*) FROM jobs WHERE state <> 'finished'"), 0, "{case}");
    let left = "SELECT COUNT(*) FROM attempts WHERE recipe IS NOT NULL OR worker IS NOT NULL OR stage <> 'closed'";
    assert_eq!(count(left), 0, "{case}");
}
