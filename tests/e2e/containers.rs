//! Standalone containers, images and groups.

use serde_json::Value;

use crate::both_engines;
use crate::case::Case;
use crate::world::{Kind, World};

/// A standalone container of the case's image, and Restock.
fn alone(kind: Kind, name: &str, options: &[&str], words: &[&str]) -> (Case, String) {
    let mut case = Case::on(World::of(kind), "web");
    let name = format!("{}-{name}", case.app);
    let image = case.reference("web");
    case.docker(&[&["run", "-d", "--quiet", "--name", &name], options, &[&image], words].concat());
    case.serve();
    (case, name)
}

pub fn inspect(case: &Case, name: &str) -> Value {
    let text = case.world.command("docker").args(["inspect", name]).output().unwrap().stdout;
    serde_json::from_slice::<Value>(&text).unwrap()[0].clone()
}

/// Updates a container and waits for the end of its job.
pub fn update(case: &Case, name: &str) -> Value {
    let answer = case.post(&format!("/api/images/{name}/update")).expect(200);
    assert_eq!(answer, serde_json::json!({"status": "updating"}));
    let job = case.wait_for("the job", || {
        let jobs = case.get("/api/jobs").json();
        jobs.as_array()
            .unwrap()
            .iter()
            .find(|job| job["container"] == name)
            .map(|job| job["id"].as_str().unwrap().to_owned())
    });
    case.finished(&format!("/api/jobs/{job}"))
}

