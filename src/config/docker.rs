//! Which engine is meant, as the Docker CLI would find it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::environment::Environment;
use super::sources::Sources;
use crate::adapters::engine::DockerHost;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The CLI's name for "no context".
const DEFAULT_CONTEXT: &str = "default";
const ADVICE: &str = "Set --docker-host to unix:///path or tcp://host:port";

/// The engine of `--docker-host`, else `$DOCKER_HOST`, else the current context, else the usual socket.
pub(super) fn resolve(sources: &mut Sources<'_>) -> DockerHost {
    let env = sources.env;
    let set_here = sources.find("docker-host").is_some();
    let host = if set_here {
        sources.parse("docker-host", |text| usable(text, env))
    } else {
        let from_docker = match env.get("DOCKER_HOST") {
            Some(host) => usable(&host.to_string_lossy(), env).map_err(|problem| format!("DOCKER_HOST: {problem}")),
            None => context(env),
        };
        from_docker.map_err(|problem| sources.other_mistake(problem)).ok()
    };
    host.unwrap_or_else(|| DockerHost::Unix(DEFAULT_SOCKET.into()))
}

fn usable(text: &str, env: &Environment) -> Result<DockerHost, String> {
    if text.starts_with("ssh://") {
        return Err(format!("{text} cannot be used: forward the engine's socket with `ssh -L`. {ADVICE}"));
    }
    let host = text.parse::<DockerHost>().map_err(|error| error.to_string())?;
    let tls = ["DOCKER_TLS_VERIFY", "DOCKER_TLS"].into_iter().find(|name| env.get(name).is_some());
    match (&host, tls) {
        (DockerHost::Tcp(_), Some(variable)) => Err(format!(
            "{text} cannot be used with TLS, which {variable} asks for. Unset it if the engine speaks plain HTTP"
        )),
        _ => Ok(host),
    }
}

/// The engine of the context that `$DOCKER_CONTEXT` or the CLI's configuration names.
fn context(env: &Environment) -> Result<DockerHost, String> {
    let usual = DockerHost::Unix(DEFAULT_SOCKET.into());
    let Some(dir) = configuration_dir(env) else { return Ok(usual) };
    let (name, named_by) = match env.get("DOCKER_CONTEXT") {
        Some(name) => (name.to_string_lossy().into_owned(), "DOCKER_CONTEXT".to_owned()),
        None => {
            let file = dir.join("config.json");
            let configuration = read_json(&file)?.unwrap_or_default();
            let name = configuration["currentContext"].as_str().unwrap_or_default();
            (name.to_owned(), file.display().to_string())
        }
    };
    if name.is_empty() || name == DEFAULT_CONTEXT {
        return Ok(usual);
    }
    let wrong = |problem: String| format!("the Docker context `{name}` (from {named_by}) {problem}. {ADVICE}");
    let id: String = Sha256::digest(&name).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = dir.join("contexts/meta").join(&id).join("meta.json");
    let meta = read_json(&file)?.ok_or_else(|| wrong(format!("does not exist: there is no {}", file.display())))?;
    let Some(host) = meta["Endpoints"]["docker"]["Host"].as_str().filter(|host| !host.is_empty()) else {
        return Ok(usual);
    };
    let host =
        usable(host, env).map_err(|problem| wrong(format!("leads to an engine that cannot be used: {problem}")))?;
    if matches!(host, DockerHost::Tcp(_)) && dir.join("contexts/tls").join(&id).join("docker").exists() {
        return Err(wrong("uses TLS, which is not supported".into()));
    }
    Ok(host)
}

pub(super) fn configuration_dir(env: &Environment) -> Option<PathBuf> {
    let home = || env.get("HOME").map(|home| Path::new(home).join(".docker"));
    env.get("DOCKER_CONFIG").map(PathBuf::from).or_else(home)
}

