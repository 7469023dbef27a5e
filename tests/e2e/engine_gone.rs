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
