//! Containers that belong to no app, on an engine whose faults the tests choose.

mod labels;
mod settling;

use serde_json::Value;

use crate::world::{Service, WEB, World, soon};

/// A world with the container `web`, which runs [`WEB`]; what is pulled is newer.
fn world() -> World {
    let world = World::new();
    world.engine.things(|things| drop(things.run("web", WEB).id.clone()));
    world
}

/// Starts the update of a container and waits until this process has nothing more to do with it; gives its job's ID.
async fn update(restock: &Service, name: &str) -> String {
    let id = start(restock, name).await;
    restock.idle().await;
    id
}

async fn start(restock: &Service, name: &str) -> String {
    restock.post(&format!("/api/images/{name}/update")).await.ok();
    soon("the job", async {
        loop {
            let jobs = restock.get("/api/jobs").await.ok();
            let found = jobs.as_array().unwrap().iter().find(|job| job["container"] == name);
            if let Some(found) = found {
                return found["id"].as_str().unwrap().to_owned();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn job(restock: &Service, id: &str) -> Value {
    restock.get(&format!("/api/jobs/{id}")).await.ok()
}

/// Lets the database refuse writes, as on a full disk: `what` is an operation on a table, with its condition.
fn refuse_writes(world: &World, what: &str) {
    let trigger = format!("CREATE TRIGGER full BEFORE {what} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END");
    database(world).execute_batch(&trigger).unwrap();
}

fn allow_writes(world: &World) {
    database(world).execute_batch("DROP TRIGGER full").unwrap();
}

fn database(world: &World) -> rusqlite::Connection {
    rusqlite::Connection::open(world.path("data/restock.db")).unwrap()
}
