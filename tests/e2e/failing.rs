//! Updates that cannot work: what was there stays, or comes back.

use crate::case::Case;
use crate::world::Kind;
use crate::{both_engines, one_engine};

/// An update to an image that does not work; the old one runs again afterwards.
fn taken_back(kind: Kind, variant: &str, reason: &str) {
    let mut case = Case::new(kind, "web");
    // Longer than the one second that the loop stays up, however slow the machine is.
    case.serve_with(&["--settle", "3s"]);
    let old = case.containers().into_values().next().unwrap()["Image"].clone();
    case.publish("web", "2", variant);
    let problem = case.update().expect(500);
    assert_eq!((&problem["outcome"], &problem["updated"]), (&"rolled_back".into(), &false.into()), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    assert_eq!(problem["services"][0]["from"], old);
    let failed = &problem["containers"][0];
    assert_eq!(failed["service"], "web", "{problem}");
    match variant {
        "unhealthy" => assert_eq!((&failed["state"], &failed["health"]), (&"running".into(), &"unhealthy".into())),
        _ => {
            let said = if variant == "exits" { "cannot read the configuration" } else { "lost the database" };
            let log = failed["log"].as_array().unwrap();
            assert!(log.iter().any(|line| line.as_str().unwrap().starts_with(said)), "{problem}");
            assert_eq!((&failed["exit_code"], &failed["oom_killed"]), (&1.into(), &false.into()), "{problem}");
        }
    }
    case.assert_runs("web", "1");
    assert_eq!(case.containers().into_values().next().unwrap()["Image"], old);
    // Compose agrees that nothing is to be done.
    let ids = case.ids("web");
    case.up();
    assert_eq!(case.ids("web"), ids);
    assert_eq!(case.get(&format!("/api/apps/{}/history", case.app)).expect(200)[0]["outcome"], "rolled_back");
}

both_engines! {
    who_lives_in_the_network_of_a_container_is_taken_along_also_when_the_update_is_taken_back => |kind| {
        let case = Case::new(kind, "web");
        let side = format!("{}-side", case.app);
        let network = format!("container:{}", case.ids("web")[0]);
        case.docker(&["run", "-d", "--name", &side, "--network", &network, &case.reference("web"), "plain"]);
        case.publish("web", "2", "exits");
        case.update().expect(500);
        let after = crate::containers::inspect(&case, &side);
        assert_eq!(after["HostConfig"]["NetworkMode"], format!("container:{}", case.ids("web")[0]));
        assert_eq!(after["State"]["Running"], true);
    };

    an_image_that_exits_is_taken_back => |kind| taken_back(kind, "exits", "restarts in a loop");
    an_image_that_restarts_in_a_loop_is_taken_back => |kind| taken_back(kind, "crashloop", "does not work");
    an_image_that_goes_unhealthy_is_taken_back => |kind| taken_back(kind, "unhealthy", "unhealthy");

    an_image_that_was_never_built_holds_up_neither_update_nor_rollback_of_the_others => |kind| {
        let case = Case::new(kind, "web");
        let worker = |what: &str| case.write("compose.override.yaml", &format!("services: {{worker: {{{what}}}}}\n"));
        worker("image: '${REGISTRY}/demo/web:${TAG}'");
        case.up();
        worker(&format!("image: '{}-worker:2', build: {{context: .}}", case.app));
        let ids = case.ids("worker");
        case.publish("web", "2", "web");
        let mut case = case;
        case.serve();
        let answer = case.update().expect(200);
        let skipped = serde_json::json!([{"service": "worker", "reason": "image_missing"}]);
        assert_eq!((&answer["outcome"], &answer["skipped"]), (&"updated".into(), &skipped), "{answer}");
        case.assert_runs("web", "2");
        case.publish("web", "3", "exits");
        assert_eq!(case.update().expect(500)["outcome"], "rolled_back");
        case.assert_runs("web", "2");
        case.post(&format!("/api/apps/{}/rollback", case.app)).expect(200);
        case.assert_runs("web", "1");
        assert_eq!(case.ids("worker"), ids, "untouched");
    };

    every_changed_service_is_taken_back_when_one_fails => |kind| {
        let case = Case::new(kind, "shop");
        case.publish("web", "2", "unhealthy");
        case.publish("shop", "2", "web");
        assert_eq!(case.update().expect(500)["outcome"], "rolled_back");
        for service in ["api", "worker", "front", "db"] {
            case.assert_runs(service, "1");
        }
    };

    a_failed_update_is_left_as_it_is_when_asked_for => |kind| {
        let case = Case::new(kind, "web");
        case.publish("web", "2", "unhealthy");
        let problem = case.post(&format!("/api/apps/{}/update?rollback=false", case.app)).expect(500);
        assert_eq!(problem["outcome"], "failed");
        case.assert_runs("web", "2");
        let app = case.get(&format!("/api/apps/{}", case.app)).expect(200);
        assert_eq!((&app["state"], &app["health"]), (&"running".into(), &"unhealthy".into()));
        case.post(&format!("/api/apps/{}/rollback", case.app)).expect(200);
        case.assert_runs("web", "1");
    };

    a_failed_pull_leaves_every_container_untouched => |kind| {
        let case = Case::new(kind, "shop");
        let before = case.containers();
        case.publish("shop", "2", "web");
        case.write("compose.override.yaml", "services: {front: {image: \"${REGISTRY}/demo/web:no-such-tag\"}}");
        let problem = case.update().expect(502);
        assert_eq!((&problem["service"], &problem["code"]), (&"front".into(), &"no_such_image".into()), "{problem}");
        let after = case.containers();
        let ids = |containers: &std::collections::BTreeMap<String, serde_json::Value>| {
            containers.values().map(|value| (value["Id"].clone(), value["State"]["StartedAt"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(ids(&before), ids(&after));
    };

    an_image_for_another_platform_is_refused => |kind| {
        let case = Case::new(kind, "web");
        let ids = case.ids("web");
        case.world.publish(&["--foreign", "--index", "x"], "demo/web", &case.tag, "2", "web");
        assert_eq!(case.update().expect(502)["code"], "no_such_platform");
        assert_eq!(case.ids("web"), ids);
    };

    an_invalid_file_is_told_in_composes_words_without_secrets => |kind| {
        let case = Case::new(kind, "web");
        case.write("compose.yaml", "services: {web: {image: x, environment: {PASSWORD: hunter2}, ports: [\"${SECRET}\"], colour: red}}");
        let reply = case.update();
        let problem = reply.expect(422);
        assert!(problem["detail"].as_str().unwrap().contains("colour") || problem["detail"].as_str().unwrap().contains("ports"), "{problem}");
        for secret in ["hunter2", "swordfish"] {
            assert!(!reply.body.contains(secret), "{secret} in {}", reply.body);
            assert!(!case.read_log().contains(secret));
        }
        let apps = case.get("/api/apps").expect(200);
        assert_eq!(apps[0]["state"], "broken");
    };

    a_paused_container_is_a_conflict_before_anything_is_touched => |kind| {
        let case = Case::new(kind, "web");
        case.publish("web", "2", "web");
        case.compose(&["pause"]);
        assert_eq!(case.update().expect(409)["code"], "paused");
        assert_eq!(case.runs("web"), [("1".to_owned(), "paused".to_owned())]);
        case.compose(&["unpause"]);
        assert_eq!(case.update().expect(200)["updated"], true);
    };

    mistakes_in_the_settings_are_told_before_anything_is_touched => |kind| {
        let case = Case::new(kind, "web");
        case.publish("web", "2", "web");
        case.write("compose.override.yaml", "x-restock: {rollback: perhaps}");
        let problem = case.update().expect(422);
        assert!(problem["detail"].as_str().unwrap().contains("x-restock.rollback"), "{problem}");
        case.assert_runs("web", "1");
    };
}

one_engine! {
    a_dependency_that_goes_unhealthy_takes_everything_back on Classic => |kind| {
        let case = Case::new(kind, "shop");
        case.publish("db", "2", "unhealthy");
        case.publish("shop", "2", "web");
        let problem = case.update().expect(500);
        assert_eq!(problem["outcome"], "rolled_back", "{problem}");
        for service in ["api", "worker", "front", "db"] {
            case.assert_runs(service, "1");
        }
    };

    a_dependency_that_restarts_in_a_loop_is_no_endless_wait on Containerd => |kind| {
        let case = Case::on(crate::world::World::of(kind), "vpn");
        // Compose waits for the health of one that never gets to it.
        case.write("compose.yaml", "
services:
  vpn:
    image: ${REGISTRY}/demo/vpn:${TAG}
    restart: unless-stopped
    healthcheck: {test: [CMD, /bin/wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/version'], interval: 500ms, retries: 4}
  notes:
    image: ${REGISTRY}/demo/plain:${TAG}
    depends_on: {vpn: {condition: service_healthy}}
");
        case.up();
        let mut case = case;
        case.serve();
        case.publish("vpn", "2", "crashloop");
        case.publish("plain", "2", "plain");
        let problem = case.update().expect(500);
        assert_eq!(problem["outcome"], "rolled_back", "{problem}");
        case.assert_runs("vpn", "1");
        case.assert_runs("notes", "1");
    };

    a_one_shot_that_fails_takes_everything_back on Classic => |kind| {
        let case = Case::on(crate::world::World::of(kind), "shop");
        case.write("compose.override.yaml", "services: {migrate: {entrypoint: [busybox, grep, '1'], command: [/www/version]}}");
        case.up();
        let mut case = case;
        case.serve();
        case.publish("shop", "2", "web");
        let problem = case.update().expect(500);
        assert_eq!(problem["outcome"], "rolled_back", "{problem}");
        for service in ["api", "worker", "front", "db"] {
            case.assert_runs(service, "1");
        }
    };

    a_failure_tells_no_secret_and_a_failed_rollback_is_called_failed on Containerd => |kind| {
        let case = Case::on(crate::world::World::of(kind), "web");
        // Well in version 1; otherwise it says more than it should.
        let check = "busybox grep -q 1 /www/version || { echo no login with ${SECRET}; exit 1; }";
        case.write("compose.override.yaml", &format!("services: {{web: {{healthcheck: {{test: '{check}', interval: 500ms, retries: 2}}}}}}"));
        case.up();
        let mut case = case;
        case.serve();
        case.publish("web", "2", "web");
        let told = case.send("POST", &format!("/api/apps/{}/update", case.app), &[("Accept", "text/event-stream")]).body;
        assert!(told.contains("unhealthy") && told.contains("rolled_back"), "{told}");
        case.assert_runs("web", "1");
        // What cannot be started now cannot be started then.
        case.write("compose.override.yaml", "services: {web: {entrypoint: [\"/no-such-${SECRET}\"]}}");
        let second = case.update();
        assert_eq!(second.expect(500)["outcome"], "failed", "{}", second.body);
        let everything = [told, second.body, case.get("/api/history").body, case.get("/api/apps").body, case.read_log()];
        let told: Vec<_> = everything.iter().flat_map(|text| text.lines()).filter(|line| line.contains("swordfish")).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
    };
}
