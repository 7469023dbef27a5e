//! Updates that work.

use crate::case::Case;
use crate::{both_engines, world::Kind};

both_engines! {
    a_newer_image_is_applied_and_a_second_update_changes_nothing => |kind| {
        let case = Case::new(kind, "web");
        let before = case.update().expect(200);
        assert_eq!((&before["updated"], &before["outcome"]), (&false.into(), &"unchanged".into()));
        let old = case.containers().into_values().next().unwrap();
        case.publish("web", "2", "web");
        let answer = case.update().expect(200);
        assert_eq!((&answer["updated"], &answer["outcome"]), (&true.into(), &"updated".into()));
        let change = &answer["services"][0];
        assert_eq!((&change["service"], &change["tag"]), (&"web".into(), &case.reference("web").into()));
        assert_eq!(change["from"], old["Image"]);
        assert_eq!((&change["version_from"], &change["version_to"]), (&"1".into(), &"2".into()));
        let new = case.containers().into_values().next().unwrap();
        assert_eq!(change["to"], new["Image"]);
        case.assert_runs("web", "2");
        assert_eq!(case.update().expect(200)["outcome"], "unchanged");
        assert_eq!(case.ids("web"), [new["Id"].as_str().unwrap()]);
        // What Compose itself thinks of it: nothing to do.
        case.up();
        assert_eq!(case.ids("web"), [new["Id"].as_str().unwrap()]);
    };

    who_lives_in_the_network_of_a_container_that_was_made_anew_is_named => |kind| {
        let case = Case::new(kind, "web");
        let side = format!("{}-side", case.app);
        let network = format!("container:{}", case.ids("web")[0]);
        case.docker(&["run", "-d", "--name", &side, "--network", &network, &case.reference("web"), "plain"]);
        case.publish("web", "2", "web");
        let answer = case.update().expect(200);
        let warning = answer["warnings"][0].as_str().unwrap();
        assert!(warning.contains(&side) && warning.contains("make it again"), "{answer}");
    };

    only_what_changed_is_recreated_and_both_services_of_one_image_are => |kind| {
        let case = Case::new(kind, "shop");
        let (db, front) = (case.ids("db"), case.ids("front"));
        case.publish("shop", "2", "web");
        let answer = case.update().expect(200);
        let services: Vec<_> = answer["services"].as_array().unwrap().iter().map(|change| change["service"].as_str().unwrap()).collect();
        assert_eq!(services, ["api", "migrate", "worker"]);
        assert_eq!((case.ids("db"), case.ids("front")), (db, front));
        case.assert_runs("api", "2");
        case.assert_runs("worker", "2");
        assert_eq!(case.runs("worker").len(), 2);
        assert_eq!(case.runs("migrate"), [("2".to_owned(), "exited".to_owned())]);
    };

    an_image_that_was_pulled_by_hand_is_applied => |kind| {
        let case = Case::new(kind, "web");
        case.publish("web", "2", "web");
        case.docker(&["pull", "--quiet", &case.reference("web")]);
        assert_eq!(case.update().expect(200)["updated"], true);
        case.assert_runs("web", "2");
    };

    a_newer_local_image_counts_where_nothing_is_pulled => |kind| {
        let case = Case::new(kind, "web");
        case.publish("web", "2", "web");
        case.docker(&["pull", "--quiet", &case.reference("web")]);
        case.write("compose.override.yaml", "services: {web: {pull_policy: never}}");
        assert_eq!(case.update().expect(200)["updated"], true);
        case.assert_runs("web", "2");
        assert_eq!(case.update().expect(200)["skipped"][0]["reason"], "pull_policy");
    };

    another_index_with_the_same_image_for_this_machine_is_no_update => |kind| {
        let case = Case::on(crate::world::World::of(kind), "web");
        let index = |note| case.world.publish(&["--index", note], "demo/web", &case.tag, "1", "web");
        let first = index("one");
        case.up();
        let mut case = case;
        case.serve();
        let ids = case.ids("web");
        assert_ne!(first, case.world.publish(&["--index", "two"], "demo/web", &case.tag, "1", "web"));
        assert_eq!(case.update().expect(200)["outcome"], "unchanged");
        assert_eq!(case.ids("web"), ids);
    };

    a_pinned_service_is_skipped_and_the_others_go_on => |kind| {
        let mut case = Case::on(crate::world::World::of(kind), "pinned");
        let digest = case.publish("cache", "1", "plain");
        case.write(".env", &format!("REGISTRY={}\nTAG={}\nDIGEST={digest}\n", case.world.registry, case.tag));
        case.up();
        case.serve();
        case.publish("cache", "2", "plain");
        case.publish("web", "2", "web");
        let answer = case.update().expect(200);
        assert_eq!(answer["services"].as_array().unwrap().len(), 1);
        let pinned: Vec<_> = answer["skipped"].as_array().unwrap().iter().map(|skip| (skip["service"].as_str().unwrap(), skip["reason"].as_str().unwrap())).collect();
        assert_eq!(pinned, [("cache", "pinned"), ("queue", "pinned")]);
        case.assert_runs("web", "2");
        case.assert_runs("cache", "1");
    };

    what_lives_in_the_namespace_of_a_service_follows_it => |kind| {
        let case = Case::new(kind, "vpn");
        let notes = case.ids("notes");
        case.publish("vpn", "2", "web");
        let answer = case.update().expect(200);
        assert_eq!(answer["recreated"][0]["service"], "download");
        assert_eq!(answer["recreated"][0]["reason"], "dependency");
        let network = case.containers().into_iter().find(|(name, _)| name.contains("download")).unwrap().1;
        assert_eq!(network["HostConfig"]["NetworkMode"], format!("container:{}", case.ids("vpn")[0]));
        assert_eq!(case.ids("notes"), notes);
        case.assert_runs("vpn", "2");
        case.assert_runs("download", "1");
    };

    stopped_services_get_the_image_and_stay_stopped => |kind| {
        let case = Case::new(kind, "shop");
        case.compose(&["stop", "--timeout", "0", "worker"]);
        case.publish("shop", "2", "web");
        let since = case.docker(&["info", "--format", "{{.SystemTime}}"]);
        assert_eq!(case.update().expect(200)["updated"], true);
        assert!(case.runs("worker").iter().all(|(version, state)| version == "2" && state == "created"), "{:?}", case.runs("worker"));
        case.assert_runs("api", "2");
        // Not even for a moment.
        let label = format!("label=com.docker.compose.project={}", case.app);
        let until = case.docker(&["info", "--format", "{{.SystemTime}}"]);
        let format = "{{index .Actor.Attributes \"com.docker.compose.service\"}}";
        let events = case.world.command("docker").args(["events", "--since", &since, "--until", &until, "--filter", &label, "--filter", "event=start", "--format", format]).output().unwrap();
        let started = String::from_utf8_lossy(&events.stdout).into_owned();
        assert!(started.contains("api") && !started.contains("worker"), "{started}");
    };

    a_stopped_app_is_recreated_without_being_started => |kind| {
        let case = Case::new(kind, "web");
        case.compose(&["stop", "--timeout", "0"]);
        case.publish("web", "2", "web");
        assert_eq!(case.update().expect(200)["updated"], true);
        assert_eq!(case.runs("web"), [("2".to_owned(), "created".to_owned())]);
    };

    an_absent_app_is_only_pulled => |kind| {
        let mut case = Case::on(crate::world::World::of(kind), "web");
        case.serve();
        let answer = case.update().expect(200);
        assert_eq!((&answer["updated"], &answer["outcome"]), (&false.into(), &"pulled".into()));
        assert!(case.containers().is_empty());
        case.docker(&["image", "inspect", &case.reference("web")]);
    };

    only_profiles_that_run_take_part => |kind| {
        let case = Case::new(kind, "profiles");
        case.compose(&["--profile", "debug", "up", "-d", "--quiet-pull", "debug"]);
        case.publish("plain", "2", "plain");
        let answer = case.update().expect(200);
        assert_eq!(answer["services"][0]["service"], "debug");
        assert_eq!(answer["services"].as_array().unwrap().len(), 1);
        case.assert_runs("debug", "2");
        assert!(case.runs("backup").is_empty());
    };

    override_files_and_includes_are_as_compose_sees_them => |kind| {
        let case = Case::on(crate::world::World::of(kind), "web");
        case.write("compose.override.yaml", "include: [more.yaml]\nservices: {web: {environment: {COLOUR: blue}}}");
        case.write("more.yaml", "services: {more: {image: \"${REGISTRY}/demo/web:${TAG}\", command: [plain], healthcheck: {disable: true}}}");
        case.up();
        let mut case = case;
        case.serve();
        case.publish("web", "2", "web");
        assert_eq!(case.update().expect(200)["services"].as_array().unwrap().len(), 2);
        let (web, more) = (case.ids("web"), case.ids("more"));
        case.up();
        assert_eq!((case.ids("web"), case.ids("more")), (web, more));
        case.assert_runs("more", "2");
    };

    volumes_of_the_manifest_are_there_before_the_start_and_others_are_asked_for => |kind| {
        let mut case = Case::on(crate::world::World::of(kind), "photos");
        case.serve();
        let missing = case.post(&format!("/api/apps/{}/up", case.app)).expect(422);
        assert!(missing["detail"].as_str().unwrap().contains("furtka_photos_library"), "{missing}");
        let compose = std::fs::read_to_string(case.dir().join("docker-compose.yml")).unwrap();
        case.write("docker-compose.yml", &compose.replace("furtka_photos_library", &format!("furtka_{}_library", case.app)));
        case.post(&format!("/api/apps/{}/up", case.app)).expect(200);
        case.assert_runs("app", "1");
        case.post(&format!("/api/apps/{}/down", case.app)).expect(200);
        assert!(case.containers().is_empty());
        case.docker(&["volume", "rm", &format!("furtka_{}_library", case.app)]);
    };
}

#[test]
fn twenty_updates_at_once_recreate_each_container_once() {
    let case = Case::new(Kind::Classic, "web");
    case.publish("web", "2", "web");
    let since = case.docker(&["info", "--format", "{{.SystemTime}}"]);
    let jobs: Vec<_> = std::thread::scope(|scope| {
        let updates: Vec<_> = (0..20).map(|_| scope.spawn(|| case.update().expect(200)["job"].clone())).collect();
        updates.into_iter().map(|update| update.join().unwrap()).collect()
    });
    let label = format!("label=com.docker.compose.project={}", case.app);
    let until = case.docker(&["info", "--format", "{{.SystemTime}}"]);
    let events = case
        .world
        .command("docker")
        .args([
            "events",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            &label,
            "--filter",
            "event=create",
            "--format",
            "{{.ID}}",
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&events.stdout).lines().count(), 1, "{jobs:?}");
    case.assert_runs("web", "2");
}