both_engines! {
    what_a_person_set_is_kept_and_what_the_image_gave_is_new => |kind| {
        let (case, name) = alone(kind, "kept", &[
            "--hostname", "mine", "--env", "MINE=1", "--label", "mine=1", "--user", "0", "--workdir", "/tmp",
            "--restart", "unless-stopped", "--volume", "/data", "--tmpfs", "/scratch", "--ulimit", "nofile=1000:2000",
            "--cap-add", "NET_ADMIN", "--health-interval", "700ms", "--log-opt", "max-size=1m", "--memory", "64m",
        ], &[]);
        case.docker(&["exec", &name, "busybox", "touch", "/data/kept"]);
        let before = inspect(&case, &name);
        for version in ["2", "3"] {
            case.publish("web", version, "web");
            let job = update(&case, &name);
            assert_eq!(job["outcome"], "updated", "{job}");
        }
        let after = inspect(&case, &name);
        assert_ne!(before["Id"], after["Id"]);
        for key in ["Hostname", "User", "WorkingDir"] {
            assert_eq!(before["Config"][key], after["Config"][key], "{key}");
        }
        for key in ["RestartPolicy", "Tmpfs", "Ulimits", "CapAdd", "LogConfig", "Memory", "NetworkMode"] {
            assert_eq!(before["HostConfig"][key], after["HostConfig"][key], "{key}");
        }
        assert_eq!(after["Config"]["Labels"]["mine"], "1");
        assert_eq!(after["Config"]["Labels"]["org.opencontainers.image.version"], "3");
        let env = after["Config"]["Env"].to_string();
        assert!(env.contains("MINE=1") && env.contains("DEMO_VERSION=3") && !env.contains("DEMO_VERSION=1"), "{env}");
        assert_eq!(after["Config"]["Healthcheck"]["Interval"], 700_000_000);
        case.docker(&["exec", &name, "busybox", "test", "-e", "/data/kept"]);
        let left = case.world.command("docker").args(["ps", "-a", "--format", "{{.Names}}", "--filter", &format!("name={}", case.app)]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), name);
    };

    networks_addresses_and_aliases_are_kept => |kind| {
        let case = Case::on(World::of(kind), "web");
        let (front, back) = (format!("{}-front", case.app), format!("{}-back", case.app));
        let third = 16 + case.app.bytes().map(u32::from).sum::<u32>() % 200 + u32::from(kind == Kind::Classic);
        case.docker(&["network", "create", "--subnet", &format!("10.213.{third}.0/24"), &front]);
        case.docker(&["network", "create", &back]);
        let (name, image) = (format!("{}-net", case.app), case.reference("web"));
        let address = format!("10.213.{third}.9");
        case.docker(&["run", "-d", "--quiet", "--name", &name, "--network", &front, "--ip", &address, "--network-alias", "www", &image]);
        case.docker(&["network", "connect", "--alias", "inside", &back, &name]);
        let mut case = case;
        case.serve();
        case.publish("web", "2", "web");
        assert_eq!(update(&case, &name)["outcome"], "updated");
        let networks = inspect(&case, &name)["NetworkSettings"]["Networks"].clone();
        assert_eq!(networks[&front]["IPAddress"], address);
        assert!(networks[&front]["Aliases"].to_string().contains("www"), "{networks}");
        assert!(networks[&back]["Aliases"].to_string().contains("inside"), "{networks}");
        case.docker(&["rm", "--force", "--volumes", &name]);
        case.docker(&["network", "rm", &front, &back]);
    };

    a_container_that_removes_itself_stays_such_and_comes_back_when_its_update_fails => |kind| {
        let (case, name) = alone(kind, "rm", &["--rm", "--env", "PASSWORD=hunter22-of-mine"], &[]);
        case.publish("web", "2", "web");
        assert_eq!(update(&case, &name)["outcome"], "updated");
        let second = inspect(&case, &name);
        assert_eq!(second["HostConfig"]["AutoRemove"], true);
        case.publish("web", "3", "unhealthy");
        assert_eq!(update(&case, &name)["outcome"], "rolled_back");
        let back = inspect(&case, &name);
        assert_eq!((&back["Image"], &back["State"]["Running"]), (&second["Image"], &true.into()));
        assert!(back["Config"]["Env"].to_string().contains("hunter22-of-mine"));
        for file in std::fs::read_dir(case.root.path().join("data")).unwrap().flatten().filter(|file| file.path().is_file()) {
            let content = String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned();
            assert!(!content.contains("hunter22-of-mine"), "{:?} has it", file.path());
        }
    };

    the_old_container_comes_back_when_the_new_one_fails => |kind| {
        let (case, name) = alone(kind, "back", &["--restart", "always"], &[]);
        let before = inspect(&case, &name);
        case.publish("web", "2", "exits");
        let job = update(&case, &name);
        assert_eq!(job["outcome"], "rolled_back", "{job}");
        let failed = &job["error"]["containers"][0];
        assert_eq!((&failed["container"], &failed["oom_killed"]), (&name.as_str().into(), &false.into()), "{job}");
        assert!(failed["log"][0].as_str().unwrap().starts_with("cannot read the configuration"), "{job}");
        let after = inspect(&case, &name);
        assert_eq!(before["Id"], after["Id"]);
        assert_eq!(after["State"]["Running"], true);
        assert_eq!(before["HostConfig"]["RestartPolicy"], after["HostConfig"]["RestartPolicy"]);
        let progress = case.get(&format!("/api/images/{name}/progress")).expect(200);
        assert!(progress["status"].as_str().unwrap().starts_with("error: "), "{progress}");
    };

    who_lives_in_its_network_is_taken_along_and_comes_back_with_it => |kind| {
        // A name that no repository may have.
        let (case, name) = alone(kind, "vpn_", &[], &[]);
        case.publish("plain", "1", "plain");
        let guest = format!("{}-guest", case.app);
        let network = format!("container:{name}");
        case.docker(&["run", "-d", "--quiet", "--name", &guest, "--network", &network, &case.reference("plain")]);
        let version = || case.docker(&["exec", &guest, "busybox", "wget", "-qO-", "http://127.0.0.1:8080/version"]);
        assert_eq!(version(), "1");
        let before = inspect(&case, &guest);
        case.publish("web", "2", "web");
        let job = update(&case, &name);
        assert_eq!((&job["outcome"], &job["result"]["warnings"]), (&"updated".into(), &Value::Null), "{job}");
        let after = inspect(&case, &guest);
        let host = inspect(&case, &name)["Id"].as_str().unwrap().to_owned();
        assert_eq!(after["HostConfig"]["NetworkMode"], format!("container:{host}"));
        assert_eq!((&before["Image"], &before["Config"]["Env"]), (&after["Image"], &after["Config"]["Env"]));
        assert_eq!(version(), "2");
        case.publish("web", "3", "exits");
        let job = case.wait_for("the second update", || {
            let job = update(&case, &name);
            (job["outcome"] == "rolled_back").then_some(job)
        });
        assert_eq!(inspect(&case, &name)["Id"], host.as_str(), "{job}");
        assert_eq!(version(), "2");
    };

    killed_in_the_middle_no_container_is_lost => |kind| {
        let (mut case, name) = alone(kind, "kill", &[], &[]);
        case.publish("web", "2", "late");
        case.post(&format!("/api/images/{name}/update")).expect(200);
        let job = case.wait_for("the change", || {
            let jobs = case.get("/api/jobs").json();
            let running = jobs.as_array().unwrap().iter().find(|job| job["step"] == "apply")?;
            Some(running["id"].as_str().unwrap().to_owned())
        });
        case.kill();
        case.serve();
        let settled = case.finished(&format!("/api/jobs/{job}"));
        assert_eq!(settled["outcome"], "interrupted", "{settled}");
        let after = inspect(&case, &name);
        assert_eq!((&after["Name"], &after["State"]["Running"]), (&format!("/{name}").into(), &true.into()));
        let left = case.world.command("docker").args(["ps", "-a", "--format", "{{.Names}}", "--filter", &format!("name={}", case.app)]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), name);
    };

    images_are_grouped_and_a_group_is_updated => |kind| {
        let (case, name) = alone(kind, "group", &[], &[]);
        case.up();
        let image = case.reference("web");
        let group = |case: &Case| {
            let groups = case.get("/api/images").expect(200);
            groups.as_array().unwrap().iter().find(|group| group["image"] == image).cloned()
        };
        let known = case.wait_for("the registry's answer", || group(&case).filter(|group| group["status"] != "unknown"));
        assert_eq!(known["status"], "uptodate");
        let member = &known["containers"][0];
        assert_eq!(member["container_id"].as_str().unwrap().len(), 12);
        assert_eq!(known["remote_digest"].as_str().unwrap().len(), 17);
        assert_eq!(known["containers"].as_array().unwrap().len(), 2);
        let id = inspect(&case, &name)["Id"].as_str().unwrap().to_owned();
        for text in [&id[..12], &id, &name] {
            let status = case.get(&format!("/api/docker/1/containers/{text}/image_status?force=true")).expect(200);
            assert_eq!(status["Status"], "updated", "{status}");
        }
        assert_eq!(case.post(&format!("/api/images/{name}/auto-update")).expect(200), serde_json::json!({"auto_update": true}));
        case.publish("web", "2", "web");
        // Pulled by hand, the containers' image has lost its name; they still belong to the group.
        case.docker(&["pull", "--quiet", &image]);
        case.get(&format!("/api/docker/local/containers/{name}/image_status?force=true")).expect(200);
        let stale = group(&case).unwrap();
        assert_eq!(stale["status"], "outdated", "{stale}");
        let toggled = stale["containers"].as_array().unwrap().iter().find(|member| member["container_name"] == name.as_str()).unwrap();
        assert_eq!(toggled["auto_update"], true);
        let encoded = image.replace('/', "%2F").replace(':', "%3A");
        assert_eq!(case.post(&format!("/api/groups/{encoded}/update")).expect(200), serde_json::json!({"status": "updating"}));
        case.wait_for("both to be new", || {
            let fresh = inspect(&case, &name)["Config"]["Labels"]["org.opencontainers.image.version"] == "2";
            (fresh && case.runs("web") == [("2".to_owned(), "running".to_owned())]).then_some(())
        });
        case.wait_for("the group to end", || {
            let jobs = case.get("/api/jobs").json();
            jobs.as_array().unwrap().iter().all(|job| job["state"] == "finished").then_some(())
        });
    };
}

