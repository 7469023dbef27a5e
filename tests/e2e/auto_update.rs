//! Passes over what a policy marks: by hand, on schedule, and what is held back from them.

use serde_json::{Value, json};

use crate::both_engines;
use crate::case::Case;
use crate::world::{Kind, World};

/// The report of one container of the case's app.
fn report<'a>(case: &Case, answer: &'a Value, service: &str) -> &'a Value {
    let unit = format!("{}/{service}", case.app);
    let reports = answer["reports"].as_array().unwrap();
    reports.iter().find(|report| report["Unit"] == unit).unwrap_or_else(|| panic!("no {unit} in {answer}"))
}

fn pass(case: &Case, query: &str) -> Value {
    case.post(&format!("/api/auto-update{query}")).expect(200)
}

fn mark(case: &Case, policy: &str) {
    case.send_json("PUT", &format!("/api/apps/{}/auto-update", case.app), &json!({"auto_update": policy})).expect(200);
}

fn settings(case: &Case, settings: &str) {
    case.write("compose.override.yaml", &format!("x-restock: {{{settings}}}\n"));
}

both_engines! {
    a_pass_updates_what_is_marked_and_says_so_in_the_words_of_podman => |kind| {
        let case = Case::new(kind, "shop");
        assert_eq!(pass(&case, ""), json!({"reports": [], "errors": []}), "nobody has asked for anything");
        mark(&case, "registry");
        let fresh = pass(&case, "");
        assert_eq!(report(&case, &fresh, "front")["Updated"], "false", "{fresh}");
        let before = case.ids("db");
        case.publish("web", "2", "web");
        let dry = pass(&case, "?dry_run=true");
        assert_eq!((&report(&case, &dry, "front")["Updated"], &report(&case, &dry, "db")["Updated"]), (&json!("pending"), &json!("false")));
        case.assert_runs("front", "1");
        let done = pass(&case, "");
        let web = report(&case, &done, "front");
        assert_eq!((&web["Updated"], &web["Policy"], &web["ImageName"]), (&json!("true"), &json!("registry"), &json!(case.reference("web"))));
        assert_eq!((&report(&case, &done, "db")["Updated"], &done["errors"]), (&json!("false"), &json!([])));
        case.assert_runs("front", "2");
        assert_eq!(case.ids("db"), before, "what has nothing newer is left alone");
        let history = case.get("/api/history").json();
        let kinds: Vec<_> = history.as_array().unwrap().iter().map(|job| job["kind"].as_str().unwrap()).collect();
        assert!(kinds.starts_with(&["auto_update", "update"]) || kinds.starts_with(&["update", "auto_update"]), "{kinds:?}");
    };

    what_failed_is_rolled_back_and_not_tried_again_until_there_is_another => |kind| {
        let case = Case::new(kind, "web");
        mark(&case, "registry");
        case.publish("web", "2", "exits");
        let failed = pass(&case, "");
        assert_eq!(report(&case, &failed, "web")["Updated"], "rolled back", "{failed}");
        assert!(failed["errors"][0].as_str().unwrap().contains("taken back"), "{failed}");
        case.assert_runs("web", "1");
        let ids = case.ids("web");
        let again = pass(&case, "");
        let web = report(&case, &again, "web");
        assert_eq!((&web["Updated"], &web["HeldBack"]["reason"]), (&json!("false"), &json!("failed")), "{again}");
        assert_eq!(case.ids("web"), ids);
        let status = case.get(&format!("/api/apps/{}/status", case.app)).json();
        assert_eq!(status["services"][0]["held_back"]["reason"], "failed", "{status}");
        case.publish("web", "3", "web");
        assert_eq!(report(&case, &pass(&case, ""), "web")["Updated"], "true");
        case.assert_runs("web", "3");
    };

    an_image_waits_for_its_age_for_the_window_and_for_who_skipped_it => |kind| {
        let mut case = Case::on(World::of(kind), "web");
        settings(&case, "auto_update: registry, min_age: 3d");
        case.up();
        case.serve();
        let digest = case.publish("web", "2", "web");
        let young = pass(&case, "");
        let held = &report(&case, &young, "web")["HeldBack"];
        assert_eq!(held["reason"], "min_age", "{young}");
        let time = |key: &str| held[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(time("until").duration_since(time("since")), jiff::SignedDuration::from_hours(72));
        settings(&case, "auto_update: registry");
        let skipped = case.send_json("POST", &format!("/api/apps/{}/skip", case.app), &json!({"service": "web"})).expect(200);
        assert_eq!((&skipped["skipped"][0]["service"], &skipped["skipped"][0]["digest"]), (&json!("web"), &json!(digest)));
        assert_eq!(report(&case, &pass(&case, ""), "web")["HeldBack"]["reason"], "skipped");
        assert_eq!(case.send("DELETE", &format!("/api/apps/{}/skip", case.app), &[]).expect(200), json!({"skipped": []}));
        // An hour that is not now, in a zone whose clocks never change.
        let hour = (jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour() + 12) % 24;
        let window = format!("{hour:02}:00-{hour:02}:59");
        case.serve_with(&["--window", &window, "--timezone", "UTC"]);
        let closed = pass(&case, "");
        assert_eq!(report(&case, &closed, "web")["HeldBack"]["reason"], "window", "{closed}");
        assert_eq!(case.get("/api/schedule").json()["open"], false);
        case.assert_runs("web", "1");
        case.update().expect(200);
        case.assert_runs("web", "2");
    };

    an_app_with_a_schedule_of_its_own_is_updated_by_itself => |kind| {
        let mut case = Case::on(World::of(kind), "web");
        settings(&case, "auto_update: registry, schedule: \"*/2 * * * * *\"");
        case.up();
        case.serve_with(&["--schedule", "0 4 1 1 *", "--timezone", "Europe/Berlin"]);
        case.publish("web", "2", "web");
        case.wait_for("the schedule", || (case.runs("web") == [("2".into(), "running".into())]).then_some(()));
        let schedule = case.get("/api/schedule").json();
        assert_eq!((&schedule["schedule"], &schedule["timezone"]), (&json!("0 4 1 1 *"), &json!("Europe/Berlin")), "{schedule}");
        assert_eq!((&schedule["apps"][0]["app"], &schedule["apps"][0]["schedule"]), (&json!(case.app), &json!("*/2 * * * * *")));
        assert!(schedule["next"].as_str().unwrap().contains("-01-01T03:00:00.000Z"), "{schedule}");
        // A pass that is due this very moment is not the next one, and a column without a value is not shown.
        case.wait_for("the next pass in the table", || {
            let table = case.restock(&["apps"]).output().unwrap();
            let table = String::from_utf8_lossy(&table.stdout).into_owned();
            (table.contains("NEXT") && table.contains("registry")).then_some(())
        });
    };

    local_images_count_for_the_policy_that_says_so_and_nothing_is_pulled => |kind| {
        let case = Case::new(kind, "web");
        mark(&case, "local");
        case.publish("web", "2", "web");
        assert_eq!(report(&case, &pass(&case, ""), "web")["Updated"], "false");
        case.docker(&["pull", "--quiet", &case.reference("web")]);
        assert_eq!(report(&case, &pass(&case, "?dry_run=true"), "web")["Updated"], "pending");
        let done = pass(&case, "");
        assert_eq!((&report(&case, &done, "web")["Updated"], &report(&case, &done, "web")["Policy"]), (&json!("true"), &json!("local")));
        case.assert_runs("web", "2");
    };
}

/// Labels mark on the whole engine, so these have one of their own.
#[test]
fn labels_mark_containers_and_one_that_is_wrong_stops_nobody() {
    let (world, _) = World::own("labels");
    let mut case = Case::on(Box::leak(Box::new(world)), "web");
    let image = case.reference("web");
    let run = |name: &str, label: &str| {
        let name = format!("{}-{name}", case.app);
        case.docker(&["run", "-d", "--quiet", "--name", &name, "--label", label, &image]);
        name
    };
    let watched = run("watched", "com.centurylinklabs.watchtower.enable=true");
    let podman = run("podman", "io.containers.autoupdate=image");
    let wrong = run("wrong", "io.containers.autoupdate=sometimes");
    let off = run("off", "restock.auto-update=disabled");
    case.docker(&["tag", &image, "web:short"]);
    let short = format!("{}-short", case.app);
    case.docker(&["run", "-d", "--name", &short, "--label", "restock.auto-update=registry", "web:short"]);
    case.serve();
    case.publish("web", "2", "web");
    let asked_before = manifest_requests(&case);
    let done = pass(&case, "");
    let names: Vec<_> =
        done["reports"].as_array().unwrap().iter().map(|report| report["ContainerName"].clone()).collect();
    assert_eq!(names, [json!(podman), json!(watched)], "{done}");
    assert!(done["reports"].as_array().unwrap().iter().all(|report| report["Updated"] == "true"), "{done}");
    let errors = done["errors"].to_string();
    assert_eq!(done["errors"].as_array().unwrap().len(), 2, "{errors}");
    assert!(errors.contains(&wrong) && errors.contains("registry (or image), local, disabled"), "{errors}");
    assert!(errors.contains(&short) && errors.contains("docker.io/library/web:short"), "{errors}");
    // One question of Restock's, and the engine's one pull: HEAD of the tag, then what is new.
    assert_eq!(manifest_requests(&case) - asked_before, 2, "an image that several share is asked for and pulled once");
    let version = |name: &str| {
        case.docker(&["inspect", "--format", "{{index .Config.Labels \"org.opencontainers.image.version\"}}", name])
    };
    assert_eq!([version(&watched), version(&podman), version(&wrong), version(&off)], ["2", "2", "1", "1"]);
    case.publish("web", "3", "exits");
    let updated = |answer: &Value| {
        answer["reports"].as_array().unwrap().iter().map(|report| report["Updated"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(updated(&pass(&case, "")), ["rolled back", "rolled back"]);
    let again = pass(&case, "");
    assert_eq!(
        (updated(&again), &again["reports"][0]["HeldBack"]["reason"]),
        (vec![json!("false"); 2], &json!("failed")),
        "{again}"
    );
    assert_eq!([version(&watched), version(&podman)], ["2", "2"]);
}

/// How often the registry was asked what the case's tag means.
fn manifest_requests(case: &Case) -> usize {
    let log = std::fs::read_to_string(World::registry_log()).expect("the registry's log");
    let path = format!("/v2/demo/web/manifests/{}", case.tag);
    log.lines().filter(|line| line.contains("HEAD") && line.contains(&path)).count()
}

#[test]
fn the_command_line_sets_policies_and_runs_a_pass() {
    let case = Case::on(World::of(Kind::Classic), "web");
    case.up();
    let run = |args: &[&str]| {
        let output = case.restock(args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = run(&["policy", &case.app, "registry"]);
    assert!(code == 0 && text.contains("registry") && text.contains("setting"), "{text}");
    case.publish("web", "2", "exits");
    let (code, text) = run(&["auto-update", "--dry-run", "--json"]);
    let dry: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &dry["reports"][0]["Updated"]), (0, &json!("pending")));
    let (code, text) = run(&["auto-update"]);
    assert!(code == 3 && text.contains("rolled back"), "{code}: {text}");
    case.publish("web", "3", "web");
    let (code, text) = run(&["auto-update"]);
    assert!(code == 0 && text.contains("true"), "{code}: {text}");
    let (code, text) = run(&["policy", &case.app, "unset"]);
    assert!(code == 0 && !text.contains("registry"), "{text}");
    assert_eq!(run(&["policy", &case.app, "sometimes"]).0, 2);
}

fn has_image(case: &Case, id: &str) -> bool {
    case.world.command("docker").args(["image", "inspect", id]).output().unwrap().status.success()
}

#[test]
fn an_app_that_shares_a_bad_image_is_not_told_as_updated_on_the_old_one() {
    let (world, _) = World::own("sharing");
    let world: &'static World = Box::leak(Box::new(world));
    let mut case = Case::on(world, "web");
    // The same image works for one app and not for the other, whose healthcheck wants more.
    let other = case.apps().join("other");
    std::fs::create_dir(&other).unwrap();
    for file in ["compose.yaml", ".env"] {
        std::fs::copy(case.dir().join(file), other.join(file)).unwrap();
    }
    let strict = "services: {web: {healthcheck: {test: [CMD, busybox, sh, -c, \"test $$DEMO_VERSION = 1\"], interval: 200ms, retries: 2}}}\nx-restock: {auto_update: registry}\n";
    case.write("compose.override.yaml", strict);
    let two = "services: {more: {image: \"${REGISTRY}/demo/more:${TAG}\"}}\nx-restock: {auto_update: registry}\n";
    std::fs::write(other.join("compose.override.yaml"), two).unwrap();
    case.publish("more", "1", "web");
    case.up();
    crate::world::output(world.command("docker").args(["compose", "up", "-d", "--quiet-pull"]).current_dir(&other));
    case.serve();
    case.publish("web", "2", "web");
    let done = pass(&case, "");
    let runs = |case: &Case, container: &str| {
        let version = "{{index .Config.Labels \"org.opencontainers.image.version\"}}";
        case.docker(&["inspect", "--format", version, container])
    };
    let other_runs = |case: &Case| runs(case, "other-web-1");
    assert_eq!(report(&case, &done, "web")["Updated"], "rolled back", "{done}");
    let other = done["reports"].as_array().unwrap().iter().find(|report| report["Unit"] == "other/web").unwrap();
    assert_eq!((&other["Updated"], other_runs(&case).as_str()), (&json!("true"), "2"), "{done}");
    case.assert_runs("web", "1");
    let again = pass(&case, "");
    assert_eq!(report(&case, &again, "web")["HeldBack"]["reason"], "failed", "{again}");
    assert_eq!(other_runs(&case), "2");
    // Its other service gets a newer image: the first does not go back to what the shared reference means here by now.
    case.publish("more", "2", "web");
    let more = pass(&case, "");
    let updated = |unit: &str| {
        let mut reports = more["reports"].as_array().unwrap().iter();
        reports.find(|report| report["Unit"] == unit).map(|report| report["Updated"].clone())
    };
    assert_eq!([updated("other/more"), updated("other/web")], [Some(json!("true")), Some(json!("false"))], "{more}");
    assert_eq!([runs(&case, "other-more-1"), other_runs(&case)], ["2", "2"]);
}

both_engines! {
    replaced_images_go_when_they_are_no_longer_kept_and_only_when_asked_for => |kind| {
    let mut case = Case::new(kind, "web");
    let image = |case: &Case| case.docker(&["inspect", "--format", "{{.Image}}", &case.ids("web")[0]]);
    let update = |case: &mut Case, version: &str, options: &[&str]| {
        // Bytes of its own: an image that another case has named as well would stay.
        case.publish("web", &format!("{version}-{}", case.app), "web");
        case.serve_with(&[&["--keep", "0s"], options].concat());
        case.update().expect(200);
        image(case)
    };
    let first = image(&case);
    let second = update(&mut case, "2", &[]);
    // What a person has named stays, whoever pulled it.
    case.docker(&["tag", &second, &format!("{}/mine:1", case.app)]);
    let third = update(&mut case, "3", &["--cleanup"]);
    let fourth = update(&mut case, "4", &["--cleanup"]);
    assert_eq!([&second, &third, &fourth].map(|id| has_image(&case, id)), [true, false, true]);
    if kind == Kind::Classic {
        assert!(has_image(&case, &first), "nobody had asked for a clean-up then");
    }
    let kept = case.docker(&["images", "--quiet", "--filter", &format!("reference=restock.local/keep/{}/*", case.app)]);
    assert_eq!(kept, "", "nothing is kept for longer than was asked");
};
}
