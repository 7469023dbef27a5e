//! Whether newer images are there, without pulling.

use crate::both_engines;
use crate::case::Case;
use crate::world::{Kind, World};

both_engines! {
    a_newer_image_is_seen_and_nothing_is_pulled => |kind| {
        let case = Case::new(kind, "web");
        let status = |force: &str| case.get(&format!("/api/apps/{}/status{force}", case.app)).expect(200);
        assert_eq!(status("")["status"], "updated");
        let digest = case.publish("web", "2", "web");
        assert_eq!(status("")["status"], "updated", "an answer is believed for a while");
        let found = status("?force=true");
        assert_eq!((&found["status"], &found["services"][0]["remote_digest"]), (&"outdated".into(), &digest.as_str().into()));
        // What it is, and how much of it, is in the registry as well.
        let available = &found["services"][0]["available"];
        assert_eq!((&available["version"], &available["digest"]), (&"2".into(), &digest.as_str().into()), "{found}");
        assert!(available["size"].as_u64().unwrap() > 0 && available["created"].is_string(), "{available}");
        let app = case.get(&format!("/api/apps/{}", case.app)).expect(200);
        let service = &app["services"][0];
        assert_eq!((&app["status"], &service["version"], &service["available"]), (&"outdated".into(), &"1".into(), available));
        let checked = case.post("/api/check").expect(200);
        assert_eq!((&checked["asked"], &checked["outdated"], &checked["failed"]), (&1.into(), &1.into(), &0.into()), "{checked}");
        let dry = case.post(&format!("/api/apps/{}/update?dry_run=true", case.app)).expect(200);
        assert_eq!((&dry["outcome"], &dry["services"][0]["to"]), (&"pending".into(), &digest.as_str().into()));
        case.assert_runs("web", "1");
        let local = case.docker(&["image", "inspect", "--format", "{{index .Config.Labels \"org.opencontainers.image.version\"}}", &case.reference("web")]);
        assert_eq!(local, "1");
        case.update().expect(200);
        assert_eq!(status("?force=true")["status"], "updated");
    };

    an_index_that_only_changed_elsewhere_is_up_to_date => |kind| {
        let mut case = Case::on(crate::world::World::of(kind), "web");
        let index = |case: &Case, note: &str| case.world.publish(&["--index", note], "demo/web", &case.tag, "1", "web");
        index(&case, "one");
        case.up();
        case.serve();
        index(&case, "two");
        let found = case.get(&format!("/api/apps/{}/status?force=true", case.app)).expect(200);
        // A classic store knows no manifests of indexes: there the new digest counts as newer.
        let expected = if kind == crate::world::Kind::Containerd { "updated" } else { "outdated" };
        assert_eq!(found["status"], expected, "{found}");
    };

    what_cannot_be_followed_is_skipped_and_what_cannot_be_asked_is_an_error => |kind| {
        let mut case = Case::on(crate::world::World::of(kind), "pinned");
        let digest = case.publish("cache", "1", "plain");
        case.write(".env", &format!("REGISTRY={}\nTAG={}\nDIGEST={digest}\n", case.world.registry, case.tag));
        case.up();
        case.serve();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        case.docker(&["tag", &case.reference("web"), &format!("{dead}/web")]);
        case.write("compose.override.yaml", &format!("services: {{web: {{image: \"{dead}/web\"}}}}"));
        case.up();
        let found = case.get(&format!("/api/apps/{}/status?force=true", case.app)).expect(200);
        let statuses: Vec<_> = found["services"].as_array().unwrap().iter().map(|service| service["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["skipped", "skipped", "error"], "{found}");
        assert_eq!(found["status"], "error");
        let message = found["services"][2]["message"].as_str().unwrap();
        assert!(!message.contains("127.0.0.1"), "{message}");
    };

    what_was_made_here_is_asked_for_nowhere => |kind| {
        let mut case = Case::on(World::of(kind), "web");
        let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        registry.set_nonblocking(true).unwrap();
        let own = |name: &str| format!("{}/{}-{name}:1", registry.local_addr().unwrap(), case.app);
        case.up();
        // As a person does who keeps what was changed in a container.
        case.docker(&["commit", &case.ids("web")[0], &own("kept")]);
        let mut services = format!("  kept: {{image: \"{}\"}}\n", own("kept"));
        if kind == Kind::Containerd {
            // Only there builds leave the same traces as pulls.
            let build = case.root.path().join("build");
            std::fs::create_dir(&build).unwrap();
            std::fs::write(build.join("Dockerfile"), format!("FROM {}\nLABEL own=1\n", case.reference("web"))).unwrap();
            std::fs::write(build.join("compose.yaml"), format!("services: {{own: {{build: ., image: \"{}\"}}}}", own("built"))).unwrap();
            crate::world::output(case.world.command("docker").args(["compose", "build", "--quiet"]).current_dir(&build));
            services += &format!("  built: {{image: \"{}\"}}\n", own("built"));
        }
        case.write("compose.override.yaml", &format!("services:\n{services}"));
        case.up();
        case.serve();
        let found = case.get(&format!("/api/apps/{}/status?force=true", case.app)).expect(200);
        for service in found["services"].as_array().unwrap() {
            let expected = if service["service"] == "web" { "updated" } else { "skipped" };
            assert_eq!(service["status"], expected, "{found}");
        }
        let digest = case.publish("web", "2", "web");
        assert!(!digest.is_empty());
        assert_eq!(case.update().expect(200)["outcome"], "updated");
        assert!(registry.accept().is_err(), "somebody asked for it");
    };
}

#[test]
fn a_registry_with_tls_and_a_password_is_asked_as_docker_would() {
    let case = Case::on(World::of(Kind::Containerd), "web");
    let registry = case.registry(&["--user", "me", "--password", "p???~~~>>>", "--tls"]);
    let authority = case.registry_dir().join("ca.crt");
    let image = format!("{registry}/demo/web:{}", case.tag);
    let open = ["--user".as_ref(), "me:p???~~~>>>".as_ref(), "--cacert".as_ref(), authority.as_os_str()];
    case.publish_to(&open, &image, "1");
    case.docker(&["pull", "--quiet", &case.reference("web")]);
    case.docker(&["tag", &case.reference("web"), &image]);
    case.write("compose.override.yaml", &format!("services: {{web: {{image: \"{image}\"}}}}"));
    case.up();
    let check = |authority: Option<&std::path::Path>, login: Option<&str>| {
        let mut command = case.restock(&["check", "--json"]);
        command.env("DOCKER_CONFIG", case.login(&registry, login));
        if let Some(authority) = authority {
            command.env("SSL_CERT_FILE", authority);
        }
        let found: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let service = &found["apps"][0]["services"][0];
        format!("{} {}", service["status"].as_str().unwrap(), service["message"].as_str().unwrap_or_default())
    };
    let table = [
        (check(None, Some("me:p???~~~>>>")), "unknown authority"),
        (check(Some(&authority), None), "wants credentials"),
        (check(Some(&authority), Some("me:wrong")), "refused the configured credentials"),
        (check(Some(&authority), Some("me:p???~~~>>>")), "updated"),
    ];
    for (told, expected) in table {
        assert!(told.contains(expected), "{expected} in {told}");
    }
}
