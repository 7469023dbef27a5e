//! The engine goes away and comes back.

use crate::case::Case;
use crate::world::{World, engine_script, output};

#[test]
fn a_service_without_its_engine_lives_says_so_and_recovers() {
    let (world, dir) = World::own("gone");
    let mut case = Case::on(Box::leak(Box::new(world)), "web");
    case.up();
    case.serve();
    assert_eq!(case.get("/ready").expect(200)["ready"], true);
    output(engine_script().arg("kill").arg(&dir));
    assert_eq!(case.get("/health").status, 200);
    let ready = case.get("/ready").expect(503);
    assert_eq!(ready["checks"]["engine"]["ok"], false);
    for reply in [case.update(), case.get("/api/apps"), case.post(&format!("/api/apps/{}/rollback", case.app))] {
        assert!(reply.status == 503 || reply.status == 409, "{}", reply.body);
    }
    assert_eq!(case.update().expect(503)["code"], "engine_unreachable");
    output(engine_script().arg("restart").arg(&dir));
    case.wait_for("readiness", || (case.get("/ready").status == 200).then_some(()));
    case.publish("web", "2", "web");
    assert_eq!(case.update().expect(200)["updated"], true);
    case.assert_runs("web", "2");
    drop(case);
    output(engine_script().arg("stop").arg(&dir));
}

#[test]
fn an_engine_that_dies_in_the_middle_of_an_update_is_waited_for() {
    let (world, dir) = World::own("dies");
    let mut case = Case::on(Box::leak(Box::new(world)), "shop");
    case.up();
    case.serve();
    case.publish("web", "2", "web");
    case.publish("shop", "2", "web");
    let job = case.start_update();
    case.wait_for("the change", || (case.get(&job).json()["step"] == "apply").then_some(()));
    output(engine_script().arg("kill").arg(&dir));
    output(engine_script().arg("restart").arg(&dir));
    let ended = case.finished(&job);
    assert_eq!(ended["result"]["updated"], true, "{ended}");
    for (service, version) in [("api", "2"), ("worker", "2"), ("front", "2"), ("db", "1")] {
        case.assert_runs(service, version);
    }
    drop(case);
    output(engine_script().arg("stop").arg(&dir));
}
