//! Which of the engine's routes there are, each an entry of its own. What is not in the table is refused.

use axum::http::Method;

use super::escape::unescape;
use super::refusal::{bad_reference, refusal};
use crate::domain::image::{ImageReference, ReferenceError};
use crate::error::{Error, Kind};

/// What a route does. Names are those of the Docker CLI's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Ping,
    Version,
    Info,
    List,
    Search,
    Inspect,
    History,
    Save,
    SaveSeveral,
    /// A pull, or an import.
    Create,
    Load,
    Push,
    Tag,
    Remove,
    Prune,
    /// `docker inspect NAME` asks for a container first, and for an image only when there is none.
    InspectContainer,
}

impl Route {
    /// Returns whether it leaves the engine and every registry as they are.
    pub fn only_reads(self) -> bool {
        use Route::{Create, Load, Prune, Push, Remove, Tag};
        !matches!(self, Create | Load | Push | Tag | Remove | Prune)
    }

    /// The type of the body that the engine reads here: an archive, or an old client's login.
    pub fn body_type(self) -> Option<&'static str> {
        match self {
            Self::Create | Self::Load => Some("application/x-tar"),
            Self::Push => Some("application/json"),
            _ => None,
        }
    }

    /// Returns whether the answer is a stream of JSON messages, the last of which may be an error.
    pub fn tells_progress(self) -> bool {
        matches!(self, Self::Create | Self::Load | Self::Push)
    }

    /// Returns whether the engine has the answer at hand, or takes as long as a disk or a registry does.
    pub fn is_quick(self) -> bool {
        self.only_reads() && !matches!(self, Self::Search | Self::Save | Self::SaveSeveral)
    }
}

/// The table: method, path after an optional `/v1.xx`, and what it does. `{name}` may contain slashes.
const TABLE: [(&str, &str, Route); 17] = [
    ("HEAD", "/_ping", Route::Ping),
    ("GET", "/_ping", Route::Ping),
    ("GET", "/version", Route::Version),
    ("GET", "/info", Route::Info),
    ("GET", "/images/json", Route::List),
    ("GET", "/images/search", Route::Search),
    ("GET", "/images/get", Route::SaveSeveral),
    ("GET", "/images/{name}/json", Route::Inspect),
    ("GET", "/images/{name}/history", Route::History),
    ("GET", "/images/{name}/get", Route::Save),
    ("POST", "/images/create", Route::Create),
    ("POST", "/images/load", Route::Load),
    ("POST", "/images/prune", Route::Prune),
    ("POST", "/images/{name}/push", Route::Push),
    ("POST", "/images/{name}/tag", Route::Tag),
    ("DELETE", "/images/{name}", Route::Remove),
    ("GET", "/containers/{name}/json", Route::InspectContainer),
];

/// The first components of the engine's paths: there its shape of an error is expected.
const ENGINE: [&str; 23] = [
    "_ping",
    "auth",
    "build",
    "commit",
    "configs",
    "containers",
    "distribution",
    "events",
    "exec",
    "grpc",
    "images",
    "info",
    "networks",
    "nodes",
    "plugins",
    "secrets",
    "services",
    "session",
    "swarm",
    "system",
    "tasks",
    "version",
    "volumes",
];

/// An entry of the table, as a request's path fits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub route: Route,
    /// The image that the path names, decoded; empty where the route has none.
    pub name: String,
    /// What the engine is asked for: only what was understood, and nothing in another spelling.
    pub path: String,
}

/// Returns whether a path is the engine's, known here or not.
pub fn is_engine_path(path: &str) -> bool {
    let first = path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default();
    let version = first.strip_prefix('v').is_some_and(|rest| !rest.is_empty() && is_number(rest));
    version && path.len() > first.len() + 1 || ENGINE.contains(&first)
}

/// Finds the entry of a request by its path as it was sent. It is decoded once, as the engine does, and the table and all
/// checks apply to what that gives.
///
/// # Errors
/// What is in no entry is forbidden; what an entry has a name for and is none is invalid.
pub fn find(method: &Method, raw: &str) -> Result<Found, Error> {
    let decoded = unescape(raw)?;
    let decoded = String::from_utf8_lossy(&decoded);
    let (version, path) = split_version(&decoded);
    let entry = TABLE.iter().find_map(|(known, pattern, route)| {
        let name = if *known == method.as_str() { fits(pattern, path) } else { None };
        name.map(|name| (*pattern, *route, name))
    });
    let Some((pattern, route, name)) = entry else {
        let raw: String = raw.chars().take(200).collect();
        // The CLI's `inspect` goes on to the next kind of object where something is "not supported".
        let message = format!(
            "{method} {raw} is not supported: Restock serves images, pull, push, tag, rmi, history, search, save, load, \
             import, image inspect, image prune, version and info, and nothing else of the engine"
        );
        return Err(refusal(message, Kind::Forbidden));
    };
    if pattern.contains(NAME) && name.trim().is_empty() {
        return Err(refusal("image name cannot be blank", Kind::Invalid));
    }
    if pattern.contains(NAME) && route != Route::InspectContainer {
        check_image_name(name)?;
    }
    let path = format!("{version}{}", pattern.replace(NAME, name));
    Ok(Found { route, name: name.to_owned(), path })
}

const NAME: &str = "{name}";

/// The part of `path` that stands for the pattern's name; empty for a pattern without one that is the path.
fn fits<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    match pattern.split_once(NAME) {
        Some((before, after)) => path.strip_prefix(before)?.strip_suffix(after),
        None => (path == pattern).then_some(""),
    }
}

/// `/v1.41` and the rest, or nothing and the whole.
fn split_version(path: &str) -> (&str, &str) {
    let split = path.strip_prefix("/v").and_then(|rest| {
        let (version, _) = rest.split_once('/')?;
        let (major, minor) = version.split_once('.')?;
        (is_number(major) && is_number(minor) && !minor.contains('.')).then_some("/v".len() + version.len())
    });
    path.split_at(split.unwrap_or(0))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// An image is named by a reference or by its ID; the engine finds out which it is.
pub fn check_image_name(name: &str) -> Result<(), Error> {
    match name.parse::<ImageReference>() {
        Ok(_) => Ok(()),
        Err(ReferenceError::LooksLikeId(id)) if id == name => Ok(()),
        Err(error) => Err(bad_reference(&error)),
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
