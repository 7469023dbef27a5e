//! The program as it is built, beside services that work on the same data.

use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::world::{Life, WEB, World, soon, without_times};

/// A command of the program, which ends with the test.
fn command(world: &World, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restock"));
    command.args(args).env_clear().env("PATH", world.path("bin")).env("HOME", world.path("home"));
    // The machine may have a file of its own, which is not meant.
    command.env("RESTOCK_CONFIG", "/dev/null");
    command.env("RESTOCK_APPS", world.path("apps")).env("RESTOCK_DATA", world.path("data"));
    command.env("RESTOCK_DOCKER_HOST", format!("unix://{}", world.path("engine.sock").display()));
    command.env("RESTOCK_SETTLE", "0s").env("RESTOCK_HEALTH_TIMEOUT", "500ms");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What a command said, and its exit code.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

async fn run(world: &World, args: &[&str]) -> Said {
    let output = soon("the end of the command", command(world, args).output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A command that is watched while it works.
struct Watched {
    child: Child,
    err: Lines<BufReader<ChildStderr>>,
}

impl Watched {
    fn start(world: &World, args: &[&str]) -> Self {
        let mut child = command(world, args).spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, err }
    }

    /// Reads on until a line holds `text`.
    async fn says(&mut self, text: &str) {
        let mut before = String::new();
        loop {
            let line = soon(text, self.err.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("it never said `{text}`, but:\n{before}"));
            if line.contains(text) {
                return;
            }
            before += &format!("{line}\n");
        }
    }

    fn interrupt(&self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    async fn ends(mut self) -> (ExitStatus, String) {
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
        (soon("the end of the command", self.child.wait()).await.unwrap(), out)
    }
}

#[tokio::test]
async fn json_is_what_the_api_answers() {
    let world = World::with_new_web();

    let restock = world.restock().await;
    assert_eq!(run(&world, &["--json", "history"]).await.json(), restock.get("/api/history").await.ok());
    let apps = without_times(run(&world, &["--json", "apps"]).await.json());
    assert_eq!(apps, without_times(restock.get("/api/apps").await.ok()));
    let checked = run(&world, &["check", "web", "--json"]).await.json();
    let mut same = restock.post("/api/check").body(r#"{"apps": ["web"]}"#).await.ok();
    same["job"] = checked["job"].clone();
    same["apps"][0]["checked_at"] = checked["apps"][0]["checked_at"].clone();
    assert_eq!(checked, same);
    let updated = run(&world, &["update", "web", "--json"]).await;
    let result = updated.json();
    assert_eq!((updated.code, &result["updated"], updated.err.as_str()), (0, &Value::Bool(true), ""));
    let job = restock.get(&format!("/api/jobs/{}", result["job"].as_str().unwrap())).await.ok();
    assert_eq!(job["result"], result);
    let refused = run(&world, &["update", "nope", "--json"]).await;
    assert_eq!((refused.code, &refused.json()["code"]), (1, &Value::from("no_such_app")));
    let several = run(&world, &["update", "web", "nope", "web", "--json"]).await;
    let apps: Vec<_> = several.json().as_array().unwrap().iter().map(|one| one["app"].clone()).collect();
    assert_eq!((several.code, apps), (1, vec!["nope".into(), "web".into()]));
}

#[tokio::test]
async fn an_app_that_runs_and_does_not_work_is_shown_as_unhealthy() {
    let world = World::with_web();
    world.engine.publish_with("registry.test/ill:1", "ill", Life::Unhealthy);
    world.app("ill").service("web", "registry.test/ill:1").running();
    let shown = run(&world, &["apps"]).await.out;
    let line = |name: &str| shown.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("ill").contains("running (unhealthy)"), "{shown}");
    assert!(line("web").contains("running") && !line("web").contains("running ("), "{shown}");
}

#[tokio::test]
async fn people_who_use_no_terminal_get_plain_lines() {
    let world = World::with_new_web();
    let updated = run(&world, &["update", "web"]).await;
    for line in ["web: pulling", "web: recreating containers", "web: updated"] {
        assert!(updated.err.lines().any(|said| said == line), "{line}: {}", updated.err);
    }
    assert!(updated.out.contains("updated") && updated.code == 0, "{}", updated.out);
    for said in [updated, run(&world, &["apps"]).await, run(&world, &["history"]).await] {
        assert!(!said.out.contains('\x1b') && !said.err.contains('\x1b'), "{}{}", said.out, said.err);
    }
    assert!(run(&world, &["update", "web"]).await.out.contains("nothing new"));
}

#[tokio::test]
async fn exit_codes_tell_how_it_ended() {
    let world = World::with_web();
    assert_eq!(run(&world, &["update", "web"]).await.code, 0, "nothing to do");
    assert_eq!(run(&world, &["update"]).await.code, 2);
    assert_eq!(run(&world, &["apps", "--keep", "for ever"]).await.code, 2);
    assert_eq!(run(&world, &["rollback", "nope"]).await.code, 1);
    world.docker.on("web", "pull", "fail 1 'denied'");
    assert_eq!(run(&world, &["update", "web"]).await.code, 1);
    let world = World::with_web();
    world.engine.publish_with(WEB, "web bad", Life::Exits(1));
    let taken_back = run(&world, &["update", "web"]).await;
    assert_eq!(taken_back.code, 3, "{}{}", taken_back.out, taken_back.err);
}

#[tokio::test]
async fn a_reader_that_closes_early_is_no_failure() {
    let world = World::with_new_web();
    let mut child = command(&world, &["update", "web"]).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let status = soon("the end of the command", child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(run(&world, &["history"]).await.out.contains("updated"));
}

#[tokio::test]
async fn a_command_joins_the_update_of_a_running_service_and_shows_its_steps() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "wait_for pull");
    world.docker.on("web", "up", "wait_for up");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "pull").await;
    let mut watched = Watched::start(&world, &["update", "web"]);
    watched.says(&job).await;
    watched.says("web: pulling").await;
    world.docker.allow("pull");
    watched.says("web: recreating containers").await;
    world.docker.allow("up");
    let (status, out) = watched.ends().await;
    assert!(status.success() && out.contains("updated"), "{out}");
    restock.finished(&job).await;
    assert_eq!(world.docker.verbs("web"), ["config", "pull", "up"]);
}

#[tokio::test]
async fn who_waits_for_a_service_may_leave_and_its_job_goes_on() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "wait_for pull");
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    world.docker.called("web", "pull").await;
    let mut watched = Watched::start(&world, &["update", "web"]);
    watched.says(&job).await;
    watched.interrupt();
    watched.says("goes on in another process").await;
    assert_eq!(watched.ends().await.0.code(), Some(1));
    world.docker.allow("pull");
    assert_eq!(restock.finished(&job).await["outcome"], "updated");
}

