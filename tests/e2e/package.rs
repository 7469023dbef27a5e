//! What people install: the Debian package on the machine's own dpkg, in a root of its own, and the container.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::case::Case;
use crate::world::{Kind, output, project};

const CONFIGURATION: &str = "etc/restock/restock.yaml";

/// A root that packages are installed into; nothing of the machine's own is touched.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["root", "admin/info", "admin/updates", "packages"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        std::fs::write(root.path().join("admin/status"), "").unwrap();
        Self(root)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join("root").join(path)
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The package of the program under test, as that version.
    fn build(&self, version: &str) -> PathBuf {
        let mut command = Command::new(project().join("fixtures/package/build"));
        command.arg(self.0.path().join("packages")).env("RESTOCK_VERSION", version);
        command.env("RESTOCK_BINARY", env!("CARGO_BIN_EXE_restock"));
        // A program with lines for backtraces is large; how small the package gets is not what is tested.
        command.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
        PathBuf::from(output(command.stdin(Stdio::null())))
    }

    fn dpkg(&self, args: &[&str]) -> String {
        let mut command = Command::new("dpkg");
        command.arg("--admindir").arg(self.0.path().join("admin")).arg("--instdir").arg(self.path(""));
        command.arg("--log").arg(self.0.path().join("log"));
        // The root has no shell and no other packages.
        command.args(["--force-script-chrootless", "--force-depends", "--force-confold"]);
        output(command.args(args).stdin(Stdio::null()))
    }

    fn install(&self, package: &Path) {
        self.dpkg(&["--install", package.to_str().unwrap()]);
    }

    fn version(&self) -> String {
        self.dpkg(&["--status", "restock"]);
        let mut command = Command::new("dpkg-query");
        command.arg("--admindir").arg(self.0.path().join("admin")).args([
            "-W",
            "-f",
            "${Version} ${Status}\n",
            "restock",
        ]);
        output(&mut command)
    }
}

#[test]
fn the_package_is_installed_upgraded_removed_and_purged() {
    let root = Root::new();
    root.install(&root.build("1.0.0"));
    assert_eq!(root.version(), "1.0.0 install ok installed");
    for file in [
        "lib/systemd/system/restock.service",
        "usr/share/man/man1/restock.1.gz",
        "usr/share/man/man1/restock-update.1.gz",
        "usr/share/bash-completion/completions/restock",
        "usr/share/zsh/vendor-completions/_restock",
        "usr/share/fish/vendor_completions.d/restock.fish",
        "srv/apps",
    ] {
        assert!(root.has(file), "{file}");
    }
    check_unit(&root);
    starts(&root);
    // What the owner wrote and what Restock keeps outlive an upgrade and a removal.
    let configuration = root.path(CONFIGURATION);
    let own = std::fs::read_to_string(&configuration).unwrap() + "keep: 3d\n";
    std::fs::write(&configuration, &own).unwrap();
    std::fs::create_dir_all(root.path("var/lib/restock")).unwrap();
    std::fs::create_dir(root.path("srv/apps/web")).unwrap();
    root.install(&root.build("1.0.1"));
    assert_eq!(root.version(), "1.0.1 install ok installed");
    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), own);
    root.dpkg(&["--remove", "restock"]);
    assert!(!root.has("usr/bin/restock") && !root.has("lib/systemd/system/restock.service"));
    assert!(root.has(CONFIGURATION) && root.has("var/lib/restock") && root.has("srv/apps/web"));
    root.dpkg(&["--purge", "restock"]);
    assert!(!root.has("etc/restock") && !root.has("var/lib/restock"));
    assert!(root.has("srv/apps/web"), "apps are nobody's but their owner's");
}

/// systemd reads the unit without a complaint.
fn check_unit(root: &Root) {
    let unit = std::fs::read_to_string(root.path("lib/systemd/system/restock.service")).unwrap();
    // Its program is in this root, and the verifier looks for it where it runs.
    let program = root.path("usr/bin/restock");
    let unit = unit.replace("/usr/bin/restock", program.to_str().unwrap());
    let copy = root.0.path().join("restock.service");
    std::fs::write(&copy, unit).unwrap();
    let Ok(verified) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output() else {
        // A machine without systemd has no use for the unit.
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("restock.service"), "{said}");
}

/// The installed program serves with the configuration that came with it, but for the places that belong to this machine.
fn starts(root: &Root) {
    let socket = root.0.path().join("socket");
    let mut command = Command::new(root.path("usr/bin/restock"));
    command.env_clear().env("PATH", "/usr/bin").env("HOME", "/root").stdin(Stdio::null());
    command.arg("serve").arg("--config").arg(root.path(CONFIGURATION)).arg("--listen");
    command.arg(format!("unix:{}", socket.display())).arg("--apps").arg(root.path("srv/apps"));
    command.arg("--data").arg(root.0.path().join("data"));
    let _child = Started::of(command);
    let started = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    });
    assert!(started, "it does not listen");
}

