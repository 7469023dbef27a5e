//! Every kind of change, met by every fault at every request that changes something, on the way there and on the way back.
//!
//! The matrix is made from what a run without faults asks of the engine, so a new action cannot be forgotten. Each case ends
//! with either the old or the new running under its own name, and an outcome that says which.

mod checks;
mod kinds;
mod writes;

use std::time::Duration;

use restock::domain::failure::Code;
use restock::domain::job::JobError;
use restock::usecases::settle::Left;

use crate::world::{Fault, Life, Options, World, soon};
use checks::{check, check_database, check_with, containers, settled};
use kinds::Change::{self, App, AppWithStopped, Container, Ephemeral, Rollback, StoppedContainer, Unit};
use kinds::start;

/// The changes that a run without faults asks of the engine.
async fn faultless(kind: Change, life: Life) -> Vec<String> {
    let world = kind.set_up(life).await;
    let before = containers(&world);
    world.engine.changes();
    let service = start(&world, Options::default()).await;
    let job = kind.run(&service).await.unwrap();
    assert_eq!(job.outcome, Some(kind.faultless_end(life)), "{kind:?} {life:?}: {job:?}");
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
            let mut options = Options::default();
            options.waits.engine = Duration::from_millis(if away { 30 } else { 5000 });
            let service = start(&world, options).await;
            let job = kind.run(&service).await.unwrap();
            if away && what.starts_with("RESTART") {
                world.systemd_comes().await;
            } else if away {
                world.engine.come_back();
            }
            let job = settled(&service, &job).await;
            if job.result.is_none() && job.error.as_ref().is_some_and(is_of_engine) {
                // Refused before anything was touched.
                assert_eq!(containers(&world), before, "{case}: {job:?}");
            } else {
                check_with(&case, kind, &world, &before, &job, fault == Fault::Refused);
            }
            check_database(&case, &world);
        }
    }
}

fn is_of_engine(error: &JobError) -> bool {
    let codes = [Code::EngineProtocol, Code::EngineRefused, Code::EngineTimeout, Code::EngineUnreachable];
    codes.iter().any(|code| code.word() == error.code)
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
                    let service = start(&inner, Options::default()).await.that_dies();
                    if death == 0 {
                        kind.run(&service).await.unwrap();
                    } else {
                        while service.host.settle_all().await == Left::Held {
                            tokio::time::sleep(Duration::from_millis(5)).await;
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
            let service = start(&world, Options::default()).await;
            let jobs = soon("the lock of the dead", async {
                loop {
                    let jobs = service.host.service.store.running().await.unwrap();
                    if service.host.settle_all().await == Left::Nothing {
                        return jobs;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
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
                assert_eq!(containers(&world)[kind.name()].image, kind.sides()[0], "{case}");
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
                // A unit that has been restarted is not restarted again, so a second process would not die at it.
                let fault = if $kind == Unit { Fault::HangsBefore } else { Fault::HangsAfter };
                each_change_is_died_at($kind, fault, 2).await;
            }
            #[tokio::test]
            async fn database_fails() {
                writes::each_write_fails($kind).await;
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
    unit => Unit;
}
