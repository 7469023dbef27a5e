//! What real tools said, of every version there is a recording of (`fixtures/recorded`), read as Restock reads it.

mod compose;
mod engine;

use std::path::{Path, PathBuf};

use crate::world::repository;

fn recordings(folder: &str) -> PathBuf {
    repository("fixtures/recorded").join(folder)
}

/// The files of a folder with this ending, without it.
fn with_ending(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|known| known == ending)).collect();
    assert!(!found.is_empty(), "no recording in {}", folder.display());
    found.sort();
    found.into_iter().map(|path| path.with_extension("")).collect()
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}
