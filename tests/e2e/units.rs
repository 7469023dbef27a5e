//! Containers that systemd units run: a real D-Bus, and on it a stand-in for systemd's manager that makes the unit's
//! container anew, as a unit of `podman generate systemd --new` does; and an engine that says it is Podman.

use std::sync::{Arc, Mutex};

use crate::both_engines;
use crate::case::Case;
use crate::containers::{inspect, update};
use crate::relay::Relay;
use crate::systemd::{Answer, Bus, Restart as Answering};
use crate::world::{Kind, World};

const UNIT: &str = "web.service";

/// What a restart comes to; the last one holds on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Restart {
    Works,
    /// The unit stops and does not start again.
    Fails,
    Denied,
}

/// Restarts the unit as `restarts` says: its container is made anew with the arguments `run`.
fn manager(world: &'static World, run: Vec<String>, name: String, restarts: &[Restart]) -> Answering {
    let restarts = Mutex::new(restarts.to_vec());
    Arc::new(move |unit: &str| {
        assert_eq!(unit, UNIT);
        let mut restarts = restarts.lock().unwrap();
        let restart = if restarts.len() > 1 { restarts.remove(0) } else { restarts[0] };
        if restart == Restart::Denied {
            return Answer::Denied;
        }
        let (run, name) = (run.clone(), name.clone());
        Answer::Job(Box::new(move || {
            let docker = |args: &[&str]| world.command("docker").args(args).output().unwrap().status.success();
            let args: Vec<_> = run.iter().map(String::as_str).collect();
            let works = docker(&["rm", "--force", &name]) && restart == Restart::Works && docker(&args);
            if works { "done" } else { "failed" }
        }))
    })
}

/// A systemd on a bus, and the thread that it runs on.
type Systemd = (tokio::runtime::Runtime, zbus::Connection);

/// A container of a unit in version 1, a newer image, and a systemd that restarts it like this.
fn unit(kind: Kind, restarts: &[Restart]) -> (Case, String, (Bus, Option<Systemd>)) {
    let mut case = Case::on(World::of(kind), "web");
    let name = format!("{}-unit", case.app);
    let label = format!("PODMAN_SYSTEMD_UNIT={UNIT}");
    let image = case.reference("web");
    let run = ["run", "-d", "--quiet", "--rm", "--name", &name, "--label", &label, &image];
    case.docker(&run);
    let bus = Bus::start(case.root.path());
    let systemd = (!restarts.is_empty()).then(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let restart = manager(case.world, run.map(str::to_owned).into(), name.clone(), restarts);
        let connection = runtime.block_on(bus.serve(restart));
        (runtime, connection)
    });
    // Only Podman has units; it speaks the same API.
    let podman = Relay::start(&case);
    podman.pretend_podman(&case);
    case.serve_with(&["--dbus", &bus.address, "--docker-host", &podman.host()]);
    case.publish("web", "2", "web");
    (case, name, (bus, systemd))
}

fn version(case: &Case, name: &str) -> String {
    let container = inspect(case, name);
    assert_eq!(container["State"]["Status"], "running");
    container["Config"]["Labels"]["org.opencontainers.image.version"].as_str().unwrap().to_owned()
}

both_engines! {
    a_unit_is_restarted_and_its_container_runs_the_new_image => |kind| {
        let (case, name, _bus) = unit(kind, &[Restart::Works]);
        let before = inspect(&case, &name);
        let job = update(&case, &name);
        assert_eq!((&job["outcome"], &job["kind"]), (&"updated".into(), &"container_update".into()), "{job}");
        assert_eq!(job["result"]["services"][0]["from"], before["Image"]);
        assert_eq!(job["result"]["services"][0]["to"], inspect(&case, &name)["Image"]);
        assert_eq!(version(&case, &name), "2");
    };

    a_unit_that_does_not_start_again_is_taken_back => |kind| {
        let (case, name, _bus) = unit(kind, &[Restart::Fails, Restart::Works]);
        let job = update(&case, &name);
        assert_eq!(job["outcome"], "rolled_back", "{job}");
        assert!(job["error"]["message"].as_str().unwrap().contains("ended as `failed`"), "{job}");
        assert_eq!(version(&case, &name), "1");
    };

    a_unit_whose_new_container_does_not_work_is_taken_back => |kind| {
        let (case, name, _bus) = unit(kind, &[Restart::Works]);
        case.publish("web", "2", "unhealthy");
        let job = update(&case, &name);
        assert_eq!(job["outcome"], "rolled_back", "{job}");
        let failed = &job["error"]["containers"][0];
        assert_eq!((&failed["container"], &failed["health"]), (&name.as_str().into(), &"unhealthy".into()), "{job}");
        assert_eq!(version(&case, &name), "1");
    };
}

#[test]
fn a_restart_that_never_works_is_failed_and_never_rolled_back() {
    let (case, name, _bus) = unit(Kind::Classic, &[Restart::Fails]);
    let job = update(&case, &name);
    assert_eq!((&job["outcome"], &job["error"]["code"]), (&"failed".into(), &"rollback_failed".into()), "{job}");
}

#[test]
fn a_systemd_that_refuses_or_is_away_leaves_the_container_as_it_was() {
    for (restarts, code) in [(vec![Restart::Denied], "systemd_denied"), (vec![], "systemd_unreachable")] {
        let (case, name, _bus) = unit(Kind::Classic, &restarts);
        let before = inspect(&case, &name);
        let job = update(&case, &name);
        assert_eq!((&job["outcome"], &job["error"]["code"]), (&"failed".into(), &code.into()), "{job}");
        assert!(job["error"]["message"].as_str().unwrap().contains("nothing was touched"), "{job}");
        let after = inspect(&case, &name);
        assert_eq!((&after["Id"], &after["State"]["StartedAt"]), (&before["Id"], &before["State"]["StartedAt"]));
    }
}

#[test]
fn an_engine_that_is_not_podman_has_no_units() {
    let (mut case, name, (bus, _systemd)) = unit(Kind::Classic, &[Restart::Works]);
    case.serve_with(&["--dbus", &bus.address]);
    let job = update(&case, &name);
    assert_eq!(job["outcome"], "updated", "{job}");
    // A unit would have made it without a rest of the former one.
    assert_eq!(version(&case, &name), "2");
    assert!(!case.read_log().contains("restarting the unit"));
}

#[test]
fn a_pass_restarts_units_and_reports_them_as_podman_does() {
    let (case, name, _bus) = unit(Kind::Classic, &[Restart::Works]);
    case.post(&format!("/api/images/{name}/auto-update")).expect(200);
    let answer = case.post("/api/auto-update").expect(200);
    let reports = answer["reports"].as_array().unwrap();
    let report =
        reports.iter().find(|report| report["ContainerName"] == name.as_str()).unwrap_or_else(|| panic!("{answer}"));
    assert_eq!((&report["SystemdUnit"], &report["Updated"]), (&UNIT.into(), &"true".into()), "{answer}");
    assert_eq!(version(&case, &name), "2");
}
