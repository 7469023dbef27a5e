//! A disk or a network mount that does not answer: what lies on it is an error after a while, and nothing else waits.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::world::{World, until_asked};

/// A file system that never answers: FUSE with nobody behind it. Needs root and /dev/fuse.
struct Hanging {
    dir: PathBuf,
    /// Closed, it lets go everybody who waits.
    _fuse: File,
}

impl Hanging {
    fn over(dir: &Path) -> Self {
        let fuse = File::options().read(true).write(true).open("/dev/fuse").expect("this test needs /dev/fuse");
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "hanging"]).arg(dir);
        let done = mount.stdin(fuse.try_clone().unwrap()).output().unwrap();
        assert!(done.status.success(), "this test needs to mount: {}", String::from_utf8_lossy(&done.stderr));
        Self { dir: dir.to_owned(), _fuse: fuse }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.dir).status().unwrap();
        assert!(done.success() || std::thread::panicking(), "{} is still mounted", self.dir.display());
    }
}

#[tokio::test]
async fn an_app_that_hangs_is_an_error_and_keeps_nothing_else_waiting() {
    let world = World::with_new_web();
    world.app("nas").service("nas", "registry.test/nas:1").running();
    let restock = world.restock().await;
    let known = restock.get("/api/apps").await.ok();
    assert_eq!((&known[0]["name"], &known[0]["state"]), (&json!("nas"), &json!("running")));
    let mut events = restock.get("/api/events").events().await;
    let hanging = Hanging::over(&world.path("apps/nas"));
    let [update, icon] = [restock.post("/api/apps/nas/update"), restock.get("/api/apps/nas/icon")]
        .map(|request| tokio::spawn(request.into_future()));
    assert_eq!(restock.get("/health").await.status, 200);
    let updated = restock.post("/api/apps/web/update").await.ok();
    assert_eq!(updated["outcome"], "updated");
    while events.next().await.unwrap().event != "result" {}
    assert_eq!(restock.get("/api/apps/web").await.ok()["state"], "running");
    for refused in [update.await.unwrap(), icon.await.unwrap()] {
        let problem = refused.problem(503, "directory_hangs");
        assert!(problem["detail"].as_str().unwrap().contains("apps/nas has not answered for "), "{problem}");
    }
    let apps = restock.get("/api/apps").await.ok();
    assert_eq!((&apps[0]["name"], &apps[0]["state"]), (&json!("nas"), &json!("broken")), "{apps}");
    assert!(apps[0]["error"].as_str().unwrap().contains("apps/nas has not answered for "), "{apps}");
    assert_eq!(apps[0]["services"][0]["containers"][0]["state"], "running", "{apps}");
    assert_eq!((&apps[1]["name"], &apps[1]["state"]), (&json!("web"), &json!("running")), "{apps}");
    // Whoever asks now is refused at once, however many they are.
    let many = (0..200).map(|_| restock.post("/api/apps/nas/up").into_future());
    for refused in futures_util::future::join_all(many).await {
        refused.problem(503, "directory_hangs");
    }
    assert_eq!(restock.post("/api/apps/web/update").await.ok()["outcome"], "unchanged");
    drop(hanging);
    let answers = async || restock.get("/api/apps").await.ok()[0]["state"] == "running";
    until_asked("the app to be seen again", answers).await;
}

#[tokio::test]
async fn an_apps_directory_that_hangs_leaves_the_rest_alone() {
    let world = World::with_web();
    let restock = world.restock().await;
    let _hanging = Hanging::over(&world.path("apps"));
    let list = tokio::spawn(restock.get("/api/apps").into_future());
    let ready = tokio::spawn(restock.get("/ready").into_future());
    assert_eq!(restock.get("/health").await.status, 200);
    assert_eq!(restock.get("/api/history").await.ok(), json!([]));
    assert_eq!(restock.get("/api/images").await.ok()[0]["image"], crate::world::WEB);
    list.await.unwrap().problem(503, "directory_hangs");
    let ready = ready.await.unwrap();
    assert_eq!((ready.status, &ready.json()["checks"]["apps"]["ok"]), (503, &json!(false)), "{}", ready.text());
    // Names that nobody has do not pile up either.
    let many = (0..200).map(|n| restock.get(&format!("/api/apps/x{n}")).into_future());
    for refused in futures_util::future::join_all(many).await {
        refused.problem(503, "directory_hangs");
    }
    assert_eq!(restock.get("/api/history").await.ok(), json!([]));
}
