//! The process's environment, read once, and the part of it that children see.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::adapters::engine::DockerHost;

/// Where programs are looked for when there is no `PATH`, as shells do it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Each is also written in lower case; `http_proxy` is the older form.
const PROXY: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "FTP_PROXY"];
/// Already a part of the resolved host, or of no meaning to it: beside `DOCKER_HOST` they could only contradict it.
const RESOLVED: [&str; 4] = ["DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"];

/// The machine's own file of options, which a package puts there: service and commands are then the same Restock.
const MACHINE_FILE: &str = "/etc/restock/restock.yaml";

/// Variables and their values, and where the machine keeps its own file of options. Printing one shows the names only:
/// proxies are often written with a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    machine_file: Option<PathBuf>,
}

impl Environment {
    /// The environment this process was started with.
    pub fn of_process() -> Self {
        std::env::vars_os().collect::<Self>().with_machine_file(MACHINE_FILE)
    }

    /// The same on a machine that keeps its file of options at `path`; one made of variables alone has none.
    pub fn with_machine_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.machine_file = Some(path.into());
        self
    }

    /// Where the machine's own file of options would be.
    pub fn machine_file(&self) -> Option<&Path> {
        self.machine_file.as_deref()
    }

    /// A variable's value, unless it is empty or not set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Where programs are looked for.
    pub fn search_path(&self) -> OsString {
        self.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH)).to_owned()
    }

    /// All that `docker compose` gets to see: `PATH`, `HOME`, Docker's own variables with the engine at `host`, and the
    /// proxies. Anything else would be interpolated into projects, and would differ between the service and a shell.
    pub fn for_children(&self, host: &DockerHost) -> Self {
        let mut children: BTreeMap<_, _> = self
            .variables
            .iter()
            .filter(|(name, _)| is_for_children(name))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        children.insert("PATH".into(), self.search_path());
        children.insert("DOCKER_HOST".into(), host.to_string().into());
        Self { variables: children, machine_file: None }
    }

    /// All of it.
    pub fn variables(&self) -> &BTreeMap<OsString, OsString> {
        &self.variables
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, machine_file: None }
    }
}

fn is_for_children(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let proxy = PROXY.iter().any(|proxy| name == *proxy || name == proxy.to_ascii_lowercase());
    let docker = name.starts_with("DOCKER_") && !RESOLVED.contains(&name);
    name == "HOME" || proxy || docker
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_see_docker_and_proxies_and_nothing_else() {
        let kept = ["HOME", "DOCKER_CONFIG", "DOCKER_DEFAULT_PLATFORM", "HTTPS_PROXY", "no_proxy"];
        let dropped = [
            "RESTOCK_PASSWORD",
            "COMPOSE_FILE",
            "Http_Proxy",
            "DOCKER_CONTEXT",
            "DOCKER_TLS_VERIFY",
            "TAG",
            "docker_x",
        ];
        let variables = kept.iter().chain(&dropped).chain(&["DOCKER_HOST"]).map(|name| (name, "x"));
        let children = Environment::from_iter(variables).for_children(&DockerHost::Unix("/s".into()));
        let mut expected: Vec<_> = kept.iter().chain(&["PATH", "DOCKER_HOST"]).map(OsString::from).collect();
        expected.sort();
        assert_eq!(children.variables().keys().cloned().collect::<Vec<_>>(), expected);
        assert_eq!(children.get("DOCKER_HOST").unwrap(), "unix:///s");
        assert_eq!(children.get("PATH").unwrap(), DEFAULT_PATH);
    }

    #[test]
    fn values_are_not_printed() {
        let env = Environment::from_iter([("HTTP_PROXY", "http://me:hunter2@proxy")]);
        assert_eq!(format!("{env:?}"), r#"{"HTTP_PROXY"}"#);
    }
}
