//! Jobs whose process died: what the next start, or whoever works on the app next, makes of them.

use jiff::Timestamp;
use restock::adapters::lock::Locks;
use restock::adapters::store::Store;
use restock::domain::host::{Subject, Target};
use restock::domain::job::{Job, JobId, Kind, State, Step};
use restock::usecases::settle::Left;
use serde_json::{Value, json};

use crate::world::{Life, Options, Service, WEB, World, image_id};

fn old() -> String {
    image_id(&format!("{WEB} old"))
}

/// Leaves a job behind that was at `step`, as a process leaves it that is killed there. Gives its ID.
async fn dead_job(world: &World, kind: Kind, step: Option<Step>, journal: Option<Value>) -> String {
    let store = Store::open(&world.path("data")).unwrap();
    let id = JobId::new(ulid::Ulid::new());
    let job = Job {
        id: id.clone(),
        kind,
        target: Target::local(Subject::App("web".into())),
        state: State::Running,
        step: None,
        outcome: None,
        result: None,
        error: None,
        blocked: None,
        by: None,
        request_id: None,
        started_at: Timestamp::now(),
        finished_at: None,
    };
    store.insert(&job).await.unwrap();
    if let Some(step) = step {
        store.set_step(&id, step).await.unwrap();
    }
    if let Some(journal) = journal {
        let database = rusqlite::Connection::open(world.path("data/restock.db")).unwrap();
        let update = "UPDATE jobs SET journal = ?2 WHERE id = ?1";
        assert_eq!(database.execute(update, [id.as_str(), &journal.to_string()]).unwrap(), 1);
    }
    id.to_string()
}

/// What an update of the app `web` writes down before it changes anything.
fn journal() -> Value {
    let image = json!({"reference": WEB, "images": [old()], "digests": [], "version": null, "running": true});
    let change = json!({
        "service": "web", "from": [old()], "to": image_id("web new"), "to_manifest": null, "reference": WEB,
        "version_to": null, "source": null, "to_digests": [],
    });
    json!({"project": "web", "before": {"web": image}, "changes": [change], "profiles": [], "rollback": true})
}

/// Starts a Restock, as the program does, and waits until the job is settled.
async fn settled(world: &World, id: &str) -> (Service, Value) {
    let restock = world.restock().await;
    restock.host.settle_all().await;
    let job = restock.finished(id).await;
    (restock, job)
}

fn ran(world: &World) -> String {
    let container = world.engine.container("web-web-1").unwrap();
    assert_eq!(container.state, "running");
    container.image_id
}

fn warning(job: &Value) -> &str {
    job["result"]["warnings"][0].as_str().unwrap()
}

#[tokio::test]
async fn a_job_that_had_touched_nothing_is_interrupted_and_nothing_is_run() {
    for step in
        [None, Some(Step::Resolve), Some(Step::Snapshot), Some(Step::Pull), Some(Step::Plan), Some(Step::HooksBefore)]
    {
        let world = World::with_new_web();
        let id = dead_job(&world, Kind::Update, step, None).await;
        let (restock, job) = settled(&world, &id).await;
        assert_eq!((&job["outcome"], &job["result"]["updated"]), (&json!("interrupted"), &json!(false)), "{step:?}");
        assert!(warning(&job).contains("nothing had been touched"), "{job}");
        assert!(world.docker.all_calls().is_empty() && world.engine.requests().is_empty(), "{step:?}");
        assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "updated");
    }
}

#[tokio::test]
async fn an_update_that_was_applied_is_finished_and_proved() {
    for step in [Step::Apply, Step::Verify] {
        let world = World::with_new_web();
        let id = dead_job(&world, Kind::Update, Some(step), Some(journal())).await;
        let (restock, job) = settled(&world, &id).await;
        assert_eq!((&job["outcome"], &job["result"]["updated"]), (&json!("interrupted"), &json!(true)), "{job}");
        assert!(warning(&job).contains("finished"), "{job}");
        assert_eq!((ran(&world), &job["result"]["services"][0]["service"]), (image_id("web new"), &json!("web")));
        // It counts as an update: it can be rolled back.
        restock.post("/api/apps/web/rollback").await.ok();
        assert_eq!(ran(&world), old());
    }
}

#[tokio::test]
async fn an_update_that_cannot_be_finished_is_taken_back() {
    let world = World::with_web();
    world.engine.publish_with(WEB, "web new", Life::Exits(1));
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    let (_restock, job) = settled(&world, &id).await;
    assert_eq!((&job["outcome"], &job["result"]["updated"]), (&json!("interrupted"), &json!(false)), "{job}");
    assert!(warning(&job).contains("taken back"), "{job}");
    assert_eq!(ran(&world), old());
}

