//! The command line: one function a verb; tables and bars for people, JSON for programs.

mod apps;
mod args;
mod auto_update;
mod check;
mod exit;
mod history;
mod listen;
mod notify;
mod output;
mod package_files;
mod progress;
mod run;
mod serve;
mod signals;
mod start;
mod table;
mod update;
mod watch;
mod words;

pub use args::Cli;
