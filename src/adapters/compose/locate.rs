//! Finds `docker` and its Compose plugin.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::adapters::command::{Command, CommandError};
use crate::adapters::disk::Disk;

/// The oldest Compose whose options are all known to work: `ps` and `pull` changed until then.
const OLDEST: Version = Version { major: 2, minor: 20, patch: 0 };
/// How long `docker compose version` may take on a busy machine.
const PROBE_DEADLINE: Duration = Duration::from_secs(20);
/// Where the Docker CLI looks for plugins besides its configuration directory.
const PLUGIN_DIRS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];
const PLUGIN: &str = "docker-compose";

/// Compose's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    /// Reads `v2.40.3`, `2.40.3-desktop.1` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().trim_start_matches('v').splitn(3, '.');
        let mut next = || {
            let digits: String = numbers.next()?.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        };
        Some(Self { major: next()?, minor: next()?, patch: next().unwrap_or(0) })
    }

    /// `--progress json` exists since 2.29.
    pub fn has_json_progress(self) -> bool {
        self >= Self { major: 2, minor: 29, patch: 0 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why Compose cannot be used. Each says what to install.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LocateError {
    #[error("the `docker` program was not found on PATH: install the Docker CLI")]
    NoDocker,
    #[error(
        "`docker` has no Compose plugin: install Docker Compose v{OLDEST} or newer (`docker compose version` must work)"
    )]
    NoPlugin,
    #[error("Docker Compose {0} is too old: install v{OLDEST} or newer")]
    TooOld(Version),
    #[error("`docker compose version` did not work: {0}")]
    Probe(String),
}

/// How Compose is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The `docker` CLI.
    pub docker: PathBuf,
    /// The Compose plugin, where it can be run directly.
    ///
    /// `docker compose` starts `docker`, which starts the plugin; the plugin alone starts in less than half the time.
    /// It is run directly only when it is the very one that `docker` would run: `docker` is the real program and not
    /// a wrapper script, and both say the same version.
    pub plugin: Option<PathBuf>,
    pub version: Version,
}

impl Program {
    fn is_there(&self) -> bool {
        self.docker.exists() && self.plugin.as_ref().is_none_or(|plugin| plugin.exists())
    }
}

/// Finds the programs once, and again after they were missing.
#[derive(Debug, Clone)]
pub struct Locator {
    env: Arc<BTreeMap<OsString, OsString>>,
    found: Arc<Mutex<Option<Arc<Program>>>>,
    disk: Disk,
}

impl Locator {
    /// `env` is the whole environment of the children, with the `PATH` that is searched.
    pub fn new(env: BTreeMap<OsString, OsString>) -> Self {
        Self { env: Arc::new(env), found: Arc::default(), disk: Disk::default() }
    }

    /// The environment every child gets.
    pub fn env(&self) -> &BTreeMap<OsString, OsString> {
        &self.env
    }

    /// The programs. A success is remembered while the program is there; a failure never is.
    pub async fn program(&self) -> Result<Arc<Program>, LocateError> {
        let mut found = self.found.lock().await;
        if let Some(program) = found.clone()
            && self.away(move |_| program.is_there()).await?
            && let Some(program) = found.as_ref()
        {
            return Ok(program.clone());
        }
        *found = None;
        let program = Arc::new(self.locate().await?);
        tracing::info!(
            compose.version = %program.version,
            docker = %program.docker.display(),
            plugin = program.plugin.as_ref().map(|plugin| plugin.display().to_string()),
            "found Docker Compose"
        );
        *found = Some(program.clone());
        Ok(program)
    }

    /// Looks at files on a thread that may block.
    async fn away<T: Send + 'static>(&self, look: impl FnOnce(&Self) -> T + Send + 'static) -> Result<T, LocateError> {
        let this = self.clone();
        let looked = self.disk.run(Path::new("PATH"), move || look(&this)).await;
        looked.map_err(|hangs| LocateError::Probe(format!("a directory of {hangs}")))
    }

    async fn locate(&self) -> Result<Program, LocateError> {
        let look = |this: &Self| {
            let path = this.env.get(OsStr::new("PATH"));
            let docker = which::which_in("docker", path, "/").map_err(|_| LocateError::NoDocker)?;
            let candidate = if is_script(&docker) { None } else { this.plugin() };
            Ok((docker, candidate))
        };
        let (docker, candidate) = self.away(look).await??;
        let through_docker = self.version(&docker, &["compose", "version", "--format", "json"]);
        let (version, plugin) = match candidate {
            None => (through_docker.await?, None),
            Some(plugin) => {
                let directly = self.version(&plugin, &["version", "--format", "json"]);
                let (version, direct) = tokio::join!(through_docker, directly);
                let version = version?;
                (version, direct.is_ok_and(|direct| direct == version).then_some(plugin))
            }
        };
        if version < OLDEST {
            return Err(LocateError::TooOld(version));
        }
        Ok(Program { docker, plugin, version })
    }

    fn plugin(&self) -> Option<PathBuf> {
        let config = self.env.get(OsStr::new("DOCKER_CONFIG")).map(PathBuf::from);
        let home = || Some(Path::new(self.env.get(OsStr::new("HOME"))?).join(".docker"));
        let own = config.or_else(home).map(|dir| dir.join("cli-plugins"));
        let dirs = own.into_iter().chain(PLUGIN_DIRS.iter().map(PathBuf::from));
        dirs.map(|dir| dir.join(PLUGIN)).find(|plugin| plugin.is_file())
    }

    async fn version(&self, program: &Path, args: &[&str]) -> Result<Version, LocateError> {
        let command = Command::new(program, &self.env).args(args);
        let output = command.run(PROBE_DEADLINE, &CancellationToken::new(), |_| {}).await;
        match output {
            Ok(output) => parse_version(&output.stdout),
            Err(CommandError::Exit { .. }) => Err(LocateError::NoPlugin),
            Err(error) => Err(LocateError::Probe(error.to_string())),
        }
    }
}

fn parse_version(stdout: &[u8]) -> Result<Version, LocateError> {
    let text = String::from_utf8_lossy(stdout);
    let value = serde_json::from_slice::<serde_json::Value>(stdout).ok();
    let said = value.and_then(|value| value["version"].as_str().map(str::to_owned));
    said.as_deref()
        .and_then(Version::parse)
        .ok_or_else(|| LocateError::Probe(format!("it said `{}`", text.chars().take(100).collect::<String>())))
}

/// A wrapper script may set things up that running the plugin directly would skip.
fn is_script(program: &Path) -> bool {
    let mut start = [0; 2];
    let read = std::fs::File::open(program).and_then(|mut file| file.read_exact(&mut start));
    read.is_err() || start == *b"#!"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_every_release_writes_them() {
        for (text, expected) in [
            ("v2.40.3", (2, 40, 3)),
            ("2.20.0-desktop.1", (2, 20, 0)),
            ("5.1", (5, 1, 0)),
            ("2.27.1+ds1-1", (2, 27, 1)),
        ] {
            let version = Version::parse(text).unwrap();
            assert_eq!((version.major, version.minor, version.patch), expected, "{text}");
        }
        assert!(Version::parse("dev").is_none());
    }
}