#[tokio::test]
async fn a_rollback_that_was_begun_is_finished() {
    let world = World::with_new_web();
    let id = dead_job(&world, Kind::Update, Some(Step::RollBack), Some(journal())).await;
    let (_restock, job) = settled(&world, &id).await;
    assert_eq!(job["outcome"], "interrupted");
    assert_eq!((ran(&world), world.docker.verbs("web")), (old(), vec!["config".into(), "up".into()]));
}

#[tokio::test]
async fn what_neither_works_new_nor_old_is_failed() {
    let world = World::with_new_web();
    world.docker.on("web", "up", "fail 1 'no space left on device'");
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    let (_restock, job) = settled(&world, &id).await;
    assert_eq!((&job["state"], &job["outcome"]), (&json!("finished"), &json!("failed")));
    assert!(job["error"]["message"].as_str().unwrap().contains("no space left"), "{job}");
}

#[tokio::test]
async fn a_replacement_that_never_took_its_place_goes_away_first() {
    let world = World::with_new_web();
    let leftover = "0123456789ab_web-web-1";
    world.engine.things(|things| {
        let mut replacement = things.containers[0].clone();
        (replacement.id, replacement.name, replacement.state) = ("f".repeat(64), leftover.into(), "created".into());
        things.containers.push(replacement);
    });
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    let (_restock, job) = settled(&world, &id).await;
    assert_eq!(job["outcome"], "interrupted");
    assert!(world.engine.container(leftover).is_none());
    assert_eq!(ran(&world), image_id("web new"));
    let deleted = world.engine.requests().into_iter().filter(|request| request.starts_with("DELETE /containers/"));
    assert_eq!(deleted.count(), 1);
}

#[tokio::test]
async fn a_replacement_whose_original_is_gone_gets_its_name() {
    let world = World::with_new_web();
    world.engine.change("web-web-1", |container| {
        container.name = "0123456789ab_web-web-1".into();
        container.state = "created".into();
    });
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    let (_restock, job) = settled(&world, &id).await;
    assert_eq!((&job["outcome"], ran(&world)), (&json!("interrupted"), image_id("web new")));
    let requests = world.engine.requests();
    assert!(requests.iter().any(|request| request.contains("/rename?name=web-web-1")), "{requests:#?}");
}

#[tokio::test]
async fn whoever_works_on_the_app_next_settles_it_first() {
    let world = World::with_new_web();
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    let restock = world.restock().await;
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "unchanged");
    assert_eq!(restock.get(&format!("/api/jobs/{id}")).await.ok()["outcome"], "interrupted");
    assert_eq!(ran(&world), image_id("web new"));
}

#[tokio::test]
async fn who_joins_a_job_of_another_process_that_dies_gets_an_update_all_the_same() {
    let world = World::with_new_web();
    let locks = Locks::new(&world.path("data"));
    let lock = locks.try_target(&Target::local(Subject::App("web".into()))).await.unwrap().unwrap();
    let id = dead_job(&world, Kind::Update, Some(Step::Pull), None).await;
    let restock = world.restock().await;
    assert_eq!(restock.start_update("web").await, id, "joined");
    let waiting = tokio::spawn(restock.post("/api/apps/web/update").into_future());
    tokio::task::yield_now().await;
    lock.release();
    let result = waiting.await.unwrap().ok();
    assert_eq!((result["outcome"].as_str(), result["job"] != json!(id)), (Some("updated"), true));
    assert_eq!(restock.get(&format!("/api/jobs/{id}")).await.ok()["outcome"], "interrupted");
}

#[tokio::test]
async fn an_app_that_is_gone_is_no_obstacle() {
    let world = World::with_web();
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    std::fs::remove_dir_all(world.path("apps/web")).unwrap();
    let (_restock, job) = settled(&world, &id).await;
    assert_eq!(job["outcome"], "interrupted");
    assert!(warning(&job).contains("gone"), "{job}");
}

#[tokio::test]
async fn an_interrupted_down_is_not_told_as_if_nothing_had_happened() {
    let world = World::with_web();
    let id = dead_job(&world, Kind::Down, Some(Step::Apply), None).await;
    let (_restock, job) = settled(&world, &id).await;
    assert_eq!(job["outcome"], "interrupted");
    assert!(!warning(&job).contains("nothing had been touched"), "{job}");
}

