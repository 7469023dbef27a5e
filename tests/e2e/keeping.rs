//! What the files say and what people made is there after the update as it was before.

use crate::case::Case;
use crate::one_engine;
use crate::world::{Kind, World, output};

one_engine! {
    configs_secrets_volumes_and_defaults_of_the_new_image_are_there on Classic => |kind| {
        let case = Case::on(World::of(kind), "web");
        case.publish("web", "1", "data");
        case.write("compose.yaml", "
services:
  web:
    image: ${REGISTRY}/demo/web:${TAG}
    env_file: more.env
    environment: {COLOUR: blue}
    configs: [{source: settings, target: /settings}]
    secrets: [word]
    volumes: ['named:/named', './here:/here']
    networks: {inside: {aliases: [www]}}
    labels: {mine: '1'}
networks: {inside: {}}
volumes: {named: {}}
configs: {settings: {file: ./settings}}
secrets: {word: {file: ./word}}
");
        for (file, text) in [("more.env", "SHAPE=round\n"), ("settings", "s"), ("word", "w")] {
            case.write(file, text);
        }
        case.up();
        let exec = |words: &[&str]| case.compose(&[&["exec", "-T", "web", "busybox"], words].concat());
        for file in ["/data/mine", "/named/mine", "/here/mine"] {
            exec(&["touch", file]);
        }
        let mut case = case;
        case.serve();
        for version in ["2", "3"] {
            case.publish("web", version, "data");
            assert_eq!(case.update().expect(200)["updated"], true);
        }
        let exec = |words: &[&str]| case.compose(&[&["exec", "-T", "web", "busybox"], words].concat());
        for file in ["/data/mine", "/named/mine", "/here/mine", "/settings", "/run/secrets/word"] {
            exec(&["test", "-e", file]);
        }
        for (name, value) in [("COLOUR", "blue"), ("SHAPE", "round"), ("DEMO_VERSION", "3")] {
            assert_eq!(exec(&["sh", "-c", &format!("echo ${name}")]), value);
        }
        exec(&["nslookup", "www", "127.0.0.11"]);
        let ids = case.ids("web");
        case.up();
        assert_eq!(case.ids("web"), ids);
        // Two updates leave nothing behind but what protects the old images.
        let volumes = case.world.command("docker").args(["inspect", "--format", "{{range .Mounts}}{{.Type}} {{end}}", &ids[0]]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&volumes.stdout).matches("volume").count(), 2);
    };

    what_is_not_of_the_project_is_left_alone on Containerd => |kind| {
        let case = Case::on(World::of(kind), "web");
        let names = |name: &str| format!("{}-{name}", case.app);
        // A service that has left the file, one that somebody runs by hand, and one that was never started.
        case.write("compose.override.yaml", "services: {gone: {image: \"${REGISTRY}/demo/web:${TAG}\", container_name: \"${COMPOSE_PROJECT_NAME}-gone\"}}");
        case.up();
        case.compose(&["run", "--detach", "--name", &names("once"), "web"]);
        case.write("compose.override.yaml", "services: {later: {image: \"${REGISTRY}/demo/web:${TAG}\"}}");
        let look = || case.docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &names("gone"), &names("once")]);
        let mut ids: Vec<_> = case.containers().into_values().map(|container| container["Id"].clone()).collect();
        let before = look();
        case.publish("web", "2", "web");
        let update = case.restock(&["update", &case.app, "--json"]).output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&update.stdout).unwrap_or_else(|_| panic!("{update:?}"));
        let text = answer.to_string();
        assert!(text.contains("\"updated\":true") && text.contains("{\"reason\":\"absent\",\"service\":\"later\"}"), "{text}");
        case.assert_runs("gone", "1");
        assert_eq!(look(), before);
        assert!(case.runs("later").is_empty());
        ids.retain(|id| !case.containers().values().any(|container| container["Id"] == *id));
        assert_eq!(ids.len(), 1, "only the one container is another");
    };

    a_container_that_vanished_counts_as_stopped on Classic => |kind| {
        let case = Case::new(kind, "shop");
        case.compose(&["rm", "--force", "--stop", "front"]);
        case.publish("shop", "2", "web");
        case.publish("web", "2", "web");
        let answer = case.update().expect(200);
        assert_eq!(answer["updated"], true);
        assert!(case.runs("front").is_empty());
        case.assert_runs("api", "2");
    };

    only_the_services_that_were_asked_for_are_updated on Containerd => |kind| {
        let case = Case::new(kind, "vpn");
        case.publish("vpn", "2", "web");
        case.publish("plain", "2", "plain");
        let notes = case.ids("notes");
        let answer = case.post(&format!("/api/apps/{}/update?service=vpn", case.app)).expect(200);
        assert_eq!(answer["services"][0]["service"], "vpn", "{answer}");
        assert_eq!(case.ids("notes"), notes);
        case.assert_runs("vpn", "2");
        let network = case.containers().into_iter().find(|(name, _)| name.contains("download")).unwrap().1;
        assert_eq!(network["HostConfig"]["NetworkMode"], format!("container:{}", case.ids("vpn")[0]));
        let unknown = case.post(&format!("/api/apps/{}/update?service=nope", case.app)).expect(400);
        assert!(unknown["detail"].as_str().unwrap().contains("nope"), "{unknown}");
    };

    dependents_follow_also_when_another_service_is_stopped on Classic => |kind| {
        let case = Case::new(kind, "vpn");
        case.compose(&["stop", "--timeout", "0", "notes"]);
        case.publish("vpn", "2", "web");
        assert_eq!(case.update().expect(200)["updated"], true);
        let network = case.containers().into_iter().find(|(name, _)| name.contains("download")).unwrap().1;
        assert_eq!(network["HostConfig"]["NetworkMode"], format!("container:{}", case.ids("vpn")[0]));
        assert_eq!(case.runs("download"), [("1".to_owned(), "running".to_owned())]);
        assert!(case.runs("notes").iter().all(|(_, state)| state != "running"));
    };

    what_an_inactive_profile_names_is_not_even_pulled on Containerd => |kind| {
        let case = Case::new(kind, "profiles");
        case.write("compose.override.yaml", "services: {backup: {image: \"${REGISTRY}/demo/plain:no-such-tag\"}}");
        case.publish("web", "2", "web");
        assert_eq!(case.update().expect(200)["updated"], true);
        case.assert_runs("web", "2");
    };

    a_container_gets_the_time_it_asks_for_to_end on Classic => |kind| {
        let case = Case::on(World::of(kind), "web");
        case.write("compose.override.yaml", "
services:
  web:
    entrypoint: [sh, -c, \"trap 'sleep 2; echo well >/kept/ended; exit' TERM; while :; do sleep 0.1; done\"]
    stop_signal: SIGTERM
    stop_grace_period: 20s
    healthcheck: {disable: true}
    volumes: ['./kept:/kept']
");
        case.up();
        let mut case = case;
        case.serve();
        case.publish("web", "2", "web");
        assert_eq!(case.update().expect(200)["updated"], true);
        assert_eq!(std::fs::read_to_string(case.dir().join("kept/ended")).unwrap(), "well\n");
    };

    a_start_period_is_waited_for on Containerd => |kind| {
        let mut case = Case::new(kind, "web");
        case.serve_with(&["--health-timeout", "1s"]);
        case.publish("web", "2", "late");
        assert_eq!(case.update().expect(200)["updated"], true);
        case.assert_runs("web", "2");
    };
}

#[test]
fn nothing_of_the_callers_environment_gets_into_a_project() {
    let case = Case::new(Kind::Containerd, "web");
    case.publish("web", "2", "web");
    let mut command = case.restock(&["update", &case.app]);
    for (name, value) in [
        ("TAG", "no-such-tag"),
        ("REGISTRY", "nowhere.invalid"),
        ("COMPOSE_PROJECT_NAME", "other"),
        ("COMPOSE_FILE", "/dev/null"),
        ("COMPOSE_PROFILES", "*"),
    ] {
        command.env(name, value);
    }
    output(&mut command);
    case.assert_runs("web", "2");
}

#[test]
fn a_project_may_have_another_name_and_other_files_than_its_directory_says() {
    let case = Case::on(World::of(Kind::Classic), "web");
    let project = format!("{}-named", case.app);
    case.write(
        "compose.yaml",
        &format!("name: {project}\nservices: {{web: {{image: \"${{REGISTRY}}/demo/web:${{TAG}}\"}}}}"),
    );
    case.write("more.yaml", "services: {web: {scale: 2}}");
    let env = std::fs::read_to_string(case.dir().join(".env")).unwrap();
    case.write(".env", &format!("{env}COMPOSE_FILE=compose.yaml:more.yaml\n"));
    case.up();
    let mut case = case;
    case.serve();
    let app = case.get(&format!("/api/apps/{}", case.app)).expect(200);
    assert_eq!((&app["project"], &app["state"]), (&project.as_str().into(), &"running".into()), "{app}");
    assert_eq!(app["services"][0]["containers"].as_array().unwrap().len(), 2, "{app}");
    case.publish("web", "2", "web");
    assert_eq!(case.update().expect(200)["updated"], true);
    for n in ["1", "2"] {
        let format = "{{index .Config.Labels \"org.opencontainers.image.version\"}} {{.State.Status}}";
        assert_eq!(case.docker(&["inspect", "--format", format, &format!("{project}-web-{n}")]), "2 running");
    }
}
