//! The database, the engine or the process fails in the middle: a container is removed only when another one has taken
//! its place, or can.

use std::time::Duration;

use restock::usecases::settle::Left;
use serde_json::json;

use super::{allow_writes, job, refuse_writes, start, update, world};
use crate::world::{Life, Options, WEB, World, image_id, until};

const NO_END: &str = "UPDATE ON jobs WHEN NEW.state = 'finished'";

fn runs(world: &World, name: &str) -> (String, String) {
    let container = world.engine.container(name).unwrap_or_else(|| panic!("{name} is lost"));
    (container.image_id, container.state)
}

/// As its owner does.
fn stop(world: &World, name: &str) {
    let id = world.engine.container(name).unwrap().id;
    world.engine.things(|things| drop(things.stop(&id)));
}

/// Lets the engine remove containers when they stop, as after `docker run --rm`.
fn remove_itself(world: &World, name: &str) {
    world.engine.change(name, |container| container.host["AutoRemove"] = true.into());
}

#[tokio::test]
async fn a_job_whose_end_could_not_be_written_has_ended_all_the_same() {
    let world = world();
    let restock = world.restock().await;
    refuse_writes(&world, NO_END);
    let id = update(&restock, "web").await;
    assert_eq!(job(&restock, &id).await["state"], "running");
    stop(&world, "web");
    world.engine.requests();
    assert_eq!(restock.host.settle_all().await, Left::Open);
    allow_writes(&world);
    assert_eq!(restock.host.settle_all().await, Left::Nothing);
    let job = job(&restock, &id).await;
    assert_eq!((&job["outcome"], &job["result"]["updated"]), (&json!("updated"), &json!(true)), "{job}");
    assert_eq!(runs(&world, "web"), (image_id("pulled"), "exited".into()));
    assert_eq!(world.engine.requests(), Vec::<String>::new(), "the container is its owner's");
}

#[tokio::test]
async fn a_new_container_that_its_owner_has_stopped_since_is_not_taken_back_by_the_next_process() {
    let world = world();
    let restock = world.restock().await;
    refuse_writes(&world, NO_END);
    let id = update(&restock, "web").await;
    drop(restock);
    stop(&world, "web");
    allow_writes(&world);
    let restock = world.restock().await;
    assert_eq!(restock.host.settle_all().await, Left::Nothing);
    let job = job(&restock, &id).await;
    assert_eq!((&job["outcome"], &job["result"]["updated"]), (&json!("interrupted"), &json!(true)), "{job}");
    assert_eq!(runs(&world, "web"), (image_id("pulled"), "exited".into()));
}

#[tokio::test]
async fn a_new_container_that_its_owner_has_removed_since_is_not_made_again() {
    let world = world();
    let restock = world.restock().await;
    refuse_writes(&world, NO_END);
    let id = update(&restock, "web").await;
    drop(restock);
    world.engine.things(|things| things.containers.clear());
    allow_writes(&world);
    let restock = world.restock().await;
    assert_eq!(restock.host.settle_all().await, Left::Nothing);
    assert_eq!(job(&restock, &id).await["outcome"], "interrupted");
    assert_eq!(world.engine.things(|things| things.containers.len()), 0);
}

#[tokio::test]
async fn a_container_that_removes_itself_is_not_brought_back_once_the_new_one_has_proved_itself() {
    let world = world();
    remove_itself(&world, "web");
    let restock = world.restock().await;
    refuse_writes(&world, NO_END);
    let id = update(&restock, "web").await;
    drop(restock);
    world.engine.things(|things| things.containers[0].state = "restarting".into());
    world.engine.change("web", |container| container.life = Life::Loops);
    allow_writes(&world);
    let restock = world.restock().await;
    assert_eq!(restock.host.settle_all().await, Left::Nothing);
    assert_eq!(job(&restock, &id).await["result"]["updated"], true);
    assert_eq!(runs(&world, "web").0, image_id("pulled"));
}

#[tokio::test]
async fn an_engine_that_goes_away_in_the_second_proof_is_waited_for() {
    let world = world();
    // There is a way back: what must not be taken is this one.
    remove_itself(&world, "web");
    let restock = world.restock().await;
    refuse_writes(&world, NO_END);
    let id = update(&restock, "web").await;
    drop(restock);
    allow_writes(&world);
    let fresh = world.engine.container("web").unwrap().id;
    let mut options = Options::default();
    options.waits.engine = Duration::from_millis(500);
    let restock = world.restock_with(options).await;
    world.engine.go_away_after(&format!("/containers/{fresh}/json"));
    assert_eq!(restock.host.settle_all().await, Left::Open);
    world.engine.gone().await;
    assert_eq!(job(&restock, &id).await["state"], "running");
    world.engine.come_back();
    assert_eq!(restock.host.settle_all().await, Left::Nothing);
    let job = job(&restock, &id).await;
    assert_eq!((&job["outcome"], &job["result"]["updated"]), (&json!("interrupted"), &json!(true)), "{job}");
    assert_eq!(world.engine.container("web").unwrap().id, fresh);
}

