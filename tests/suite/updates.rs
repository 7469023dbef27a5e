//! Which commands and requests an update makes, and what becomes of each way to fail.

use std::time::Duration;

use crate::fake::Fake;

const CONFIG: &str = "compose config --format json";
const PULL: &str = "compose --progress json pull --ignore-buildable";
const UP: &str = "compose --progress json up -d --no-build --pull never";
const UPDATE: &str = "/api/apps/web/update";

fn sorted(mut calls: Vec<String>) -> Vec<String> {
    calls.sort();
    calls
}

#[tokio::test]
async fn nothing_new_costs_a_pull_a_config_and_one_request_for_each_image() {
    for (services, images) in [(1, 1), (5, 5), (20, 7)] {
        let names: Vec<_> = (0..services).map(|n| (format!("s{n}"), format!("image{}", n % images))).collect();
        let fake =
            Fake::new(&names.iter().map(|(name, image)| (name.as_str(), image.as_str(), true)).collect::<Vec<_>>())
                .await;
        let (status, answer) = fake.post(UPDATE).await;
        assert_eq!((status, &answer["outcome"]), (200, &"unchanged".into()), "{answer}");
        assert_eq!(sorted(fake.calls()), [PULL, CONFIG]);
        let requests = fake.engine.requests();
        let inspections = requests.iter().filter(|request| request.starts_with("GET /images/image")).count();
        assert_eq!(inspections, images);
        assert_eq!(requests.len() - inspections, 2, "{requests:?}");
    }
}

#[tokio::test]
async fn a_change_is_applied_to_the_whole_project() {
    let fake = Fake::new(&[("a", "one", true), ("b", "two", true)]).await;
    fake.engine.publish("one", "sha256:new");
    let (status, answer) = fake.post(UPDATE).await;
    assert_eq!((status, &answer["updated"]), (200, &true.into()), "{answer}");
    assert_eq!(
        (&answer["services"][0]["from"], &answer["services"][0]["to"]),
        (&"sha256:old".into(), &"sha256:new".into())
    );
    assert_eq!(fake.calls()[2..], [UP]);
    let keep =
        fake.engine.requests().iter().filter(|request| request.as_str() == "POST /images/sha256:old/tag").count();
    assert_eq!(keep, 1, "the old image is protected once");
}

#[tokio::test]
async fn what_is_stopped_is_only_created() {
    let fake = Fake::new(&[("a", "one", true), ("b", "one", false)]).await;
    fake.engine.publish("one", "sha256:new");
    assert_eq!(fake.post(UPDATE).await.0, 200);
    let create = "compose --progress json up --no-start --no-build --pull never --no-deps b";
    assert_eq!(fake.calls()[2..], [format!("{UP} --no-deps a"), create.to_owned()]);
}

#[tokio::test]
async fn a_stopped_app_is_created_as_a_whole() {
    let fake = Fake::new(&[("a", "one", false)]).await;
    fake.engine.publish("one", "sha256:new");
    assert_eq!(fake.post(UPDATE).await.1["updated"], true);
    assert_eq!(fake.calls()[2..], ["compose --progress json create --no-build --pull never"]);
}

#[tokio::test]
async fn an_image_that_fails_is_taken_back_by_its_id() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    fake.engine.publish("one", "sha256:new");
    fake.engine.breaks("sha256:new");
    let (status, problem) = fake.post(UPDATE).await;
    assert_eq!((status, &problem["outcome"]), (500, &"rolled_back".into()), "{problem}");
    assert_eq!(fake.calls()[2..], [UP, UP]);
    let (_, app) = fake.get("/api/apps/web").await;
    assert_eq!(app["services"][0]["containers"][0]["image_id"], "sha256:old");
}

#[tokio::test]
async fn a_rollback_that_does_not_hold_is_a_failure() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    fake.engine.publish("one", "sha256:new");
    fake.script("up", "echo '{\"error\":true,\"message\":\"no way\"}' >&2; exit 1");
    let (status, problem) = fake.post(UPDATE).await;
    assert_eq!((status, &problem["outcome"], &problem["code"]), (500, &"failed".into(), &"rollback_failed".into()));
    assert!(problem["detail"].as_str().unwrap().contains("no way"), "{problem}");
    let history = fake.get("/api/history").await.1;
    assert_eq!(history[0]["outcome"], "failed");
}