#[tokio::test]
async fn hooks_after_an_update_run_once_when_it_is_finished_and_never_twice() {
    for (step, runs) in [(Step::Apply, 1), (Step::HooksAfter, 0)] {
        let world = World::new();
        let hooks = json!({"hooks": {"after": [{"service": "web", "command": "reindex"}]}});
        world.app("web").service("web", WEB).key("x-restock", hooks).running();
        world.engine.publish(WEB, "web new");
        let id = dead_job(&world, Kind::Update, Some(step), Some(journal())).await;
        let (_restock, job) = settled(&world, &id).await;
        assert_eq!(job["outcome"], "interrupted");
        assert_eq!(world.docker.verbs("web").iter().filter(|verb| *verb == "exec").count(), runs);
        let told = job["result"]["warnings"].to_string().contains("may not have run");
        assert_eq!(told, step == Step::HooksAfter, "{job}");
    }
}

#[tokio::test]
async fn what_cannot_be_settled_yet_is_settled_later() {
    let world = World::with_new_web();
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    world.docker.on("web", "config", "fail 1 'yaml: line 3: mapping values are not allowed'");
    let restock = world.restock().await;
    assert_eq!(restock.host.settle_all().await, Left::Open);
    assert_eq!(restock.get(&format!("/api/jobs/{id}")).await.ok()["state"], "running");
    let refused = restock.post("/api/apps/web/update").await.problem(503, "unsettled");
    assert!(refused["detail"].as_str().unwrap().contains("mapping values"), "{refused}");
    assert_eq!((ran(&world), refused["job"].as_str()), (old(), Some(id.as_str())));
    world.docker.on("web", "config", "default");
    assert_eq!(restock.host.settle_all().await, Left::Nothing);
    assert_eq!(restock.finished(&id).await["outcome"], "interrupted");
    assert_eq!(ran(&world), image_id("web new"));
}

#[tokio::test]
async fn what_a_compose_still_works_on_is_settled_when_it_has_ended() {
    let world = World::with_new_web();
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    // As a Compose holds it that goes on without its caller.
    let locks = Locks::new(&world.path("data"));
    let lock = locks.try_target(&Target::local(Subject::App("web".into()))).await.unwrap().unwrap();
    let restock = world.restock().await;
    assert_eq!(restock.host.settle_all().await, Left::Held);
    let settling = tokio::spawn(restock.host.clone().keep_settling());
    lock.release();
    assert_eq!(restock.finished(&id).await["outcome"], "interrupted");
    assert_eq!(ran(&world), image_id("web new"));
    settling.abort();
}

#[tokio::test]
async fn only_what_the_job_was_about_is_worked_on() {
    let world = World::new();
    world.app("web").service("web", WEB).service("db", "registry.test/db:1").running();
    world.engine.publish(WEB, "web new");
    world.engine.publish("registry.test/db:1", "db new");
    let mut journal = journal();
    journal["before"]["db"] = journal["before"]["web"].clone();
    journal["selected"] = json!(["web"]);
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal)).await;
    let (_restock, job) = settled(&world, &id).await;
    assert_eq!((&job["outcome"], ran(&world)), (&json!("interrupted"), image_id("web new")));
    let db = world.engine.container("web-db-1").unwrap();
    assert_eq!(db.image_id, image_id("registry.test/db:1 old"));
}

#[tokio::test]
async fn an_image_that_was_taken_back_is_not_tried_again_by_a_schedule() {
    let world = World::with_web();
    world.engine.publish_with(WEB, "web new", Life::Exits(1));
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    let (restock, job) = settled(&world, &id).await;
    assert!(warning(&job).contains("taken back"), "{job}");
    assert_eq!(ran(&world), old());
    let bad = restock.host.service.store.bad_images("web").await.unwrap();
    assert_eq!(bad.iter().map(|bad| bad.image_id.to_string()).collect::<Vec<_>>(), [image_id("web new")]);
}

#[tokio::test]
async fn an_update_whose_process_died_is_not_told_as_running() {
    let world = World::with_web();
    dead_job(&world, Kind::Update, None, None).await;
    let restock = world.restock().await;
    assert_ne!(restock.get("/api/apps/web/status").await.ok()["services"][0]["status"], "processing");
}

