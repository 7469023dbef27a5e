//! Containers that systemd units run: a real D-Bus, and on it a stand-in for systemd's manager that makes the unit's
//! container anew, as a unit of `podman generate systemd --new` does; and an engine that says it is Podman.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use zbus::fdo;
use zbus::object_server::SignalEmitter;
use zbus::wire::{ObjectPath, OwnedObjectPath};

use crate::both_engines;
use crate::case::Case;
use crate::containers::{inspect, update};
use crate::relay::Relay;
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

struct Manager {
    world: &'static World,
    /// The arguments that make the container.
    run: Vec<String>,
    name: String,
    restarts: Arc<Mutex<Vec<Restart>>>,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    async fn restart_unit(
        &self,
        unit: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        assert_eq!((unit.as_str(), mode.as_str()), (UNIT, "replace"));
        let restart = {
            let mut restarts = self.restarts.lock().unwrap();
            if restarts.len() > 1 { restarts.remove(0) } else { restarts[0] }
        };
        if restart == Restart::Denied {
            return Err(fdo::Error::AccessDenied("Permission denied".into()));
        }
        let (world, run, name) = (self.world, self.run.clone(), self.name.clone());
        let (emitter, path) = (emitter.to_owned(), ObjectPath::try_from("/org/freedesktop/systemd1/job/7").unwrap());
        let job = path.clone();
        tokio::spawn(async move {
            let done = tokio::task::spawn_blocking(move || {
                let docker = |args: &[&str]| world.command("docker").args(args).output().unwrap().status.success();
                let args: Vec<_> = run.iter().map(String::as_str).collect();
                docker(&["rm", "--force", &name]) && restart == Restart::Works && docker(&args)
            });
            let result = if done.await.unwrap() { "done" } else { "failed" };
            // One of another job first: it is not ours.
            let other = ObjectPath::try_from("/org/freedesktop/systemd1/job/6").unwrap();
            Self::job_removed(&emitter, 6, other, "other.service", "failed").await.unwrap();
            Self::job_removed(&emitter, 7, job, UNIT, result).await.unwrap();
        });
        Ok(path.into())
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// A bus, with systemd's stand-in on it where there is one.
struct Bus {
    daemon: Child,
    address: String,
    _manager: Option<(tokio::runtime::Runtime, zbus::Connection)>,
}

impl Bus {
    fn start(case: &Case, manager: Option<Manager>) -> Self {
        let (socket, config) = (case.root.path().join("bus"), case.root.path().join("bus.conf"));
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow send_destination='*'/><allow receive_sender='*'/><allow own='*'/></policy>\
             </busconfig>",
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.arg("--nofork").arg("--config-file").arg(&config).stdin(Stdio::null()).stderr(Stdio::null());
        let daemon = command.spawn().unwrap();
        // Its file is there before it listens.
        case.wait_for("the bus", || UnixStream::connect(&socket).ok());
        let address = format!("unix:path={}", socket.display());
        let manager = manager.map(|manager| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let builder = zbus::connection::Builder::address(address.as_str());
            let builder = builder.serve_at("/org/freedesktop/systemd1", manager).name("org.freedesktop.systemd1");
            let connection = runtime.block_on(builder.build()).unwrap();
            (runtime, connection)
        });
        Self { daemon, address, _manager: manager }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A container of a unit in version 1, a newer image, and a systemd that restarts it like this.
fn unit(kind: Kind, restarts: &[Restart]) -> (Case, String, Bus) {
    let mut case = Case::on(World::of(kind), "web");
    let name = format!("{}-unit", case.app);
    let label = format!("PODMAN_SYSTEMD_UNIT={UNIT}");
    let image = case.reference("web");
    let run = ["run", "-d", "--quiet", "--rm", "--name", &name, "--label", &label, &image];
    case.docker(&run);
    let manager = Manager {
        world: case.world,
        run: run.map(str::to_owned).into(),
        name: name.clone(),
        restarts: Arc::new(Mutex::new(restarts.to_vec())),
    };
    let bus = Bus::start(&case, (!restarts.is_empty()).then_some(manager));
    // Only Podman has units; it speaks the same API.
    let podman = Relay::start(&case);
    podman.pretend_podman(&case);
    case.serve_with(&["--dbus", &bus.address, "--docker-host", &podman.host()]);
    case.publish("web", "2", "web");
    (case, name, bus)
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
    let (mut case, name, bus) = unit(Kind::Classic, &[Restart::Works]);
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
