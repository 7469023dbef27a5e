//! The arrows between the folders of `src` run one way.

use std::path::{Path, PathBuf};

use crate::world::repository;

/// Each folder, and the ones that it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &["domain"]),
    ("adapters", &["adapters", "domain", "config"]),
    ("usecases", &["usecases", "adapters", "domain", "config", "error"]),
    ("views", &["views", "usecases", "adapters", "domain", "error"]),
    ("http", &["http", "views", "usecases", "adapters", "domain", "config", "error"]),
    ("cli", &["cli", "http", "views", "usecases", "adapters", "domain", "config", "error"]),
];

/// All source files below `dir`.
pub fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A file's lines without its comments and its unit tests.
pub fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// The folders that a file names with `crate::`, outside comments.
fn named(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = lines.flat_map(|line| line.split("crate::").skip(1));
    paths.map(|path| path.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()).collect()
}

#[test]
fn no_folder_names_one_that_builds_on_it() {
    let mut wrong = Vec::new();
    for (folder, allowed) in ARROWS {
        let mut sources = Vec::new();
        files(&repository("src").join(folder), &mut sources);
        assert!(!sources.is_empty(), "{folder}");
        for source in sources {
            let text = std::fs::read_to_string(&source).unwrap();
            let back = named(&text).into_iter().filter(|name| !name.is_empty() && !allowed.contains(&name.as_str()));
            wrong.extend(back.map(|name| format!("{} names `{name}`", source.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_look_at_a_file_finds_what_it_names() {
    let text = "use crate::http::serve;\n// crate::cli in a comment\nlet x = crate::domain::job::Kind::Up;";
    assert_eq!(named(text), ["http", "domain"]);
}
