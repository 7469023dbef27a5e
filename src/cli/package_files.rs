//! `restock package-files`: what a package ships besides the program, made from the command line's own definition.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;

/// Where each shell looks for completions of programs from packages.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "usr/share/bash-completion/completions/restock"),
    (Shell::Zsh, "usr/share/zsh/vendor-completions/_restock"),
    (Shell::Fish, "usr/share/fish/vendor_completions.d/restock.fish"),
];

/// Writes manual pages and completions below `root`, where a package has them.
pub fn write(root: &Path) -> ExitCode {
    match written(root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the files could not be written below {}: {error}", root.display());
            ExitCode::FAILURE
        }
    }
}

fn written(root: &Path) -> io::Result<()> {
    let pages = root.join("usr/share/man/man1");
    std::fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(Cli::command(), &pages)?;
    for (shell, path) in COMPLETIONS {
        let path = root.join(path);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "restock", &mut script);
        std::fs::write(path, script)?;
    }
    Ok(())
}