/// `None` for a file that does not exist.
fn read_json(path: &Path) -> Result<Option<Value>, String> {
    let wrong = |problem: String| format!("{} cannot be read: {problem}. {ADVICE}", path.display());
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CommonOptions, ServeOptions};

    fn host(flag: Option<&str>, env: &[(&str, &str)]) -> Result<String, String> {
        let common = CommonOptions { docker_host: flag.map(Into::into), ..Default::default() };
        let env = env.iter().copied().collect();
        let mut sources = Sources::read(&common, &ServeOptions::default(), &env);
        let host = resolve(&mut sources);
        sources.finish(host.to_string()).map_err(|mistakes| mistakes.join("\n"))
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A home whose CLI has the context `lab`; the name of its directory is what `docker context create lab` makes.
    fn home_with_context(host: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let docker = home.path().join(".docker");
        write(&docker.join("config.json"), r#"{"auths": {}, "currentContext": "lab"}"#);
        let id: String = Sha256::digest("lab").iter().map(|byte| format!("{byte:02x}")).collect();
        let meta = format!(r#"{{"Name":"lab","Endpoints":{{"docker":{{"Host":"{host}","SkipTLSVerify":false}}}}}}"#);
        write(&docker.join("contexts/meta").join(&id).join("meta.json"), &meta);
        home
    }

    #[test]
    fn the_flag_wins_over_the_variable_over_the_context() {
        let home = home_with_context("unix:///lab.sock");
        let home = home.path().to_str().unwrap();
        let variable = [("HOME", home), ("DOCKER_HOST", "tcp://b:1")];
        let own = [("HOME", home), ("DOCKER_HOST", "tcp://b:1"), ("RESTOCK_DOCKER_HOST", "tcp://c:1")];
        assert_eq!(host(Some("tcp://a:1"), &own).unwrap(), "tcp://a:1");
        assert_eq!(host(None, &own).unwrap(), "tcp://c:1");
        assert_eq!(host(None, &variable).unwrap(), "tcp://b:1");
        assert_eq!(host(None, &[("HOME", home)]).unwrap(), "unix:///lab.sock");
        assert_eq!(host(None, &[("HOME", home), ("DOCKER_HOST", "")]).unwrap(), "unix:///lab.sock");
        assert_eq!(
            host(None, &[("HOME", home), ("DOCKER_CONTEXT", "default")]).unwrap(),
            "unix:///var/run/docker.sock"
        );
        assert_eq!(host(None, &[]).unwrap(), "unix:///var/run/docker.sock");
    }

    #[test]
    fn the_configuration_may_be_elsewhere() {
        let home = home_with_context("tcp://lab:2375");
        let dir = home.path().join(".docker");
        assert_eq!(host(None, &[("DOCKER_CONFIG", dir.to_str().unwrap())]).unwrap(), "tcp://lab:2375");
    }

    #[test]
    fn what_cannot_be_used_is_said_with_its_origin() {
        let home = home_with_context("ssh://me@lab");
        let home = home.path().to_str().unwrap();
        let cases = [
            (Some("ssh://me@lab"), vec![], "--docker-host (command line)"),
            (None, vec![("DOCKER_HOST", "npipe:////./pipe/x")], "DOCKER_HOST"),
            (None, vec![("DOCKER_HOST", "tcp://a:2376"), ("DOCKER_TLS_VERIFY", "1")], "DOCKER_TLS_VERIFY"),
            (None, vec![("HOME", home)], "config.json"),
            (None, vec![("HOME", home)], "ssh://me@lab"),
            (None, vec![("HOME", home), ("DOCKER_CONTEXT", "gone")], "`gone` (from DOCKER_CONTEXT) does not exist"),
        ];
        for (flag, env, expected) in cases {
            let message = host(flag, &env).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_context_with_tls_is_refused() {
        let home = home_with_context("tcp://lab:2376");
        let id: String = Sha256::digest("lab").iter().map(|byte| format!("{byte:02x}")).collect();
        write(&home.path().join(".docker/contexts/tls").join(id).join("docker/ca.pem"), "x");
        let message = host(None, &[("HOME", home.path().to_str().unwrap())]).unwrap_err();
        assert!(message.contains("TLS"), "{message}");
    }
}