#[test]
fn errors_are_the_words_that_clients_know() {
    let (case, name) = alone(Kind::Classic, "words", &[], &[]);
    let words = |method: &str, path: &str, status: u16, body: &str| {
        let reply = case.send(method, path, &[]);
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{method} {path}");
    };
    words("POST", "/api/images/x", 400, "bad path: /api/images/{id}/{action}\n");
    words("POST", "/api/images/a/b/c", 400, "bad path: /api/images/{id}/{action}\n");
    words("POST", &format!("/api/images/{name}/fly"), 400, "unknown action\n");
    words("POST", "/api/images/nothing/update", 404, "container not found\n");
    words("GET", &format!("/api/images/{name}/progress"), 404, "no progress\n");
    words("GET", &format!("/api/images/{name}/update"), 405, "method not allowed\n");
    words("POST", &format!("/api/images/{name}/progress"), 405, "method not allowed\n");
    let reply = case.send("POST", "/api/images/nothing/update", &[("Accept", "application/json")]);
    assert_eq!(reply.expect(404)["code"], "no_such_container");
    let none = case.get("/api/docker/1/containers/nothing/image_status").expect(200);
    assert_eq!(none["Status"], "error");
    assert_eq!(case.get("/api/docker/7/containers/x/image_status").status, 404);
    assert_eq!(case.get("/api/docker/1/containers//image_status").status, 400);
}

/// Labels mark on the whole engine, so this has one of its own.
#[test]
fn a_container_from_a_registry_with_a_password_is_pulled_with_the_login_that_docker_has() {
    let (world, _) = World::own("password");
    let case = Case::on(Box::leak(Box::new(world)), "web");
    // A password whose letters the two alphabets of base64 write differently.
    let registry = case.registry(&["--user", "me", "--password", "p???~~~>>>"]);
    let image = format!("{registry}/demo/web:{}", case.tag);
    let publish = |version: &str| case.publish_to(&["--user", "me:p???~~~>>>"], &image, version);
    publish("1");
    case.docker(&["pull", "--quiet", &case.reference("web")]);
    case.docker(&["tag", &case.reference("web"), &image]);
    let name = format!("{}-private", case.app);
    case.docker(&["run", "-d", "--name", &name, "--label", "restock.auto-update=registry", &image]);
    publish("2");
    let pass = |login: &str| {
        let config = case.login(&registry, Some(login));
        let output = case.restock(&["auto-update", "--json"]).env("DOCKER_CONFIG", config).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let version = || inspect(&case, &name)["Config"]["Labels"]["org.opencontainers.image.version"].clone();
    let before = inspect(&case, &name)["Id"].clone();
    let refused = pass("me:wrong");
    assert_eq!(refused["reports"][0]["Updated"], "failed", "{refused}");
    assert!(refused["errors"][0].as_str().unwrap().contains("refused the configured credentials"), "{refused}");
    assert!(!refused.to_string().contains("wrong\""), "{refused}");
    assert_eq!(inspect(&case, &name)["Id"], before);
    let done = pass("me:p???~~~>>>");
    assert_eq!((&done["reports"][0]["Updated"], version()), (&"true".into(), "2".into()), "{done}");
}
