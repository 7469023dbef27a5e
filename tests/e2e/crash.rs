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

/// Every Compose that works in this case's directory.
fn composes(case: &Case) -> Vec<rustix::process::Pid> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let here = processes.filter(|process| {
        std::fs::read_link(process.path().join("cwd")).is_ok_and(|directory| directory == case.dir())
    });
    let pid = |process: std::fs::DirEntry| process.file_name().to_str()?.parse().ok();
    here.filter_map(pid).filter_map(rustix::process::Pid::from_raw).collect()
}

fn kill_compose(case: &Case) {
    for pid in composes(case) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
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

    who_lives_in_the_network_of_a_container_is_taken_along_when_it_is_settled => |kind| {
        let mut case = Case::new(kind, "web");
        case.publish("plain", "1", "plain");
        let side = format!("{}-side", case.app);
        let network = format!("container:{}", case.ids("web")[0]);
        case.docker(&["run", "-d", "--quiet", "--name", &side, "--network", &network, &case.reference("plain")]);
        case.publish("web", "2", "web");
        let job = case.start_update();
        case.wait_for("the proof", || (case.get(&job).json()["step"] == "verify").then_some(()));
        case.kill();
        case.serve();
        assert_eq!(case.finished(&job)["outcome"], "interrupted");
        case.assert_runs("web", "2");
        let after = crate::containers::inspect(&case, &side);
        assert_eq!(after["HostConfig"]["NetworkMode"], format!("container:{}", case.ids("web")[0]));
    };

    a_compose_without_its_caller_comes_to_its_end => |kind| {
        let mut case = Case::new(kind, "shop");
        case.publish("shop", "2", "web");
        let job = case.start_update();
        let applies = || case.get(&job).json()["step"] == "apply" && !composes(&case).is_empty();
        case.wait_for("the change", || applies().then_some(()));
        case.kill();
        case.wait_for("the end of Compose", || composes(&case).is_empty().then_some(()));
        for service in ["api", "worker"] {
            case.assert_runs(service, "2");
        }
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
