//! Hosts, and what a job works on there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::AppName;

/// The name of one engine and what belongs to it: `[a-z][a-z0-9-]*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

/// A text that cannot be the name of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a host's name starts with a lower-case letter and has only lower-case letters, digits and `-`")]
pub struct InvalidHostName;

impl HostName {
    /// The name of the host that needs no configuration, and that names without a host belong to.
    pub const LOCAL: &str = "local";

    /// The host of the engine that the option `docker-host` names.
    pub fn local() -> Self {
        Self(Self::LOCAL.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text form of a name on this host: `web` on the local one, `web@nas` on another.
    pub fn qualify(&self, name: &str) -> String {
        if self.0 == Self::LOCAL { name.to_owned() } else { format!("{name}@{}", self.0) }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = InvalidHostName;
    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        let start_ok = text.starts_with(|c: char| c.is_ascii_lowercase());
        let rest_ok = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if start_ok && rest_ok { Ok(Self(text.to_owned())) } else { Err(InvalidHostName) }
    }
}

/// Splits the text form of a name into the name and the text of its host. What follows the last `@` is a host unless it
/// has a colon: then it is the digest of an image.
pub fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('@') {
        Some((name, host)) if !host.contains(':') => (name, Some(host)),
        _ => (text, None),
    }
}

/// Reads the text form of a name: the name, and the host that it is on.
fn read(text: &str) -> Result<(&str, HostName), String> {
    let (name, host) = split(text);
    let host = host.unwrap_or(HostName::LOCAL).parse().map_err(|error| format!("`{text}`: {error}"))?;
    Ok((name, host))
}

/// An app's name with its host, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId {
    pub host: HostName,
    pub name: AppName,
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host.qualify(self.name.as_str()))
    }
}

impl FromStr for AppId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, host) = read(text)?;
        Ok(Self { host, name: name.parse().map_err(|error| format!("`{text}`: {error}"))? })
    }
}

/// What a job works on; serialises as the one key `app`, `container`, `group` or `all`, with the name's text form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "TargetShape", into = "TargetShape")]
pub struct Target {
    pub subject: Subject,
    pub host: HostName,
    text: String,
}

/// What a target is on its host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    App(String),
    Container(String),
    /// All running containers of one image reference.
    Group(String),
    /// One pass over everything that a policy marks.
    All,
}

/// How a target is written.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = JobTarget)]
#[serde(rename_all = "snake_case")]
pub enum TargetShape {
    App(String),
    Container(String),
    Group(String),
    /// One pass over everything that a policy marks; the name is `*`.
    All(String),
}

/// The name of everything.
const ALL: &str = "*";

impl Target {
    /// A target on `host`.
    pub fn new(host: &HostName, subject: Subject) -> Self {
        let name = match &subject {
            Subject::App(name) | Subject::Container(name) | Subject::Group(name) => name,
            Subject::All => ALL,
        };
        Self { text: host.qualify(name), host: host.clone(), subject }
    }

    /// A target on the local host.
    pub fn local(subject: Subject) -> Self {
        Self::new(&HostName::local(), subject)
    }

    /// Reads a target's two parts as they are stored: its [`Target::kind`] and its [`Target::name`].
    ///
    /// # Errors
    /// Names the part that is unknown.
    pub fn read(kind: &str, text: &str) -> Result<Self, String> {
        let (name, host) = read(text)?;
        let name = name.to_owned();
        let subject = match kind {
            "app" => Subject::App(name),
            "container" => Subject::Container(name),
            "group" => Subject::Group(name),
            "all" => Subject::All,
            other => return Err(format!("unknown target `{other}`")),
        };
        Ok(Self::new(&host, subject))
    }

    /// The word for what sort of thing it is: the key it serialises as.
    pub fn kind(&self) -> &'static str {
        match self.subject {
            Subject::App(_) => "app",
            Subject::Container(_) => "container",
            Subject::Group(_) => "group",
            Subject::All => "all",
        }
    }

    /// The name's text form, by which clients and people know the target: `web`, or `web@nas` on another host.
    pub fn name(&self) -> &str {
        &self.text
    }

    /// The name on the target's own host.
    pub fn bare_name(&self) -> &str {
        match &self.subject {
            Subject::App(name) | Subject::Container(name) | Subject::Group(name) => name,
            Subject::All => ALL,
        }
    }
}

impl From<Target> for TargetShape {
    fn from(target: Target) -> Self {
        let text = target.text;
        match target.subject {
            Subject::App(_) => Self::App(text),
            Subject::Container(_) => Self::Container(text),
            Subject::Group(_) => Self::Group(text),
            Subject::All => Self::All(text),
        }
    }
}

impl TryFrom<TargetShape> for Target {
    type Error = String;
    fn try_from(shape: TargetShape) -> Result<Self, String> {
        match &shape {
            TargetShape::App(text) => Self::read("app", text),
            TargetShape::Container(text) => Self::read("container", text),
            TargetShape::Group(text) => Self::read("group", text),
            TargetShape::All(text) => Self::read("all", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_host_is_on_the_local_one_and_a_digest_is_not_a_host() {
        let digest = format!("nginx@sha256:{}", "a".repeat(64));
        let cases =
            [("web", ("web", None)), ("web@nas", ("web", Some("nas"))), (digest.as_str(), (digest.as_str(), None))];
        for (text, expected) in cases {
            assert_eq!(split(text), expected);
        }
        let with_digest = format!("{digest}@nas");
        assert_eq!(split(&with_digest), (digest.as_str(), Some("nas")));
        assert_eq!(split("nginx:1@nas"), ("nginx:1", Some("nas")));
    }

    #[test]
    fn names_of_hosts_are_plain_words() {
        for good in ["local", "nas", "pi-4", "x"] {
            assert_eq!(good.parse::<HostName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "Nas", "4pi", "-x", "a.b", "a@b", "a b", "ü"] {
            assert_eq!(bad.parse::<HostName>(), Err(InvalidHostName), "{bad}");
        }
    }

    #[test]
    fn a_target_is_one_key_with_the_text_form_and_reads_back() {
        let nas: HostName = "nas".parse().expect("a host");
        let targets = [
            (Target::new(&HostName::local(), Subject::App("web".into())), serde_json::json!({"app": "web"})),
            (Target::new(&nas, Subject::Container("db".into())), serde_json::json!({"container": "db@nas"})),
            (Target::new(&nas, Subject::Group("nginx:1".into())), serde_json::json!({"group": "nginx:1@nas"})),
            (Target::new(&HostName::local(), Subject::All), serde_json::json!({"all": "*"})),
        ];
        for (target, expected) in targets {
            let json = serde_json::to_value(&target).expect("serialises");
            assert_eq!(json, expected);
            assert_eq!(serde_json::from_value::<Target>(json).expect("reads back"), target);
            assert_eq!(Target::read(target.kind(), target.name()), Ok(target));
        }
    }
}