#[tokio::test]
async fn an_attempt_that_is_put_off_is_no_second_death() {
    let world = World::with_new_web();
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    world.docker.on("web", "up", "wait_for up");
    let mut options = Options::default();
    options.waits.engine = std::time::Duration::from_millis(50);
    let restock = world.restock_with(options).await;
    let settling = tokio::spawn({
        let restock = restock.host.clone();
        async move { restock.settle_all().await }
    });
    world.docker.called("web", "up").await;
    world.engine.go_away().await;
    world.docker.allow("up");
    assert_eq!(settling.await.unwrap(), Left::Open);
    world.engine.come_back();
    assert_eq!(restock.host.settle_all().await, Left::Nothing);
    let job = restock.finished(&id).await;
    assert!(warning(&job).contains("has been finished"), "{job}");
    assert_eq!(ran(&world), image_id("web new"));
    assert_eq!(restock.host.service.store.bad_images("web").await.unwrap(), []);
}

#[tokio::test]
async fn an_end_that_cannot_be_written_down_is_no_death_and_nothing_is_done_twice() {
    let world = World::with_new_web();
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    let restock = world.restock().await;
    let database = rusqlite::Connection::open(world.path("data/restock.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE UPDATE ON jobs WHEN NEW.state = 'finished'
                BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END";
    database.execute_batch(full).unwrap();
    for _ in 0..2 {
        assert_eq!(restock.host.settle_all().await, Left::Open);
    }
    database.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(restock.host.settle_all().await, Left::Nothing);
    let job = restock.finished(&id).await;
    assert!(warning(&job).contains("has been finished"), "{job}");
    assert_eq!(ran(&world), image_id("web new"));
    assert_eq!(world.docker.verbs("web").iter().filter(|verb| *verb == "up").count(), 1);
}

#[tokio::test]
async fn a_rollback_that_was_interrupted_is_remembered_like_one_that_was_not() {
    for works in [true, false] {
        let world = World::with_new_web();
        let restock = world.restock().await;
        restock.post("/api/apps/web/update").await.ok();
        drop(restock);
        if !works {
            world.engine.things(|things| things.images.insert(old(), Life::Exits(1)));
        }
        let mut journal = journal();
        journal["changes"][0]["from"] = json!([image_id("web new")]);
        journal["changes"][0]["to"] = json!(old());
        let id = dead_job(&world, Kind::Rollback, Some(Step::Apply), Some(journal)).await;
        world.engine.things(|things| things.names.insert(WEB.into(), old()));
        let (restock, job) = settled(&world, &id).await;
        assert_eq!((&job["outcome"], ran(&world) == old()), (&json!("interrupted"), works), "{job}");
        let left = restock.host.service.store.bad_images("web").await.unwrap();
        let left: Vec<_> = left.iter().map(|left| left.image_id.to_string()).collect();
        assert_eq!(left == [image_id("web new")], works, "what runs again is not held back: {left:?}");
    }
}

#[tokio::test]
async fn an_attempt_that_a_newer_program_has_written_waits_for_one_that_can_read_it() {
    let world = World::with_new_web();
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    let database = rusqlite::Connection::open(world.path("data/restock.db")).unwrap();
    let insert = "INSERT INTO attempts (job, host, format, facts, stage, exposed, deaths)
                  VALUES (?1, 'local', 99, '{}', 'forward', 0, 0)";
    database.execute(insert, [&id]).unwrap();
    let restock = world.restock().await;
    assert_eq!(restock.host.settle_all().await, Left::Open);
    let refused = restock.post("/api/apps/web/update").await.problem(503, "unsettled");
    assert!(refused["detail"].as_str().unwrap().contains("newer Restock"), "{refused}");
    assert_eq!((ran(&world), world.docker.verbs("web")), (old(), vec![]));
    assert_eq!(restock.get(&format!("/api/jobs/{id}")).await.ok()["state"], "running");
    assert_eq!(database.execute("DELETE FROM attempts WHERE format = 99 AND stage = 'forward'", []).unwrap(), 1);
    assert_eq!(restock.host.settle_all().await, Left::Nothing);
    assert_eq!(restock.finished(&id).await["outcome"], "interrupted");
    assert_eq!(ran(&world), image_id("web new"));
}

#[tokio::test]
async fn two_processes_that_resume_the_same_job_do_it_once() {
    let world = World::with_new_web();
    let id = dead_job(&world, Kind::Update, Some(Step::Apply), Some(journal())).await;
    let (one, other) = (world.restock().await, world.restock().await);
    let (left_by_one, left_by_other) = tokio::join!(one.host.settle_all(), other.host.settle_all());
    assert!(left_by_one == Left::Nothing || left_by_other == Left::Nothing, "{left_by_one:?} {left_by_other:?}");
    for restock in [&one, &other] {
        assert_eq!(restock.finished(&id).await["outcome"], "interrupted");
    }
    assert_eq!(world.docker.verbs("web").iter().filter(|verb| *verb == "up").count(), 1);
    assert_eq!(ran(&world), image_id("web new"));
}
