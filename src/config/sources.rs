//! One option, from whichever source sets it, and the list of mistakes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::environment::Environment;
use super::options::{CommonOptions, ServeOptions};

/// The key of the file that describes who is told what.
pub(super) const NOTIFY: &str = "notify";

/// Which source has set an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    Variable,
    File,
}

/// An option that is set.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) values: Vec<String>,
    pub(super) origin: Origin,
}

/// Flags, environment and file, and what was wrong with them so far.
pub(super) struct Sources<'a> {
    flags: BTreeMap<String, Vec<String>>,
    pub(super) env: &'a Environment,
    path: String,
    file: BTreeMap<String, Vec<String>>,
    /// The key [`NOTIFY`] of the file, the only one with a structure; no flag or variable could hold it.
    pub(super) notify: Value,
    mistakes: Vec<String>,
}

impl<'a> Sources<'a> {
    /// Reads the file that the flags or the environment name, else the machine's own where it exists.
    pub(super) fn read(common: &CommonOptions, serve: &ServeOptions, env: &'a Environment) -> Self {
        let mut flags = BTreeMap::new();
        let mut mistakes = Vec::new();
        for (name, value) in fields(common).into_iter().chain(fields(serve)) {
            if env.get(&variable(&name)).is_some_and(|value| value.to_str().is_none()) {
                mistakes.push(format!("--{name} ({}): is not valid UTF-8", variable(&name)));
            }
            // A switch that is not given. Of flags, which are texts, lists and switches, no other value is refused.
            let value = if value == Value::Bool(false) { Value::Null } else { value };
            flags.extend(texts(&value).ok().filter(|texts| !texts.is_empty()).map(|texts| (name, texts)));
        }
        let mut sources =
            Self { flags, env, path: String::new(), file: BTreeMap::new(), notify: Value::Null, mistakes };
        let named = sources.find("config").is_some();
        let path = match named {
            true => sources.text("config"),
            false => env.machine_file().map(|path| path.display().to_string()),
        };
        if let Some(path) = path {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    sources.path = path;
                    sources.read_file(&text);
                }
                Err(error) if !named && error.kind() == ErrorKind::NotFound => {}
                // One that this user may not read counts too: without it, data and locks would be elsewhere.
                Err(error) => sources.mistake("config", format_args!("`{path}` cannot be read: {error}")),
            }
        }
        sources
    }

    fn read_file(&mut self, text: &str) {
        let known: BTreeSet<_> = fields(&CommonOptions::default())
            .into_iter()
            .chain(fields(&ServeOptions::default()))
            .map(|(name, _)| name)
            .filter(|name| name != "config")
            .chain([NOTIFY.to_owned()])
            .collect();
        let mapping = match serde_yaml::from_str::<Option<serde_yaml::Mapping>>(text) {
            Ok(mapping) => mapping.unwrap_or_default(),
            Err(error) => return self.mistakes.push(format!("{} is not a YAML file of options: {error}", self.path)),
        };
        for (key, value) in mapping {
            let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
            let name = key.replace('_', "-");
            let texts = match serde_json::to_value(value) {
                _ if !known.contains(&name) => {
                    let known = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                    Err(format!("is not an option; the options are {known}"))
                }
                _ if self.file.contains_key(&name) => Err("is there twice".to_owned()),
                Ok(value) if name == NOTIFY => {
                    self.notify = value;
                    continue;
                }
                Ok(value) => texts(&value),
                Err(error) => Err(error.to_string()),
            };
            match texts {
                Ok(texts) if texts.is_empty() => {}
                Ok(texts) => drop(self.file.insert(name, texts)),
                Err(problem) => self.mistakes.push(format!("`{key}` in {} {problem}", self.path)),
            }
        }
    }

    /// An option's values, from the first source that has any.
    pub(super) fn find(&self, name: &str) -> Option<Found> {
        if let Some(values) = self.flags.get(name) {
            return Some(Found { values: values.clone(), origin: Origin::Flag });
        }
        if let Some(value) = self.env.get(&variable(name)).and_then(|value| value.to_str()) {
            return Some(Found { values: vec![value.to_owned()], origin: Origin::Variable });
        }
        self.file.get(name).map(|values| Found { values: values.clone(), origin: Origin::File })
    }

    /// An option's value, read by `read`; `None` when it is not set, and when it is wrong and so has become a mistake.
    pub(super) fn parse<T, E: Display>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let found = self.find(name)?;
        let [value] = found.values.as_slice() else {
            self.mistake(name, "takes one value, not a list");
            return None;
        };
        if value.trim().is_empty() {
            self.mistake(name, "is empty");
            return None;
        }
        match read(value) {
            Ok(parsed) => Some(parsed),
            Err(problem) => {
                self.mistake(name, format_args!("`{value}`: {problem}"));
                None
            }
        }
    }

    /// An option whose value is any text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.parse(name, |text| Ok::<_, String>(text.to_owned()))
    }

    /// An option whose value is a path. It becomes absolute, but links in it stay: containers and the engine may see
    /// another tree than this process.
    pub(super) fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.parse(name, |path| std::path::absolute(path))
    }

    /// An option that may have several values; in a variable they are separated by commas.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let found = self.find(name).map(|found| found.values).unwrap_or_default();
        let values = found.iter().flat_map(|value| value.split(','));
        values.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
    }

    /// Notes what is wrong with an option, and where its value came from.
    pub(super) fn mistake(&mut self, name: &str, problem: impl Display) {
        let origin = match self.find(name).map(|found| found.origin) {
            Some(Origin::Flag) => " (command line)".to_owned(),
            Some(Origin::Variable) => format!(" ({})", variable(name)),
            Some(Origin::File) => format!(" (in {})", self.path),
            None => String::new(),
        };
        self.mistakes.push(format!("--{name}{origin}: {problem}"));
    }

    /// Notes something that is wrong elsewhere.
    pub(super) fn other_mistake(&mut self, problem: String) {
        self.mistakes.push(problem);
    }

    /// The file of options that was read; empty without one.
    pub(super) fn file(&self) -> &str {
        &self.path
    }

    /// `settings`, unless there were mistakes.
    pub(super) fn finish<T>(self, settings: T) -> Result<T, Vec<String>> {
        if self.mistakes.is_empty() { Ok(settings) } else { Err(self.mistakes) }
    }
}

fn variable(name: &str) -> String {
    format!("RESTOCK_{}", name.replace('-', "_").to_ascii_uppercase())
}

/// The fields of an options struct by their names in kebab case, which are those of the flags.
fn fields(options: &impl Serialize) -> Vec<(String, Value)> {
    match serde_json::to_value(options) {
        Ok(Value::Object(fields)) => fields.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A value as texts; none when it is not set.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Bool(switch) => Ok(vec![switch.to_string()]),
        Value::Number(number) => Ok(vec![number.to_string()]),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(values) if values.iter().any(|value| value.is_array() || value.is_object()) => {
            Err("has a list or a mapping in its list".into())
        }
        Value::Array(values) => Ok(values.iter().map(texts).collect::<Result<Vec<_>, _>>()?.concat()),
        Value::Object(_) => Err("is a mapping, not a value".into()),
    }
}
