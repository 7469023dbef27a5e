//! How results and failures reach people and programs.

use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::domain::job::{Job, Outcome};
use crate::error::Error;
use crate::views::Problem;

/// Wrong usage.
const USAGE: u8 = 2;
/// The update failed, and what ran before runs again.
pub const ROLLED_BACK: u8 = 3;

/// Prints a value as JSON on standard output.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("error: the result could not be written as JSON: {error}"),
    }
}

/// A table without lines, as wide as the terminal.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}

/// Prints a table on standard output.
pub fn print(table: &Table) {
    for line in table.lines() {
        println!("{}", line.trim_end());
    }
}

/// Tells every mistake in the configuration.
pub fn usage(mistakes: &[String]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("error: {mistake}");
    }
    ExitCode::from(USAGE)
}

/// Tells a failure, and gives the exit code for it.
pub fn failed(error: &Error, as_json: bool) -> ExitCode {
    tell(&Problem::from(error), as_json);
    ExitCode::FAILURE
}

/// Tells a failure.
pub fn tell(problem: &Problem, as_json: bool) {
    if as_json {
        return json(problem);
    }
    eprintln!("error: {}", problem.detail);
    if let Some(stderr) = problem.stderr.as_ref().filter(|stderr| !problem.detail.contains(stderr.as_str())) {
        stderr.lines().for_each(|line| eprintln!("       {line}"));
    }
    if let Some(hint) = &problem.hint {
        eprintln!("hint: {hint}");
    }
}

/// The exit code for several jobs: a failure outweighs a rollback, a rollback outweighs success.
pub fn exit_code<'a>(jobs: impl IntoIterator<Item = Result<&'a Job, ()>>) -> ExitCode {
    let code = |job: Result<&Job, ()>| match job {
        Err(()) => 1,
        Ok(job) if job.error.is_none() => 0,
        Ok(job) if job.outcome == Some(Outcome::RolledBack) => ROLLED_BACK,
        Ok(_) => 1,
    };
    let codes: Vec<u8> = jobs.into_iter().map(code).collect();
    let worst = if codes.contains(&1) { 1 } else { codes.into_iter().max().unwrap_or_default() };
    ExitCode::from(worst)
}

/// A time as people read it.
pub fn time(at: jiff::Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A duration as people read it.
pub fn seconds(milliseconds: u64) -> String {
    format!("{:.1} s", std::time::Duration::from_millis(milliseconds).as_secs_f64())
}
