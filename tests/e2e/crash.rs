//! Killed in the middle: afterwards every service runs once, under its own name, and the history tells.

use crate::both_engines;
use crate::case::Case;
use crate::world::Kind;

/// Kills Restock when the update is at `step` (with Compose, as a power cut would, or without), starts it again and
/// waits until the job is settled.
fn killed_at(kind: Kind, step: &str, variant: &str, with_compose: bool) -> (Case, serde_json::Value) {
    let mut case = Case::new(kind, "shop");
    case.publish("shop", "2", variant);
    let job = case.start_update();
    case.wait_for(step, || {
        let now = case.get(&job).json();
        assert!(now["state"] != "finished", "the job ended before it could be killed at {step}: {now}");
        (now["step"] == step).then_some(())
    });
    case.kill();
    if with_compose {
        kill_compose(&case);
    }
    case.serve();
    let settled = case.finished(&job);
    assert_eq!(settled["outcome"], "interrupted", "{settled}");
    for (name, container) in case.containers() {
        let number = &container["Config"]["Labels"]["com.docker.compose.container-number"];
        let service = &container["Config"]["Labels"]["com.docker.compose.service"];
        let own = format!("{}-{}-{}", case.app, service.as_str().unwrap(), number.as_str().unwrap());
        assert_eq!(name, own);
    }
    assert_eq!(case.containers().len(), 6);
    for service in ["api", "worker", "front", "db"] {
        assert!(case.runs(service).iter().all(|(_, state)| state == "running"), "{service}: {:?}", case.runs(service));
    }
    (case, settled)
}

/// Ends every Compose that works in this case's directory.
fn kill_compose(case: &Case) {
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let here = std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == case.dir());
        let pid = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let (true, Some(pid)) = (here, pid.and_then(rustix::process::Pid::from_raw)) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

both_engines! {
    in_the_pull_nothing_had_been_touched => |kind| {
        let mut case = Case::new(kind, "web");
        let ids = case.ids("web");
        // A registry that never answers holds the pull.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let image = format!("services: {{web: {{image: \"{}/web\"}}}}", silent.local_addr().unwrap());
        case.write("compose.override.yaml", &image);
        let job = case.start_update();
        case.wait_for("the pull", || (case.get(&job).json()["step"] == "pull").then_some(()));
        case.kill();
        kill_compose(&case);
        case.serve();
        let settled = case.finished(&job);
        assert_eq!((&settled["outcome"], &settled["result"]["updated"]), (&"interrupted".into(), &false.into()));
        assert_eq!(case.ids("web"), ids);
    };

    while_containers_are_recreated_it_is_finished => |kind| {
        let (case, settled) = killed_at(kind, "apply", "web", true);
        assert_eq!(settled["result"]["updated"], true);
        case.assert_runs("api", "2");
        case.assert_runs("worker", "2");
    };

    when_compose_lives_on_it_is_waited_for => |kind| {
        let (case, _) = killed_at(kind, "apply", "web", false);
        case.assert_runs("worker", "2");
    };

    while_the_new_containers_are_proved_they_are_proved_again => |kind| {
        let (case, settled) = killed_at(kind, "verify", "web", true);
        assert_eq!(settled["result"]["updated"], true);
        case.assert_runs("api", "2");
    };

    in_the_rollback_the_rollback_is_finished => |kind| {
        let (case, settled) = killed_at(kind, "roll_back", "unhealthy", true);
        assert_eq!(settled["result"]["updated"], false);
        case.assert_runs("api", "1");
        case.assert_runs("worker", "1");
    };
}
