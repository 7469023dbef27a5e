//! Commands of the app's owner around an update, in real containers.

use crate::both_engines;
use crate::case::Case;

both_engines! {
    a_dump_is_written_by_the_old_version_before_the_new_one_runs => |kind| {
        let mut case = Case::on(crate::world::World::of(kind), "shop");
        case.write("compose.override.yaml", r#"
x-restock:
  hooks:
    before:
      - service: db
        command: echo "dump of $$HOSTNAME" > /data/dump
    after:
      - service: db
        command: [sh, -c, "echo after >> /data/dump"]
        timeout: 30s
"#);
        case.up();
        case.serve();
        case.publish("db", "2", "data");
        let old = case.ids("db")[0].clone();
        assert_eq!(case.update().expect(200)["outcome"], "updated");
        case.assert_runs("db", "2");
        let dump = case.compose(&["exec", "-T", "db", "sh", "-c", "tr '\\n' ' ' < /data/dump"]);
        assert_eq!(dump.trim(), format!("dump of {} after", &old[..12]));
    };

    a_dump_that_fails_leaves_all_as_it_was => |kind| {
        let mut case = Case::on(crate::world::World::of(kind), "web");
        case.write("compose.override.yaml", "x-restock: {hooks: {before: [{service: web, command: \"echo no space left >&2; exit 4\"}]}}");
        case.up();
        case.serve();
        case.publish("web", "2", "web");
        let before = case.containers();
        let problem = case.update().expect(500);
        assert_eq!((&problem["code"], &problem["outcome"]), (&"hook_failed".into(), &"failed".into()), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("exited with 4"), "{problem}");
        assert_eq!(problem["stderr"], "no space left");
        let started = |containers: &std::collections::BTreeMap<String, serde_json::Value>| {
            containers.values().map(|value| (value["Id"].clone(), value["State"]["StartedAt"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(started(&case.containers()), started(&before));
        case.assert_runs("web", "1");
    };

    a_hook_in_a_service_that_does_not_run_stops_the_update => |kind| {
        let mut case = Case::on(crate::world::World::of(kind), "web");
        case.write("compose.override.yaml", "x-restock: {hooks: {before: [{service: db, command: dump}]}}");
        case.up();
        case.serve();
        case.publish("web", "2", "web");
        let problem = case.update().expect(500);
        assert_eq!(problem["code"], "hook_failed");
        assert!(problem["stderr"].as_str().unwrap().contains("db"), "{problem}");
        case.assert_runs("web", "1");
    };
}