#[tokio::test]
async fn a_service_joins_the_update_of_a_command() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "wait_for pull");
    let mut watched = Watched::start(&world, &["update", "web"]);
    watched.says("web: pulling").await;
    let restock = world.restock().await;
    let joined = tokio::spawn(restock.post("/api/apps/web/update").into_future());
    world.docker.called("web", "pull").await;
    world.docker.allow("pull");
    assert_eq!(joined.await.unwrap().ok()["outcome"], "updated");
    assert!(watched.ends().await.0.success());
    assert_eq!(world.docker.verbs("web").iter().filter(|verb| *verb == "up").count(), 1);
}

#[tokio::test]
async fn a_signal_cancels_what_has_touched_nothing() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "wait_for pull");
    let mut watched = Watched::start(&world, &["update", "web"]);
    world.docker.called("web", "pull").await;
    watched.interrupt();
    watched.says("web: cancelling, nothing was touched").await;
    assert_eq!(watched.ends().await.0.code(), Some(1));
    assert!(!world.docker.verbs("web").contains(&"up".to_owned()));
    world.docker.all_ended().await;
}

#[tokio::test]
async fn a_signal_lets_compose_finish() {
    let world = World::with_new_web();
    world.docker.on("web", "up", "wait_for up");
    let mut watched = Watched::start(&world, &["update", "web"]);
    world.docker.called("web", "up").await;
    watched.interrupt();
    watched.says("that is finished first").await;
    world.docker.allow("up");
    let (status, out) = watched.ends().await;
    assert!(status.success() && out.contains("updated"), "{out}");
}

