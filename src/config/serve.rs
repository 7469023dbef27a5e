//! The settings that only the service has: where it listens, and who may come in.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::environment::Environment;
use super::options::{CommonOptions, ServeOptions};
use super::secret::Secret;
use super::settings::{Settings, duration, switch};
use super::sources::{Origin, Sources};
use crate::domain::schedule::Schedule;

const DEFAULT_LISTEN: Listen = Listen::Tcp(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8099));
const PASSWORD: &str = "RESTOCK_PASSWORD";

/// Where the service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    /// A socket file; whoever may open it is this machine's business.
    Unix(PathBuf),
}

/// How much of Docker's image API is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DockerApi {
    Off,
    ReadOnly,
    Full,
}

/// The one person who can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// What only the service knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSettings {
    pub listen: Listen,
    pub login: Option<Login>,
    /// One key a line; not read yet.
    pub api_key_file: Option<PathBuf>,
    pub docker_api: DockerApi,
    /// When a pass over everything that a policy marks begins; `None` means never by itself.
    pub schedule: Option<Schedule>,
    /// A pass that was due while the service did not run is made up for at its start.
    pub run_missed: bool,
    /// How long running jobs may take to reach a safe point at the end.
    pub shutdown_grace: Duration,
    /// Host names, in lower case and without port, that browsers may use.
    pub allowed_hosts: Vec<String>,
}

impl ServeSettings {
    /// Reads the process's environment and the file, for the service.
    ///
    /// # Errors
    /// Every mistake there is, each a line that names the option and where its value came from.
    pub fn load(common: &CommonOptions, serve: &ServeOptions) -> Result<(Settings, Self), Vec<String>> {
        Self::resolve(common, serve, &Environment::of_process())
    }

    /// The same with another environment.
    pub fn resolve(
        common: &CommonOptions,
        serve: &ServeOptions,
        env: &Environment,
    ) -> Result<(Settings, Self), Vec<String>> {
        let mut sources = Sources::read(common, serve, env);
        let settings = Settings::of(&mut sources);
        let serve = Self::of(&mut sources, &settings);
        sources.finish((settings, serve))
    }

    /// Returns whether anyone has to say who they are.
    pub fn authenticates(&self) -> bool {
        self.login.is_some() || self.api_key_file.is_some()
    }

    fn of(sources: &mut Sources<'_>, common: &Settings) -> Self {
        let mut settings = Self {
            listen: sources.parse("listen", str::parse).unwrap_or(DEFAULT_LISTEN),
            login: login(sources),
            api_key_file: sources.path("api-key-file"),
            docker_api: DockerApi::Off,
            schedule: sources.parse("schedule", |text| Schedule::parse(text, common.timezone.clone())),
            run_missed: sources.parse("run-missed", switch).unwrap_or(false),
            shutdown_grace: sources.parse("shutdown-grace", duration).unwrap_or(Duration::from_secs(30)),
            allowed_hosts: allowed_hosts(sources),
        };
        let private = settings.listen.is_local() || settings.authenticates();
        let default = if private { DockerApi::ReadOnly } else { DockerApi::Off };
        settings.docker_api = sources.parse("docker-api", docker_api).unwrap_or(default);
        let insecure = sources.parse("insecure-no-auth", switch).unwrap_or(false);
        // A user without a usable password has been reported already.
        if !private && !insecure && sources.find("user").is_none() {
            sources.mistake(
                "listen",
                format_args!(
                    "{} can be reached from other machines, and whoever reaches it rules the containers here. \
                     Set --user and --password-file, or --api-key-file; --insecure-no-auth does without",
                    settings.listen
                ),
            );
        }
        settings
    }
}

impl Listen {
    /// Returns whether only this machine gets there.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///path` is how the engine's address is written.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err("the socket's path has to start with a slash".into())
            };
        }
        let address = text.strip_prefix("localhost:").map(|port| format!("{}:{port}", Ipv4Addr::LOCALHOST));
        let address = address.as_deref().unwrap_or(text).parse().map(Self::Tcp);
        address
            .map_err(|_| "neither an IP address with a port, like 127.0.0.1:8099 or [::1]:8099, nor unix:/path".into())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for DockerApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::ReadOnly => "read-only",
            Self::Full => "full",
        })
    }
}

fn login(sources: &mut Sources<'_>) -> Option<Login> {
    let user = sources.text("user");
    let is_set = sources.find("password-file").is_some() || sources.env.get(PASSWORD).is_some();
    match (user, is_set) {
        (None, false) => None,
        (Some(_), false) => {
            sources.mistake("user", format_args!("needs a password, by --password-file or {PASSWORD}"));
            None
        }
        (None, true) => {
            sources.other_mistake(format!("--user: is missing, though --password-file or {PASSWORD} is set"));
            None
        }
        (Some(user), true) => Some(Login { user, password: password(sources)? }),
    }
}

/// The password by the usual precedence: the file's flag, the environment, the key of the configuration file.
fn password(sources: &mut Sources<'_>) -> Option<Secret> {
    let env = sources.env;
    match (sources.find("password-file").map(|found| found.origin), env.get(PASSWORD)) {
        (Some(Origin::Variable), Some(_)) => {
            sources.mistake("password-file", format_args!("{PASSWORD} is set as well; choose one"));
            None
        }
        (Some(Origin::File) | None, Some(password)) => {
            let password = password.to_str().map(Secret::new);
            if password.is_none() {
                sources.other_mistake(format!("{PASSWORD} is not valid UTF-8"));
            }
            password
        }
        _ => sources.parse("password-file", |path| match std::fs::read_to_string(path) {
            // Editors and `echo` end a file with a line end that nobody meant to type.
            Ok(text) => match text.trim_end_matches(['\n', '\r']) {
                "" => Err("holds no password".to_owned()),
                password => Ok(Secret::new(password)),
            },
            Err(error) => Err(format!("cannot be read: {error}")),
        }),
    }
}

fn allowed_hosts(sources: &mut Sources<'_>) -> Vec<String> {
    let hosts = sources.list("allowed-host");
    for host in hosts.iter().filter(|host| host.contains([':', '/', '*', ' '])) {
        sources.mistake("allowed-host", format_args!("`{host}`: not a plain host name, without scheme and port"));
    }
    hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect()
}

fn docker_api(text: &str) -> Result<DockerApi, &'static str> {
    match text {
        "off" => Ok(DockerApi::Off),
        "read-only" => Ok(DockerApi::ReadOnly),
        "full" => Ok(DockerApi::Full),
        _ => Err("none of off, read-only and full"),
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
