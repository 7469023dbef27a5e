//! Apps and their names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest file name that Linux file systems take, and so the longest name of a directory.
const MAX_NAME: usize = 255;

/// A text that cannot be the name of an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an app's name starts with a letter or digit and has only letters, digits, `_`, `.` and `-`")]
pub struct InvalidAppName;

/// The name of an app, which is the name of its directory: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
///
/// A value of this type is no option of a command line, no path and no parent directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(String);

impl AppName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppName {
    type Err = InvalidAppName;
    fn from_str(text: &str) -> Result<Self, InvalidAppName> {
        let start_ok = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let rest_ok = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if start_ok && rest_ok && text.len() <= MAX_NAME { Ok(Self(text.to_owned())) } else { Err(InvalidAppName) }
    }
}

impl TryFrom<String> for AppName {
    type Error = InvalidAppName;
    fn try_from(text: String) -> Result<Self, InvalidAppName> {
        text.parse()
    }
}

impl From<AppName> for String {
    fn from(name: AppName) -> Self {
        name.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names that Compose gives and that are only ever passed on: a type each, so that they cannot be mixed up.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the name as Compose said it.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The Compose project an app resolves to: `name` of `docker compose config`, often but not always the directory's name.
    ProjectName
}
name_type! {
    /// A service of a Compose project.
    ServiceName
}

/// What an app's containers are doing, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// Every service that has containers has them running.
    Running,
    /// Some run, some do not.
    Partial,
    /// Containers exist and none runs.
    Stopped,
    /// There are no containers.
    Absent,
    /// The directory or its Compose file cannot be read.
    Broken,
}

/// The word that JSON has for it.
impl fmt::Display for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_directories_are_names_of_apps() {
        for name in ["web", "A", "0", "my.app_V2-x", "a..b"] {
            assert!(name.parse::<AppName>().is_ok(), "{name}");
        }
    }

    #[test]
    fn paths_options_and_controls_are_not() {
        let long = "a".repeat(256);
        for name in ["", ".", "..", "../x", "a/b", "%2e%2e", "-f", "_a", ".hidden", "a b", "a\0", "ä", "a\n", &long] {
            assert!(name.parse::<AppName>().is_err(), "{name:?}");
        }
    }
}
