//! Reads `config.json` as the Docker CLI does, and the auth files of Podman, which have the same form.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::login::Credentials;

/// The name that the Hub has in `config.json` and for helpers, for the historical reason of its first API.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB: &str = "docker.io";
/// The Hub's other names: Podman writes the first, people the rest.
const HUB_ALIASES: [&str; 3] = [HUB, "index.docker.io", "registry-1.docker.io"];

/// The parts of the file that say how to log in.
#[derive(Debug, Default, Deserialize)]
pub(super) struct DockerConfig {
    #[serde(default)]
    auths: Option<BTreeMap<String, AuthEntry>>,
    #[serde(default, rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Where the credentials of one registry are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nowhere.
    None,
    /// In the file itself.
    Here(Credentials),
    /// With `docker-credential-<helper>`, which knows the registry as `server`.
    Helper { helper: String, server: String },
    /// In the file, but unreadable.
    Broken(String),
}

impl DockerConfig {
    /// Where the credentials for a repository of a registry are: with the helper of that registry, else with the helper
    /// of all registries, else in the file. A helper's word is final: the CLI looks nowhere else either.
    pub(super) fn source(&self, registry: &str, repository: &str) -> Source {
        let names = names(registry);
        let own_helper = names.iter().find_map(|name| self.helpers.as_ref()?.get(*name));
        let helper = own_helper.or(self.store.as_ref()).filter(|helper| !helper.is_empty());
        if let Some(helper) = helper {
            return Source::Helper { helper: helper.clone(), server: names[0].to_owned() };
        }
        self.entry(&names, repository).map_or(Source::None, AuthEntry::source)
    }

    /// The entry with the registry's name; else the one for the longest part of the repository's path, as Podman writes
    /// them; else one whose key is a URL of the registry, as old versions of the CLI wrote them.
    fn entry(&self, names: &[&str], repository: &str) -> Option<&AuthEntry> {
        let auths = self.auths.as_ref()?;
        let mut path = repository;
        loop {
            if let Some(entry) = names.iter().find_map(|name| auths.get(&format!("{name}/{path}"))) {
                return Some(entry);
            }
            let Some((parent, _)) = path.rsplit_once('/') else { break };
            path = parent;
        }
        let by_name = names.iter().find_map(|name| auths.get(*name));
        by_name.or_else(|| {
            auths
                .iter()
                .find(|(key, _)| url_host(key).is_some_and(|host| names.contains(&host)))
                .map(|(_, entry)| entry)
        })
    }
}

impl AuthEntry {
    fn source(&self) -> Source {
        let said = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = said(&self.registrytoken) {
            return Source::Here(Credentials::RegistryToken(token));
        }
        if let Some(token) = said(&self.identitytoken) {
            return Source::Here(Credentials::IdentityToken(token));
        }
        if let Some(auth) = said(&self.auth) {
            return decode(&auth)
                .map_or_else(|| Source::Broken("an `auth` entry is not readable".to_owned()), Source::Here);
        }
        match (said(&self.username), said(&self.password)) {
            (Some(username), Some(password)) => Source::Here(Credentials::Password { username, password }),
            _ => Source::None,
        }
    }
}

impl std::fmt::Debug for AuthEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthEntry(hidden)")
    }
}

/// The names under which a registry's credentials are kept; the first is the one that helpers know.
fn names(registry: &str) -> Vec<&str> {
    if registry == HUB { [HUB_KEY].into_iter().chain(HUB_ALIASES).collect() } else { vec![registry] }
}

/// The host of a key that is a URL, with or without its scheme: `https://host:5000/v1/`, `host/v2/`. Other keys with a
/// path are Podman's and mean only that path.
fn url_host(key: &str) -> Option<&str> {
    let without_scheme = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let address = without_scheme.unwrap_or(key);
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    (without_scheme.is_some() || matches!(path.trim_end_matches('/'), "v1" | "v2")).then_some(host)
}