#[tokio::test]
async fn a_second_signal_leaves_it_to_the_next_run() {
    let world = World::with_new_web();
    world.docker.on("web", "up", "first && wait_for up");
    let mut watched = Watched::start(&world, &["update", "web"]);
    world.docker.called("web", "up").await;
    watched.interrupt();
    watched.says("that is finished first").await;
    watched.interrupt();
    watched.says("the next run or the service settles it").await;
    assert_eq!(watched.ends().await.0.code(), Some(1));
    // Compose itself was not ended, and holds the app until it is done.
    world.docker.allow("up");
    world.docker.all_ended().await;
    assert_eq!(run(&world, &["update", "web"]).await.code, 0);
    assert!(run(&world, &["history"]).await.out.contains("interrupted"));
}

#[tokio::test]
async fn what_is_not_there_is_told_once_and_without_a_table() {
    let world = World::with_web();
    let check = run(&world, &["check", "nosuch"]).await;
    assert_eq!((check.code, check.out.as_str()), (1, ""));
    assert_eq!(check.err.lines().next(), Some("error: no such app: nosuch"), "{}", check.err);
    let notify = run(&world, &["--json", "notify"]).await;
    assert_eq!((notify.code, notify.json()), (0, serde_json::json!([])));
}

#[tokio::test]
async fn tables_have_the_pages_words_and_are_no_wider_than_asked() {
    let world = World::with_web();
    let long = format!("registry.test/{}:1", "deep/".repeat(30) + "web");
    world.app("deep").service("web", &long).absent();
    let narrow = |args: &'static [&str]| {
        let mut command = command(&world, args);
        command.env("COLUMNS", "60");
        async move { String::from_utf8(command.output().await.unwrap().stdout).unwrap() }
    };
    run(&world, &["update", "web"]).await;
    for args in [&["check"][..], &["apps"], &["history"]] {
        let table = narrow(args).await;
        assert!(table.lines().count() > 1 && table.lines().all(|line| line.chars().count() <= 60), "{table}");
    }
    let checked = run(&world, &["check"]).await;
    assert!(checked.err.contains("2 of 2 asked"), "{}", checked.err);
    assert!(checked.out.contains(&long), "{}", checked.out);
    assert!(narrow(&["history"]).await.contains("nothing new"));
}

#[tokio::test]
async fn a_failure_is_told_once() {
    let world = World::with_web();
    world.docker.on("web", "pull", "fail 1 'denied'");
    let failed = run(&world, &["update", "web"]).await;
    assert!(!failed.err.lines().any(|line| line == "web: failed"), "{}", failed.err);
    assert_eq!(failed.err.matches("error: ").count(), 1, "{}", failed.err);
    let missing = run(&world, &["update"]).await;
    assert!(missing.code == 2 && missing.err.contains("--all"), "{}", missing.err);
}

#[tokio::test]
async fn a_second_service_on_the_same_data_is_warned_about() {
    let world = World::with_web();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let [mut one, mut other] = [Watched::start(&world, &serve), Watched::start(&world, &serve)];
    let warning = "another `restock serve` works on the same data directory";
    tokio::select! {
        () = one.says(warning) => {}
        () = other.says(warning) => {}
    }
}