#[tokio::test]
async fn a_container_of_rm_comes_back_though_nothing_can_be_written_down() {
    let world = world();
    remove_itself(&world, "web");
    world.engine.things(|things| things.images.insert(image_id("pulled"), Life::Exits(1)));
    let restock = world.restock().await;
    refuse_writes(&world, "UPDATE ON attempts WHEN NEW.stage = 'back'");
    let id = update(&restock, "web").await;
    let job = job(&restock, &id).await;
    assert_eq!(job["outcome"], "rolled_back", "{job}");
    assert_eq!(runs(&world, "web"), (image_id(&format!("{WEB} old")), "running".into()));
    assert_eq!(world.engine.things(|things| things.containers.len()), 1);
}

#[tokio::test]
async fn a_container_that_is_gone_is_made_again_to_go_back_to() {
    let world = world();
    world.engine.things(|things| things.images.insert(image_id("pulled"), Life::Unhealthy));
    let old = world.engine.container("web").unwrap().id;
    let restock = world.restock().await;
    let id = start(&restock, "web").await;
    until("the swap", || world.engine.container("web").filter(|container| container.id != old)).await;
    world.engine.things(|things| things.containers.retain(|container| container.id != old));
    restock.idle().await;
    let job = job(&restock, &id).await;
    assert_eq!((&job["outcome"], &job["error"]["code"]), (&json!("rolled_back"), &json!("rolled_back")), "{job}");
    assert_eq!(runs(&world, "web"), (image_id(&format!("{WEB} old")), "running".into()));
}

#[tokio::test]
async fn a_container_whose_update_cannot_be_written_down_is_not_touched() {
    let an_action = |action: &str| format!("INSERT ON attempt_steps WHEN NEW.action = '{action}'");
    let at = ["create", "stop", "park", "name", "start"].map(an_action);
    for when in ["INSERT ON attempts".to_owned()].into_iter().chain(at) {
        let world = world();
        let before = world.engine.container("web").unwrap().id;
        let restock = world.restock().await;
        refuse_writes(&world, &when);
        let id = update(&restock, "web").await;
        let job = job(&restock, &id).await;
        assert!(job["error"]["message"].as_str().unwrap().contains("the disk is full"), "{job}");
        assert_eq!(runs(&world, "web"), (image_id(&format!("{WEB} old")), "running".into()));
        let left: Vec<_> =
            world.engine.things(|things| things.containers.iter().map(|container| container.id.clone()).collect());
        assert_eq!(left, [before], "{when}");
    }
}

#[tokio::test]
async fn an_image_is_protected_before_a_pull_that_would_lose_it() {
    let world = world();
    world.engine.forgets_images();
    let restock = world.restock().await;
    let id = update(&restock, "web").await;
    let job = job(&restock, &id).await;
    assert_eq!((&job["outcome"], &job["result"]["warnings"]), (&json!("updated"), &json!(null)));
    let names = world.engine.things(|things| things.names.clone());
    let kept: Vec<_> = names.keys().filter(|name| name.starts_with("restock.local/keep/")).collect();
    assert_eq!(kept, [&format!("restock.local/keep/container/web:{id}")]);
}

#[tokio::test]
async fn what_a_failing_container_said_and_did_is_kept_before_it_is_taken_back() {
    let world = world();
    world.engine.things(|things| {
        things.images.insert(image_id("pulled"), Life::Exits(137));
        things.logs.insert(WEB.into(), "loading\nlast words\n".into());
    });
    let restock = world.restock().await;
    let id = update(&restock, "web").await;
    let job = job(&restock, &id).await;
    assert_eq!(job["outcome"], "rolled_back");
    let failed = &job["error"]["containers"][0];
    assert_eq!(
        (&failed["service"], &failed["exit_code"], &failed["oom_killed"]),
        (&json!("web"), &json!(137), &json!(true))
    );
    assert_eq!(failed["log"], json!(["loading", "last words"]), "{job}");
}
