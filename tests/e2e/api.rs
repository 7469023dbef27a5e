//! Jobs, events, names and the command line, on a real engine.

use std::io::{BufRead, BufReader, Read};

use crate::case::Case;
use crate::world::Kind;

/// The names and data of a stream of server-sent events.
fn events(text: &str) -> Vec<(String, String)> {
    let field = |block: &str, name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
            .unwrap_or_default()
    };
    let blocks = text.split("\n\n").filter(|block| block.contains("data:"));
    blocks.map(|block| (field(block, "event"), field(block, "data"))).collect()
}

#[test]
fn an_updates_events_end_with_its_result() {
    let case = Case::new(Kind::Classic, "web");
    // A version that no other case has: its layers have to be fetched.
    case.publish("web", "told-in-events", "web");
    let reply = case.send("POST", &format!("/api/apps/{}/update", case.app), &[("Accept", "text/event-stream")]);
    let told = events(&reply.body);
    let steps: Vec<serde_json::Value> = told
        .iter()
        .filter(|(event, _)| event == "step")
        .map(|(_, data)| serde_json::from_str::<serde_json::Value>(data).unwrap()["step"].clone())
        .collect();
    assert_eq!(steps, ["snapshot", "pull", "plan", "apply", "verify"]);
    assert!(told.iter().any(|(event, data)| event == "progress" && data.contains("layer")), "{told:?}");
    let (event, data) = told.last().unwrap();
    let result: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((event.as_str(), &result["outcome"]), ("result", &"updated".into()));
    // Heard again, from the start and from the middle.
    let path = format!("/api/jobs/{}/events", result["job"].as_str().unwrap());
    assert_eq!(events(&case.get(&path).body), told);
    let ids: Vec<_> = reply.body.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let rest = case.send("GET", &path, &[("Last-Event-ID", ids[2])]);
    assert_eq!(events(&rest.body), told[3..]);
}

#[test]
fn an_update_goes_on_when_its_client_goes_away() {
    let case = Case::new(Kind::Classic, "web");
    case.publish("web", "2", "web");
    let address = case.url("").replace("http://", "");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request =
        format!("POST /api/apps/{}/update HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", case.app);
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream.by_ref()).read_line(&mut line).unwrap();
    assert!(line.contains("200"), "{line}");
    drop(stream);
    case.wait_for("the new version", || (case.runs("web") == [("2".to_owned(), "running".to_owned())]).then_some(()));
}

#[test]
fn a_job_can_be_cancelled_before_it_touches_anything() {
    let case = Case::new(Kind::Classic, "web");
    let ids = case.ids("web");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    case.write(
        "compose.override.yaml",
        &format!("services: {{web: {{image: \"{}/web\"}}}}", silent.local_addr().unwrap()),
    );
    let job = case.start_update();
    case.wait_for("the pull", || (case.get(&job).json()["step"] == "pull").then_some(()));
    let busy = case.post(&format!("/api/apps/{}/down", case.app)).expect(409);
    assert!(job.ends_with(busy["job"].as_str().unwrap()), "{busy}");
    assert_eq!(case.send("DELETE", &job, &[]).expect(200)["outcome"], "cancelled");
    assert_eq!(case.ids("web"), ids);
    case.send("DELETE", &job, &[]).expect(409);
}

#[test]
fn names_that_are_no_apps_reach_no_command() {
    let case = Case::new(Kind::Classic, "web");
    std::os::unix::fs::symlink("/etc", case.apps().join("out")).unwrap();
    let long = "a".repeat(300);
    for name in ["..", "%2e%2e", "a%2fb", "..%2f..", "-f", "nope", "out", "%00", "%ff", &long] {
        let reply = case.post(&format!("/api/apps/{name}/update"));
        assert_eq!(reply.status, 404, "{name}: {}", reply.body);
    }
    assert!(case.get("/api/jobs").expect(200).as_array().unwrap().is_empty());
}

#[test]
fn the_command_line_shares_history_and_locks_with_the_service() {
    let case = Case::new(Kind::Containerd, "web");
    case.publish("web", "2", "web");
    let run = |args: &[&str]| {
        let output = case.restock(args).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, said) = run(&["check", "--exit-code"]);
    assert_eq!(code, 10, "{said}");
    let (code, said) = run(&["update", &case.app, "--json"]);
    assert_eq!(code, 0, "{said}");
    let job = case.get("/api/history").expect(200)[0]["id"].as_str().unwrap().to_owned();
    assert!(said.contains(&job), "{said}");
    case.publish("web", "3", "exits");
    let (code, said) = run(&["update", "--all"]);
    assert_eq!(code, 3, "{said}");
    let (code, said) = run(&["rollback", &case.app]);
    assert_eq!(code, 0, "{said}");
    case.assert_runs("web", "1");
    let (code, said) = run(&["history", &case.app]);
    assert!(code == 0 && said.contains("rolled back"), "{said}");
    let (code, said) = run(&["update", "nope"]);
    assert!(code == 1 && said.contains("no such app: nope"), "{said}");
    assert_eq!(run(&["update"]).0, 2);
    assert_eq!(run(&["apps", "--concurrency", "none"]).0, 2);
}

#[test]
fn one_update_that_fails_stops_nobody() {
    let case = Case::new(Kind::Classic, "web");
    std::fs::create_dir(case.apps().join("broken")).unwrap();
    std::fs::write(case.apps().join("broken/compose.yaml"), "services: [").unwrap();
    case.publish("web", "2", "web");
    let all = case.post("/api/apps/update").expect(200);
    assert_eq!((&all[0]["app"], &all[0]["status"]), (&"broken".into(), &422.into()));
    assert_eq!((&all[1]["app"], &all[1]["updated"]), (&case.app.as_str().into(), &true.into()));
}

#[test]
fn no_secret_of_a_project_is_told() {
    let case = Case::new(Kind::Classic, "web");
    case.write("compose.override.yaml", "services: {web: {environment: {PASSWORD: hunter2, TOKEN: \"${SECRET}\"}}}");
    case.up();
    case.publish("web", "2", "web");
    let told = [
        case.get("/api/apps").body,
        case.send("POST", &format!("/api/apps/{}/update", case.app), &[("Accept", "text/event-stream")]).body,
        case.get("/api/history").body,
        case.get("/api/jobs").body,
        case.read_log(),
    ];
    for secret in ["hunter2", "swordfish"] {
        assert!(told.iter().all(|text| !text.contains(secret)), "{secret}");
    }
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let case = Case::new(Kind::Classic, "web");
    let taken = case.url("").replace("http://", "");
    let output = case.restock(&["serve", "--listen", &taken]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cannot listen on"), "{said}");
    let output = case.restock(&["serve", "--listen", "0.0.0.0:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("--insecure-no-auth"), "{said}");
}
