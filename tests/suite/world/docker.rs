//! The fake `docker` program (the script beside this file): what it is told to do, and what it was told by Restock.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{repository, until};

/// The program of one world.
pub struct Docker {
    world: PathBuf,
}

impl Docker {
    pub(super) fn new(world: &Path) -> Self {
        for dir in ["bin", "scenario", "environment", "allowed"] {
            fs::create_dir(world.join(dir)).unwrap();
        }
        Self { world: world.to_owned() }
    }

    /// Puts the program on the PATH that Restock has.
    pub fn install(&self) {
        std::os::unix::fs::symlink(repository("tests/suite/world/docker"), self.world.join("bin/docker")).unwrap();
    }

    /// Takes it away again.
    pub fn uninstall(&self) {
        fs::remove_file(self.world.join("bin/docker")).unwrap();
    }

    /// What a verb of an app does, in the words of the script.
    pub fn on(&self, app: &str, verb: &str, script: &str) {
        fs::write(self.world.join(format!("scenario/{app}.{verb}")), script).unwrap();
    }

    /// Which version of Compose there is.
    pub fn version(&self, version: &str) {
        self.on_version(&format!("echo '{{\"version\":\"{version}\"}}'; exit 0"));
    }

    /// What `docker compose version` does.
    pub fn on_version(&self, script: &str) {
        fs::write(self.world.join("scenario/version"), script).unwrap();
    }

    /// Lets a script go on that is at `wait_for NAME`.
    pub fn allow(&self, name: &str) {
        fs::write(self.world.join("allowed").join(name), "").unwrap();
    }

    /// The calls on behalf of `app` since the beginning, each as `compose VERB …`.
    pub fn calls(&self, app: &str) -> Vec<String> {
        let of_app = |(_, name, call): (u32, String, String)| (name == app).then_some(call);
        self.records().into_iter().filter_map(of_app).collect()
    }

    /// The verbs of these calls, in alphabetical order: `config` and `pull` run side by side.
    pub fn verbs(&self, app: &str) -> Vec<String> {
        let known = ["config", "pull", "up", "create", "down", "logs", "exec"];
        let verb = |call: &String| call.split(' ').find(|word| known.contains(word)).map(str::to_owned);
        let mut verbs: Vec<_> = self.calls(app).iter().filter_map(verb).collect();
        verbs.sort();
        verbs
    }

    /// The calls of every app, and those without one.
    pub fn all_calls(&self) -> Vec<String> {
        self.records().into_iter().map(|(_, _, call)| call).collect()
    }

    /// Waits for a call of `verb`.
    pub async fn called(&self, app: &str, verb: &str) {
        until(&format!("{verb} of {app}"), || self.verbs(app).iter().any(|known| known == verb).then_some(())).await;
    }

    /// Waits until no process is left of all that were started.
    pub async fn all_ended(&self) {
        let alive = |pid: &u32| {
            // A zombie has ended; only its parent has not looked yet.
            let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        let pids: Vec<_> = self.records().into_iter().map(|(pid, ..)| pid).collect();
        until("the end of every child", || (!pids.iter().any(alive)).then_some(())).await;
    }

    /// The names of the variables that the last call of `verb` had.
    pub fn environment(&self, verb: &str) -> BTreeSet<String> {
        let text = fs::read_to_string(self.world.join("environment").join(verb)).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("export "));
        lines.map(|line| line.split('=').next().unwrap_or(line).to_owned()).collect()
    }

    fn records(&self) -> Vec<(u32, String, String)> {
        let text = fs::read_to_string(self.world.join("calls")).unwrap_or_default();
        let record = |line: &str| {
            let mut words = line.splitn(3, ' ').map(str::to_owned);
            Some((words.next()?.parse().ok()?, words.next()?, words.next()?))
        };
        text.lines().filter_map(record).collect()
    }
}
