//! How results and failures reach people and programs.

use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::domain::job::{Job, OneOrMany, Outcome, ServiceChange};
use crate::error::Error;
use crate::views::Problem;

/// Wrong usage.
const USAGE: u8 = 2;
/// The update failed, and what ran before runs again.
pub const ROLLED_BACK: u8 = 3;
/// Enough of an image ID to tell two apart; the Docker CLI shows as much.
const SHORT: usize = 12;

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

/// `1.2 → 1.3` where the images carry versions, else the short IDs.
pub fn from_to(change: &ServiceChange) -> String {
    let (from, to) = match (&change.version_from, &change.version_to) {
        (Some(from), Some(to)) if from != to => (from.clone(), to.clone()),
        _ => (short_from(change), short(&change.to)),
    };
    format!("{from} → {to}")
}

fn short_from(change: &ServiceChange) -> String {
    match &change.from {
        OneOrMany::One(id) => short(id.as_str()),
        OneOrMany::Many(ids) => ids.iter().map(|id| short(id.as_str())).collect::<Vec<_>>().join("+"),
    }
}

/// An ID or digest without its algorithm, shortened.
pub fn short(id: &str) -> String {
    id.rsplit(':').next().unwrap_or(id).chars().take(SHORT).collect()
}

/// A time as people read it.
pub fn time(at: jiff::Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A duration as people read it.
pub fn seconds(milliseconds: u64) -> String {
    format!("{:.1} s", std::time::Duration::from_millis(milliseconds).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_shown_where_there_are_some_and_ids_elsewhere() {
        let mut change = ServiceChange {
            service: crate::domain::app::ServiceName::new("web"),
            from: OneOrMany::One(crate::domain::image::ImageId::new(format!("sha256:{}", "ab".repeat(32)))),
            to: format!("sha256:{}", "cd".repeat(32)),
            tag: "web".into(),
            version_from: None,
            version_to: None,
            source: None,
        };
        assert_eq!(from_to(&change), "abababababab → cdcdcdcdcdcd");
        (change.version_from, change.version_to) = (Some("1".into()), Some("2".into()));
        assert_eq!(from_to(&change), "1 → 2");
    }
}
