//! The files that an app's project is read from: what changes when somebody edits the app.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::{MAX_FILE, env_files, read_small};

/// The most Compose files of one app that are followed. Nobody writes more, and files may include each other in a circle.
const MAX_DOCUMENTS: usize = 64;
/// The keys of `.env` that name further Compose files and further files of variables.
const NAMING: [&str; 2] = ["COMPOSE_FILE", "COMPOSE_ENV_FILES"];

/// Size and times of a file or directory. An edit changes one of them, unless it falls into the same tick of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970, as all times here.
    modified: i64,
    changed: i64,
}

impl Stamp {
    /// The state of a file now; `None` where there is none that can be seen.
    pub(super) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|found| Self {
            inode: found.ino(),
            size: found.size(),
            modified: found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec()),
            changed: found.ctime().saturating_mul(1_000_000_000).saturating_add(found.ctime_nsec()),
        })
    }

    /// When it was last changed in any way.
    pub(super) fn changed(self) -> i64 {
        self.changed.max(self.modified)
    }
}

/// The state of the files that an app is read from, those that it includes from elsewhere among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The app's directory.
    dir: PathBuf,
    /// `None` for a file that is named and is not there.
    files: BTreeMap<PathBuf, Option<Stamp>>,
    /// Every file that is named is among them: no name has a variable in it or leads to another machine.
    is_complete: bool,
}

impl Fingerprint {
    /// Looks at the files of the app in `dir`. Only names are read from them; what they mean is for Compose to say.
    pub(super) fn of(dir: &Path) -> Self {
        let mut names = Names { is_complete: true, ..Names::default() };
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in entries {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(".yaml") || name.ends_with(".yml") {
                names.follow(&path);
            } else if name.ends_with(".env") || name.starts_with(".env") || name == "manifest.json" {
                names.files.insert(path);
            }
        }
        names.follow_environment(dir);
        let files = names.files.into_iter().map(|path| {
            let stamp = Stamp::of(&path);
            (path, stamp)
        });
        Self { dir: dir.to_owned(), files: files.collect(), is_complete: names.is_complete }
    }

    /// That of an app of which nothing can be seen.
    pub(super) fn unseen(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), files: BTreeMap::new(), is_complete: false }
    }

    /// Returns whether every edit is seen.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns whether it is that of an app in this directory.
    pub fn is_of(&self, dir: &Path) -> bool {
        self.dir == dir
    }

    /// Returns whether each file is as it was. New files in the app's directory change the directory instead.
    pub(super) fn still_holds(&self) -> bool {
        self.files.iter().all(|(path, stamp)| Stamp::of(path) == *stamp)
    }

    /// When the last of the files was changed.
    pub(super) fn changed(&self) -> Option<i64> {
        self.files.values().flatten().map(|stamp| stamp.changed()).max()
    }
}

/// The files that are named, as they are found.
#[derive(Default)]
struct Names {
    files: BTreeSet<PathBuf>,
    documents: usize,
    is_complete: bool,
}

impl Names {
    /// Takes in a Compose file and what it names.
    fn follow(&mut self, path: &Path) {
        if !self.files.insert(path.to_owned()) {
            return;
        }
        self.documents += 1;
        let document = read_small(path).filter(|_| self.documents <= MAX_DOCUMENTS);
        let Some(document) = document.and_then(|text| serde_yaml::from_str::<Value>(&text).ok()) else {
            // One that is not there, or is no YAML yet, is seen when that changes.
            let is_too_large = std::fs::metadata(path).is_ok_and(|found| found.len() > MAX_FILE);
            self.is_complete &= self.documents <= MAX_DOCUMENTS && !is_too_large;
            return;
        };
        let dir = path.parent().unwrap_or(path);
        for file in env_files(&document) {
            if let Some(file) = self.local(dir, &file) {
                self.files.insert(file);
            }
        }
        let services = document.get("services").and_then(Value::as_mapping);
        let extended = services.into_iter().flat_map(|services| services.values());
        let extended = extended.filter_map(|service| service.get("extends")?.get("file")?.as_str());
        let mut further: Vec<String> = extended.map(str::to_owned).collect();
        for include in document.get("include").and_then(Value::as_sequence).into_iter().flatten() {
            further.extend(texts(include.get("path").unwrap_or(include)));
        }
        for file in further {
            if let Some(file) = self.local(dir, &file) {
                // Compose reads it beside a file that it includes.
                self.files.extend(file.parent().filter(|other| *other != dir).map(|other| other.join(".env")));
                self.follow(&file);
            }
        }
    }

    /// Takes in what the app's `.env` names.
    fn follow_environment(&mut self, dir: &Path) {
        let text = read_small(&dir.join(".env")).unwrap_or_default();
        for (key, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
            if !NAMING.contains(&key.trim()) {
                continue;
            }
            for file in value.trim().trim_matches(['"', '\'']).split([':', ',']) {
                match self.local(dir, file) {
                    Some(file) if key.trim() == NAMING[0] => self.follow(&file),
                    Some(file) => drop(self.files.insert(file)),
                    None => {}
                }
            }
        }
    }

    /// A file that is named in one of `dir`; `None` for a name that only Compose can make something of.
    fn local(&mut self, dir: &Path, name: &str) -> Option<PathBuf> {
        if name.contains('$') || name.contains(':') {
            self.is_complete = false;
            return None;
        }
        Some(dir.join(name))
    }
}

/// One text or several.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Sequence(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn every_file_that_is_named_counts() {
        let dir = dir(&[
            (
                "a/compose.yaml",
                "{include: [../shared/base.yaml, {path: [more.txt]}], services: {a: {extends: {file: ../b/c.conf, service: x}, env_file: [{path: a.list}]}}}",
            ),
            ("a/compose.override.yml", "services: {a: {image: x}}"),
            ("a/.env", "X=1\nCOMPOSE_FILE=compose.yaml:extra.txt\n"),
            ("shared/base.yaml", "{include: [deeper.yaml], services: {b: {env_file: b.list}}}"),
        ]);
        let app = dir.path().join("a");
        let before = Fingerprint::of(&app);
        assert!(before.is_complete());
        for file in [
            "a/compose.yaml",
            "a/compose.override.yml",
            "a/.env",
            "a/a.list",
            "a/more.txt",
            "a/extra.txt",
            "b/c.conf",
            "shared/base.yaml",
            "shared/deeper.yaml",
            "shared/b.list",
            "shared/.env",
            "b/.env",
        ] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let known = Fingerprint::of(&app);
            fs::write(&path, format!("{text}\n")).unwrap();
            assert!(!known.still_holds(), "{file}");
            assert_ne!(known, Fingerprint::of(&app), "{file}");
        }
        fs::write(app.join("data.db"), "").unwrap();
        assert!(Fingerprint::of(&app).still_holds());
    }

    #[test]
    fn a_name_that_only_compose_understands_is_no_complete_knowledge() {
        for text in [
            "include: ['${DIR}/base.yaml']",
            "include: ['oci://registry.test/base']",
            "services: {a: {env_file: $FILE}}",
            "services: {a: {extends: {file: '${DIR}/base.yaml', service: x}}}",
        ] {
            let dir = dir(&[("compose.yaml", text)]);
            assert!(!Fingerprint::of(dir.path()).is_complete(), "{text}");
        }
        let circle = dir(&[("compose.yaml", "include: [b.yaml]"), ("b.yaml", "include: [compose.yaml]")]);
        assert!(Fingerprint::of(circle.path()).is_complete());
    }
}
