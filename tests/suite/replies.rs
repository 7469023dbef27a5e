//! Replies that real tools gave, recorded with the commands beside them in `fixtures/recorded`.

use std::path::{Path, PathBuf};

use restock::adapters::compose::{Model, ProgressLine, PullProblem, parse_line, pull_problem};

/// Every recorded file below `folder` whose name begins and ends so.
fn recorded(folder: &str, prefix: &str, suffix: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recorded").join(folder);
    let mut folders = vec![root];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with(prefix) && name.ends_with(suffix) {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "nothing is recorded as {folder}/{prefix}…{suffix}");
    found
}

#[test]
fn every_recorded_model_is_a_project() {
    let mut projects = 0;
    for (path, text) in recorded("compose-2.40.3", "config-", ".stdout") {
        let model = Model::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!model.project.services.is_empty(), "{}", path.display());
        projects += 1;
    }
    assert!(projects > 1);
}

#[test]
fn every_recorded_line_of_progress_is_understood() {
    for folder in ["compose-2.40.3", "compose-5.x-derived"] {
        for (path, text) in recorded(folder, "", ".stderr") {
            let lines: Vec<_> = text.lines().map(parse_line).collect();
            let json = text.lines().all(|line| line.starts_with('{'));
            let events = lines.iter().filter(|line| matches!(line, ProgressLine::Event(_))).count();
            let name = path.file_name().unwrap().to_str().unwrap();
            if json && (name.starts_with("pull-") || name.starts_with("up-")) {
                assert!(events > 0, "{}", path.display());
            }
        }
    }
}

#[test]
fn the_reasons_of_recorded_failures_are_known() {
    for (path, text) in recorded("compose-2.40.3", "pull-", ".stderr") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let expected = match name {
            _ if name.contains("missing") => PullProblem::NoSuchImage,
            _ if name.contains("unreachable") => PullProblem::Unreachable,
            _ => continue,
        };
        assert_eq!(pull_problem(&text), expected, "{}", path.display());
    }
}