/// `user:password` in base64. Some writers pad the password with zero bytes.
fn decode(auth: &str) -> Option<Credentials> {
    let plain = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = plain.split_once(':')?;
    Some(Credentials::Password { username: username.to_owned(), password: password.trim_matches('\0').to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(config: &str, registry: &str, repository: &str) -> Source {
        serde_json::from_str::<DockerConfig>(config).expect("a config").source(registry, repository)
    }

    fn user(name: &str) -> Source {
        Source::Here(Credentials::Password { username: name.to_owned(), password: "p:w".to_owned() })
    }

    fn auth(name: &str) -> String {
        format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(format!("{name}:p:w")))
    }

    #[test]
    fn keys_are_found_as_the_cli_and_podman_write_them() {
        let config = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{},"host:5000":{},"https://old.example/v1/":{},"bare.example/v2/":{},"quay.io/team":{},"quay.io":{}}},"unknown":1}}"#,
            auth("hub"),
            auth("port"),
            auth("old"),
            auth("bare"),
            auth("team"),
            auth("quay"),
        );
        let table = [
            ("docker.io", "library/x", user("hub")),
            ("host:5000", "x", user("port")),
            ("host", "x", Source::None),
            ("old.example", "x", user("old")),
            ("bare.example", "x", user("bare")),
            ("quay.io", "team/app", user("team")),
            ("quay.io", "team", user("team")),
            ("quay.io", "teams/app", user("quay")),
            ("ghcr.io", "x", Source::None),
        ];
        for (registry, repository, expected) in table {
            assert_eq!(source(&config, registry, repository), expected, "{registry}/{repository}");
        }
        assert_eq!(
            source(&format!(r#"{{"auths":{{"docker.io":{}}}}}"#, auth("p")), "docker.io", "library/x"),
            user("p")
        );
        assert_eq!(
            source(&format!(r#"{{"auths":{{"quay.io/team":{}}}}}"#, auth("p")), "quay.io", "other/x"),
            Source::None
        );
    }

    #[test]
    fn a_helper_wins_over_the_store_and_the_store_over_the_file() {
        let helper =
            |helper: &str, server: &str| Source::Helper { helper: helper.to_owned(), server: server.to_owned() };
        let config = format!(
            r#"{{"auths":{{"a.example":{}}},"credsStore":"pass","credHelpers":{{"b.example":"ecr-login","docker.io":"hub"}}}}"#,
            auth("a")
        );
        assert_eq!(source(&config, "a.example", "x"), helper("pass", "a.example"));
        assert_eq!(source(&config, "b.example", "x"), helper("ecr-login", "b.example"));
        assert_eq!(source(&config, "docker.io", "library/x"), helper("hub", HUB_KEY));
        let config = format!(r#"{{"auths":{{"a.example":{}}},"credsStore":"","credHelpers":null}}"#, auth("a"));
        assert_eq!(source(&config, "a.example", "x"), user("a"));
    }

    #[test]
    fn every_kind_of_entry_is_understood() {
        let one = |entry: &str| source(&format!(r#"{{"auths":{{"r":{entry}}}}}"#), "r", "x");
        let identity = Source::Here(Credentials::IdentityToken("i".to_owned()));
        assert_eq!(one(r#"{"auth":"dTpw","identitytoken":"i"}"#), identity);
        assert_eq!(one(r#"{"registrytoken":"t"}"#), Source::Here(Credentials::RegistryToken("t".to_owned())));
        assert_eq!(one(r#"{"username":"u","password":"p:w"}"#), user("u"));
        assert_eq!(one(r#"{"auth":""}"#), Source::None);
        assert_eq!(one("{}"), Source::None);
        assert!(matches!(one(r#"{"auth":"***"}"#), Source::Broken(_)));
        assert_eq!(source("{}", "r", "x"), Source::None);
        assert_eq!(source(r#"{"auths":null}"#, "r", "x"), Source::None);
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let config: DockerConfig =
            serde_json::from_str(&format!(r#"{{"auths":{{"r":{}}}}}"#, auth("u"))).expect("a config");
        let shown = format!("{config:?} {:?}", config.source("r", "x"));
        assert!(!shown.contains("p:w") && !shown.contains(&STANDARD.encode("u:p:w")), "{shown}");
    }
}