/// Service and commands are one Restock without a word about where anything is: apps, data and locks.
#[test]
fn the_installed_command_line_is_the_same_restock_as_the_service() {
    let case = Case::on(crate::world::World::of(Kind::Classic), "web");
    let root = Root::new();
    root.install(&root.build("1.0.0"));
    std::fs::create_dir_all(root.path("var/lib")).unwrap();
    // In mounts of its own, the root's directories are the machine's.
    let inside = |program: &Path, args: &[&str]| {
        let mut command = case.world.command("unshare");
        let mounts = "mount --bind $0/srv /srv && mount --bind $1 /srv/apps && mount --bind $0/var/lib /var/lib && \
                      mount --bind $0/etc /etc && shift && exec \"$@\"";
        command.args(["--mount", "--propagation", "private", "sh", "-c", mounts]).arg(root.path("")).arg(case.apps());
        command.arg(program).args(args).env_remove("RESTOCK_CONFIG");
        // Long enough for a command beside it.
        command.env("RESTOCK_SETTLE", "8s");
        command
    };
    let installed = |args: &[&str]| inside(&root.path("usr/bin/restock"), args);
    let place = format!("/srv/apps/{}", case.app);
    output(&mut inside(Path::new("docker"), &["compose", "--project-directory", &place, "up", "-d", "--quiet-pull"]));
    let json = |args: &[&str]| -> serde_json::Value {
        let output = installed(args).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let service = installed(&["serve", "--listen", &address.to_string()]);
    let _service = Started::of(service);
    let get = |path: &str| ureq::get(format!("http://{address}{path}")).call().ok()?.body_mut().read_to_string().ok();
    let apps = case.wait_for("the service", || get("/api/apps"));
    let apps: serde_json::Value = serde_json::from_str(&apps).unwrap();
    assert_eq!(apps[0]["name"], case.app.as_str());
    assert_eq!(json(&["apps", "--json"])[0]["name"], case.app.as_str());

    case.publish("web", "2", "web");
    let update = ureq::post(format!("http://{address}/api/apps/{}/update", case.app));
    let started = update.header("Prefer", "respond-async").send_empty().unwrap().body_mut().read_to_string().unwrap();
    let started: serde_json::Value = serde_json::from_str(&started).unwrap();
    let job = started["id"].as_str().unwrap_or_else(|| panic!("{started}"));
    case.wait_for("the proof", || get(&format!("/api/jobs/{job}"))?.contains("\"verify\"").then_some(()));
    let refused = json(&["rollback", &case.app, "--json"]);
    assert_eq!(refused["code"], "busy", "{refused}");
    let updated = json(&["update", &case.app, "--json"]);
    assert_eq!((&updated["outcome"], &updated["job"]), (&"updated".into(), &job.into()), "{updated}");
    assert_eq!(json(&["history", "--json"])[0]["id"], job);
    assert!(root.has("var/lib/restock"));
}

/// A program that ends with the test.
struct Started(std::process::Child);

impl Started {
    fn of(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The image is built and its project started as its own words say, on an engine that has neither.
#[test]
fn the_container_runs_and_sees_the_apps_where_they_are() {
    let case = Case::on(crate::world::World::of(Kind::Classic), "web");
    case.up();
    let tag = format!("restock:{}", case.tag);
    let mut build = case.world.command(project().join("fixtures/container/build"));
    build.arg(&tag).env("RESTOCK_BINARY", env!("CARGO_BIN_EXE_restock")).env("DOCKER_BUILDKIT", "0");
    output(&mut build);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let compose = |args: &[&str]| {
        let mut command = case.world.command("docker");
        command.args(["compose", "--project-name", &format!("{}-restock", case.app), "--file"]);
        command.arg(project().join("fixtures/container/compose.yaml")).args(args);
        command.env("RESTOCK_APPS", case.apps()).env("RESTOCK_LISTEN", address.to_string()).env("RESTOCK_IMAGE", &tag);
        command.env("DOCKER_SOCKET", case.world.docker_host.trim_start_matches("unix://"));
        output(&mut command)
    };
    compose(&["config", "--quiet"]);
    compose(&["up", "--detach"]);
    let get = |path: &str| ureq::get(format!("http://{address}{path}")).call().ok()?.body_mut().read_to_string().ok();
    let apps = case.wait_for("the container to serve", || get("/api/apps"));
    let apps: serde_json::Value = serde_json::from_str(&apps).unwrap();
    assert_eq!((&apps[0]["name"], &apps[0]["state"]), (&case.app.as_str().into(), &"running".into()));
    assert!(get("/ready").is_some_and(|ready| ready.contains("\"ready\":true")), "{:?}", get("/ready"));
    // Relative paths mean the same inside as outside: an update works, and recreates nothing that is up to date.
    let updated = ureq::post(format!("http://{address}/api/apps/{}/update", case.app)).send_empty();
    let updated = updated.unwrap().body_mut().read_to_string().unwrap();
    assert!(updated.contains("\"outcome\":\"unchanged\""), "{updated}");
    compose(&["down", "--volumes"]);
    case.docker(&["image", "rm", &tag]);
}
