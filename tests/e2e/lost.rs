//! What a standalone container's update must never lose: killed at any moment, on a full disk, with odd options.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::Value;

use crate::case::Case;
use crate::containers::{inspect, update};
use crate::relay::{Act, Relay};
use crate::world::{Kind, World};
use crate::{both_engines, one_engine};

/// The names of all containers that a case made beside its app.
fn names(case: &Case) -> String {
    case.docker(&["ps", "-a", "--format", "{{.Names}}", "--filter", &format!("name=^/{}-", case.app)])
}

fn version(container: &Value) -> &str {
    container["Config"]["Labels"]["org.opencontainers.image.version"].as_str().unwrap()
}

fn job_of(case: &Case, name: &str) -> Option<Value> {
    let jobs = case.get("/api/jobs").json();
    jobs.as_array().unwrap().iter().find(|job| job["container"] == name && job["state"] != "finished").cloned()
}

/// Makes a container as programs do: the command line of today does not offer everything to an old engine.
fn create(case: &Case, name: &str, body: &Value) {
    let mut engine = UnixStream::connect(case.world.docker_host.strip_prefix("unix://").unwrap()).unwrap();
    let (path, body) = (format!("/containers/create?name={name}"), body.to_string());
    let head = "Host: docker\r\nContent-Type: application/json\r\nConnection: close";
    write!(engine, "POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    engine.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

both_engines! {
    killed_between_the_old_ones_removal_and_the_end_nothing_is_lost => |kind| {
        let mut case = Case::on(World::of(kind), "web");
        let name = format!("{}-kill", case.app);
        case.publish("plain", "0", "plain");
        case.docker(&["run", "-d", "--quiet", "--name", &name, &case.reference("plain")]);
        let relay = Relay::start(&case);
        let host = relay.host();
        for round in 1..=10 {
            let old = inspect(&case, &name)["Id"].as_str().unwrap().to_owned();
            let removal = format!("DELETE /containers/{old}");
            let done = round % 2 == 0;
            relay.choose(move |asked| match asked.contains(&removal) {
                true if done => Act::LoseAnswer,
                true => Act::Swallow,
                false => Act::Pass,
            });
            case.serve_with(&["--docker-host", &host]);
            let version_now = round.to_string();
            case.publish("plain", &version_now, "plain");
            case.post(&format!("/api/images/{name}/update")).expect(200);
            relay.wait_until_held();
            let job = job_of(&case, &name).unwrap()["id"].as_str().unwrap().to_owned();
            case.kill();
            relay.choose(|_| Act::Pass);
            // Meanwhile its owner may stop it, or the machine may boot without starting it.
            let stopped = round % 4 >= 2;
            if stopped {
                case.docker(&["stop", "--time", "0", &name]);
            }
            let before = inspect(&case, &name);
            case.serve_with(&["--docker-host", &host]);
            let settled = case.finished(&format!("/api/jobs/{job}"));
            assert_eq!((&settled["outcome"], &settled["result"]["updated"]), (&"interrupted".into(), &true.into()), "{settled}");
            let after = inspect(&case, &name);
            assert_eq!((&after["Id"], version(&after)), (&before["Id"], version_now.as_str()), "round {round}");
            assert_eq!(after["State"]["Running"], !stopped, "round {round}");
            assert_eq!(names(&case), name);
            case.docker(&["start", &name]);
        }
    };

    odd_options_survive => |kind| {
        let mut case = Case::on(World::of(kind), "web");
        case.publish("plain", "1", "plain");
        let image = case.reference("plain");
        let run = |name: &str, options: &[&str], words: &[&str]| {
            let name = format!("{}-{name}", case.app);
            case.docker(&[&["run", "-d", "--quiet", "--name", &name], options, &[&image], words].concat());
            name
        };
        let entry = run("entry", &["--entrypoint", ""], &["/bin/sleep", "1000"]);
        let (named, mounted) = (format!("{}-v", case.app), format!("type=volume,src={}-w,target=/mounted/./", case.app));
        let paths = run("paths", &["-v", &format!("{named}:/data/"), "--mount", &mounted, "-v", "/anonymous//", "-v", &format!("{named}2:/x/../odd:ro")], &[]);
        let theirs = run("theirs", &["--volumes-from", &paths], &[]);
        let forever = run("forever", &["--stop-timeout", "-1"], &[]);
        for file in ["/data/kept", "/mounted/kept", "/anonymous/kept"] {
            case.docker(&["exec", &paths, "busybox", "touch", file]);
        }
        case.serve();
        case.publish("plain", "2", "plain");
        for name in [&entry, &paths, &theirs, &forever] {
            let before = inspect(&case, name);
            let job = update(&case, name);
            assert_eq!(job["outcome"], "updated", "{name}: {job}");
            let after = inspect(&case, name);
            assert_eq!(version(&after), "2");
            for key in ["Entrypoint", "Cmd", "StopTimeout"] {
                assert_eq!(before["Config"][key], after["Config"][key], "{name}: {key}");
            }
            assert_eq!(before["HostConfig"]["VolumesFrom"], after["HostConfig"]["VolumesFrom"], "{name}");
            for key in ["MaskedPaths", "ReadonlyPaths"] {
                assert_eq!(before["HostConfig"][key], after["HostConfig"][key], "{name}: the same engine hides the same");
            }
            let mounts = |container: &Value| {
                let mounts = container["Mounts"].as_array().unwrap().iter();
                let mut mounts: Vec<_> = mounts.map(|mount| format!("{} {} {}", mount["Destination"], mount["Name"], mount["RW"])).collect();
                mounts.sort();
                mounts
            };
            assert_eq!(mounts(&before), mounts(&after), "{name}");
        }
        assert_eq!(inspect(&case, &theirs)["HostConfig"]["Binds"], inspect(&case, &forever)["HostConfig"]["Binds"]);
        for file in ["/data/kept", "/mounted/kept", "/anonymous/kept"] {
            case.docker(&["exec", &paths, "busybox", "test", "-e", file]);
        }
        case.docker(&["rm", "--force", "--volumes", &theirs, &paths]);
        case.docker(&["volume", "rm", &named, &format!("{named}2"), &format!("{}-w", case.app)]);
    };

    mac_addresses_survive => |kind| {
        let mut case = Case::on(World::of(kind), "web");
        case.publish("plain", "1", "plain");
        let (front, back) = (format!("{}-front", case.app), format!("{}-back", case.app));
        for network in [&front, &back] {
            case.docker(&["network", "create", network]);
        }
        let image = case.reference("plain");
        let name = format!("{}-mac", case.app);
        let body = match kind {
            Kind::Classic => serde_json::json!({"Image": image, "MacAddress": "02:11:22:33:44:55",
                "HostConfig": {"NetworkMode": front}, "NetworkingConfig": {"EndpointsConfig": {&front: {}}}}),
            Kind::Containerd => serde_json::json!({"Image": image, "HostConfig": {"NetworkMode": front},
                "NetworkingConfig": {"EndpointsConfig": {&front: {"MacAddress": "02:11:22:33:44:55"}, &back: {"MacAddress": "02:11:22:33:44:66"}}}}),
        };
        case.docker(&["pull", "--quiet", &image]);
        create(&case, &name, &body);
        if kind == Kind::Classic {
            case.docker(&["network", "connect", &back, &name]);
        }
        case.docker(&["start", &name]);
        case.serve();
        case.publish("plain", "2", "plain");
        assert_eq!(update(&case, &name)["outcome"], "updated");
        let after = inspect(&case, &name);
        assert_eq!(version(&after), "2");
        let networks = &after["NetworkSettings"]["Networks"];
        assert_eq!(networks[&front]["MacAddress"], "02:11:22:33:44:55");
        // Engines before API 1.44 take none for a second network.
        let second = networks[&back]["MacAddress"] == "02:11:22:33:44:66";
        assert_eq!(second, kind == Kind::Containerd, "{networks}");
        case.docker(&["rm", "--force", "--volumes", &name]);
        case.docker(&["network", "rm", &front, &back]);
    };

    a_container_for_another_platform_stays_one => |kind| {
        let mut case = Case::on(World::of(kind), "web");
        let publish = |version: &str, note: &str| {
            case.world.publish(&["--index", note], "demo/multi", &case.tag, version, "plain");
        };
        publish("1", "one");
        let other = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
        let name = format!("{}-other", case.app);
        let platform = format!("linux/{other}");
        // It cannot run here, and need not.
        case.docker(&["create", "--quiet", "--name", &name, "--platform", &platform, &case.reference("multi")]);
        publish("2", "two");
        case.serve();
        let job = update(&case, &name);
        assert_eq!(job["outcome"], "updated", "{job}");
        let after = inspect(&case, &name);
        let made_for = match kind {
            Kind::Classic => case.docker(&["image", "inspect", "--format", "{{.Architecture}}", after["Image"].as_str().unwrap()]),
            Kind::Containerd => after["ImageManifestDescriptor"]["platform"]["architecture"].as_str().unwrap().to_owned(),
        };
        assert_eq!((made_for.as_str(), version(&after)), (other, "2"));
        assert_eq!(after["Config"]["Labels"]["note"], "two");
        let job = update(&case, &name);
        assert_eq!(job["outcome"], "unchanged", "{job}");
    };

    who_depends_on_it_in_other_ways_is_named => |kind| {
        let mut case = Case::on(World::of(kind), "web");
        case.publish("plain", "1", "plain");
        let image = case.reference("plain");
        let (name, other) = (format!("{}-host", case.app), format!("{}-guest", case.app));
        case.docker(&["run", "-d", "--quiet", "--ipc", "shareable", "--name", &name, &image]);
        case.docker(&["run", "-d", "--quiet", "--ipc", &format!("container:{name}"), "--name", &other, &image]);
        case.serve();
        case.publish("plain", "2", "plain");
        let job = update(&case, &name);
        assert_eq!(job["outcome"], "updated", "{job}");
        let warnings = job["result"]["warnings"].to_string();
        assert!(warnings.contains(&other) && warnings.contains("memory"), "{job}");
    };
}

/// A small file system for the data of one case.
struct Small(PathBuf);

impl Small {
    fn mount(case: &Case) -> Self {
        let dir = case.root.path().join("data");
        std::fs::create_dir(&dir).unwrap();
        let small = Self(dir);
        crate::world::output(
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs"]).arg(&small.0),
        );
        small
    }

    /// Leaves so many pages free.
    fn fill(&self, pages: u64) {
        self.free();
        let free = rustix::fs::statvfs(&self.0).unwrap();
        let free = free.f_bfree * free.f_frsize;
        std::fs::write(self.0.join("full"), vec![1; usize::try_from(free - pages * 4096).unwrap()]).unwrap();
    }

    fn free(&self) {
        // The first time there is none.
        let _ = std::fs::remove_file(self.0.join("full"));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

one_engine! {
    on_a_full_disk_everything_that_ran_runs on Classic => |kind| {
        let mut case = Case::on(World::of(kind), "web");
        let small = Small::mount(&case);
        case.publish("plain", "0", "plain");
        let name = format!("{}-full", case.app);
        case.docker(&["run", "-d", "--quiet", "--name", &name, &case.reference("plain")]);
        let mut seen = std::collections::BTreeSet::new();
        for pages in [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 30] {
            case.serve();
            case.publish("plain", &format!("{}", pages + 1), "plain");
            small.fill(pages);
            let reply = case.post(&format!("/api/images/{name}/update"));
            let end = match reply.status {
                200 => case.wait_for("the end of the update", || {
                    let running = inspect(&case, &name)["State"]["Running"] == true;
                    let log = case.read_log();
                    let ended = log.lines().rev().take(200).any(|line| line.contains("job finished"));
                    // What has proved itself stays, and waits for its record: before that nothing is removed.
                    let waits = log.contains("the verdict is not recorded yet");
                    (running && (ended || waits)).then_some("begun")
                }),
                _ => {
                    assert!(reply.status >= 500 && reply.body.contains("the disk is full"), "{pages}: {}", reply.body);
                    "refused"
                }
            };
            seen.insert(end);
            assert_eq!(inspect(&case, &name)["State"]["Running"], true, "with {pages} pages");
            case.kill();
            small.free();
            case.serve();
            case.wait_for("every job to be settled", || job_of(&case, &name).is_none().then_some(()));
            assert_eq!(inspect(&case, &name)["State"]["Running"], true, "with {pages} pages, settled");
            case.wait_for("the container alone under its name", || (names(&case) == name).then_some(()));
            case.kill();
            std::fs::write(case.log(), "").unwrap();
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["begun", "refused"]);
        drop(small);
    };
}