#[tokio::test]
async fn a_failed_pull_names_its_service_and_touches_nothing() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    fake.script(
        "pull",
        "echo '{\"id\":\"a\",\"text\":\"Error\",\"status\":\"manifest unknown\"}' >&2; printf '\\377\\n' >&2; exit 1",
    );
    let (status, problem) = fake.post(UPDATE).await;
    assert_eq!(
        (status, &problem["service"], &problem["code"]),
        (502, &"a".into(), &"no_such_image".into()),
        "{problem}"
    );
    assert_eq!(fake.calls().len(), 2);
}

#[tokio::test]
async fn a_pull_that_hangs_ends_with_its_children() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    fake.script("pull", "sleep 300 & echo $! > \"$HOME/child\"; trap '' TERM; wait");
    let update = fake.post(UPDATE);
    let (status, problem) = tokio::time::timeout(Duration::from_secs(30), update).await.unwrap();
    assert_eq!((status, &problem["code"]), (504, &"timed_out".into()), "{problem}");
    let child = std::fs::read_to_string(fake.home().join("child")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    assert!(status.is_empty() || status.contains(") Z "), "{status}");
}

#[tokio::test]
async fn children_see_only_what_they_need() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    fake.post(UPDATE).await;
    let environment = std::fs::read_to_string(fake.home().join("environment")).unwrap();
    let names: Vec<_> =
        environment.split_whitespace().filter(|name| !["_", "SHLVL", "OLDPWD"].contains(name)).collect();
    assert_eq!(names, ["HOME", "PATH", "PWD"]);
}

#[tokio::test]
async fn without_docker_it_says_so_and_recovers_when_it_comes() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    let docker = fake.root.path().join("bin/docker");
    let aside = fake.root.path().join("bin/aside");
    std::fs::rename(&docker, &aside).unwrap();
    let (status, problem) = fake.post(UPDATE).await;
    // A machine that has Docker installed still has it further down the path.
    if !std::path::Path::new("/usr/bin/docker").exists() {
        assert_eq!((status, &problem["code"]), (503, &"compose_unavailable".into()), "{problem}");
    }
    std::fs::rename(&aside, &docker).unwrap();
    assert_eq!(fake.post(UPDATE).await.0, 200);
}

#[tokio::test]
async fn compose_that_is_too_old_is_told() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    fake.script("version", "echo '{\"version\":\"2.17.3\"}'");
    let (status, problem) = fake.post(UPDATE).await;
    assert_eq!(status, 503);
    assert!(problem["detail"].as_str().unwrap().contains("2.17.3 is too old"), "{problem}");
}

#[tokio::test]
async fn a_second_update_joins_and_another_action_is_told_who_is_busy() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    fake.script("pull", "sleep 1; touch \"$HOME/pulled\"");
    let asynchronous = [("prefer", "respond-async")];
    let (status, response, first) = fake.send("POST", UPDATE, &asynchronous, "").await;
    assert_eq!(status, 202);
    assert_eq!(response.headers()["location"], format!("/api/jobs/{}", first["id"].as_str().unwrap()));
    let (_, _, second) = fake.send("POST", UPDATE, &asynchronous, "").await;
    assert_eq!(first["id"], second["id"]);
    let (status, problem) = fake.post("/api/apps/web/rollback").await;
    assert_eq!((status, &problem["job"]), (409, &first["id"]));
    let (_, joined) = fake.post(UPDATE).await;
    assert_eq!((&joined["job"], &joined["outcome"]), (&first["id"], &"unchanged".into()));
}

#[tokio::test]
async fn containers_of_another_directory_are_left_alone() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    fake.engine.each(|container| container["Labels"]["com.docker.compose.project.working_dir"] = "/elsewhere".into());
    fake.engine.publish("one", "sha256:new");
    let (status, problem) = fake.post(UPDATE).await;
    assert_eq!((status, &problem["code"]), (409, &"foreign_project".into()), "{problem}");
    assert_eq!(sorted(fake.calls()), [PULL, CONFIG]);
}

#[tokio::test]
async fn a_container_in_a_state_nobody_knows_hides_nothing() {
    let fake = Fake::new(&[("a", "one", true)]).await;
    fake.engine.each(|container| container["State"] = "levitating".into());
    let (status, apps) = fake.get("/api/apps").await;
    assert_eq!((status, &apps[0]["services"][0]["containers"][0]["state"]), (200, &"unknown".into()));
}
