//! The real parts: one engine of each kind and one registry for all cases of this process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Which image store an engine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Classic,
    Containerd,
}

/// One engine and the registry.
pub struct World {
    pub docker_host: String,
    pub registry: String,
    pub parts: PathBuf,
    pub docker_config: PathBuf,
}

struct Shared {
    root: PathBuf,
    registry: String,
    parts: PathBuf,
    docker_config: PathBuf,
}

impl World {
    /// The shared engine of a kind, started when it is first asked for.
    pub fn of(kind: Kind) -> &'static Self {
        static CLASSIC: OnceLock<World> = OnceLock::new();
        static CONTAINERD: OnceLock<World> = OnceLock::new();
        let (cell, name) = match kind {
            Kind::Classic => (&CLASSIC, "classic"),
            Kind::Containerd => (&CONTAINERD, "containerd"),
        };
        cell.get_or_init(|| Self::start(name, name, ""))
    }

    /// An engine of a case's own, which it may kill; containers live on without it.
    pub fn own(name: &str) -> (Self, PathBuf) {
        let world = Self::start(name, "classic", r#"{"live-restore": true}"#);
        (world, shared().root.join(name))
    }

    fn start(name: &str, kind: &str, config: &str) -> Self {
        let shared = shared();
        let dir = shared.root.join(name);
        let mut command = engine_script();
        if !config.is_empty() {
            command.env("ENGINE_CONFIG", config);
        }
        let docker_host = output(command.arg("start").arg(dir).arg(kind));
        Self {
            docker_host,
            registry: shared.registry.clone(),
            parts: shared.parts.clone(),
            docker_config: shared.docker_config.clone(),
        }
    }

    /// A program with this engine's address and the Docker CLI on its path.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", self.path()).env("HOME", "/root").env("DOCKER_HOST", &self.docker_host);
        command.env("DOCKER_CONFIG", &self.docker_config).env("RESTOCK_PARTS", &self.parts).stdin(Stdio::null());
        // The machine may have a file of options of its own, which is not meant.
        command.env("RESTOCK_CONFIG", "/dev/null");
        command
    }

    fn path(&self) -> String {
        format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", self.parts.join("cli/bin").display())
    }

    /// Where the registry writes down what it was asked.
    pub fn registry_log() -> PathBuf {
        shared().root.join("r/registry/log")
    }

    /// Makes an image of `version` and `variant` and publishes it; the engine does not learn of it.
    pub fn publish(&self, options: &[&str], repository: &str, tag: &str, version: &str, variant: &str) -> String {
        let mut command = self.command(project().join("fixtures/images/publish"));
        output(command.args(options).args([&self.registry, repository, tag, version, variant]))
    }
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let parts = PathBuf::from(output(&mut Command::new(project().join("fixtures/engine/setup"))));
        // Short: a socket's path has 108 bytes.
        let root = tempfile::Builder::new().prefix("rs-").tempdir_in("/tmp").expect("a directory").keep();
        watch_over(&root);
        let docker_config = root.join("config");
        std::fs::create_dir(&docker_config).expect("a directory");
        std::os::unix::fs::symlink(parts.join("cli/cli-plugins"), docker_config.join("cli-plugins")).expect("a link");
        let registry = output(engine_script().arg("registry").arg(root.join("r")));
        Shared { root, registry, parts, docker_config }
    })
}

/// Starts the program that puts everything away when this process is gone: tests have no other end that always comes.
#[expect(clippy::zombie_processes, reason = "it outlives this process: that is what it is for")]
fn watch_over(root: &Path) {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(project().join("tests/e2e/clean-up"));
    command.arg(project().join("fixtures/engine/engine")).arg(root).process_group(0);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("clean-up");
    // Kept open for as long as this process lives.
    std::mem::forget(child.stdin.take());
}

pub fn engine_script() -> Command {
    let mut command = Command::new(project().join("fixtures/engine/engine"));
    command.stdin(Stdio::null());
    command
}

pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The last line of a program's output; its failure fails the test with what it said.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}:\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}
