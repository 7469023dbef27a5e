//! How results and failures reach people and programs: results on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use super::exit;
use super::table::Table;
use super::words::word;
use crate::domain::container::Health;
use crate::domain::evidence::FailedContainer;
use crate::error::Error;
use crate::views::Problem;

/// Prints a line on standard output.
///
/// Unlike `println!` it does not panic when nobody reads any more (`restock history | head`, a terminal that was closed):
/// work that has begun must not break off because of it.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line on standard error; as [`say`].
pub fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a value as JSON on standard output.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => say(text),
        Err(error) => note(format_args!("error: the result could not be written as JSON: {error}")),
    }
}

/// Prints a table on standard output.
pub fn print(table: &Table) {
    table.lines().iter().for_each(say);
}

/// Tells every mistake in the configuration.
pub fn usage(mistakes: &[String]) -> ExitCode {
    mistakes.iter().for_each(|mistake| note(format_args!("error: {mistake}")));
    ExitCode::from(exit::USAGE)
}

/// Tells a failure, and gives the exit code for it.
pub fn failed(error: &Error, as_json: bool) -> ExitCode {
    let problem = Problem::from(error);
    if as_json {
        json(&problem);
    } else {
        tell(&problem, None);
    }
    ExitCode::from(exit::FAILED)
}

/// Tells a failure to a person; `about` says which of several apps it is about.
pub fn tell(problem: &Problem, about: Option<&str>) {
    lines(problem, about).iter().for_each(note);
}

fn lines(problem: &Problem, about: Option<&str>) -> Vec<String> {
    let about = about.map(|app| format!("{app}: ")).unwrap_or_default();
    let mut lines = vec![format!("error: {about}{}", problem.detail)];
    // Often the last words of a command are the whole message already.
    let said = problem.stderr.iter().filter(|said| !problem.detail.contains(said.as_str()));
    lines.extend(said.flat_map(|said| said.lines()).map(|line| format!("       {line}")));
    lines.extend(problem.containers.iter().flat_map(last_words));
    lines.extend(problem.hint.iter().map(|hint| format!("hint: {hint}")));
    lines
}

/// How a container that did not work ended, and what it wrote last.
fn last_words(failed: &FailedContainer) -> Vec<String> {
    let mut end = format!("{}: {}, exit code {}", failed.container, word(&failed.state), failed.exit_code);
    if failed.oom_killed {
        end += ", out of memory";
    }
    if failed.health != Health::None {
        end = format!("{end}, {}", word(&failed.health));
    }
    let health = failed.health_output.iter().flat_map(|output| output.lines());
    let health = health.map(|line| format!("  healthcheck: {}", printable(line)));
    let log = failed.log.iter().map(|line| format!("  | {}", printable(line)));
    let lines = [end].into_iter().chain(health).chain(log);
    lines.map(|line| format!("       {line}")).collect()
}

/// A container's own words must not steer a terminal.
fn printable(line: &str) -> String {
    let shown = |c: char| if c == '\t' || !c.is_control() { c } else { '\u{fffd}' };
    line.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::ServiceName;
    use crate::domain::container::ContainerState;
    use crate::error::Code;

    #[test]
    fn a_failure_is_told_with_what_to_do() {
        let error = Error::new(Code::Paused, "container web-1 is paused").hint("unpause it first");
        let expected = ["error: web: container web-1 is paused", "hint: unpause it first"];
        assert_eq!(lines(&Problem::from(&error), Some("web")), expected);
    }

    #[test]
    fn what_a_command_said_is_shown_once() {
        let mut problem = Problem::from(&Error::new(Code::PullFailed, "the pull failed: denied"));
        problem.stderr = Some("denied".into());
        assert_eq!(lines(&problem, None), ["error: the pull failed: denied"]);
        problem.stderr = Some("one\ndenied".into());
        assert_eq!(lines(&problem, None), ["error: the pull failed: denied", "       one", "       denied"]);
    }

    #[test]
    fn the_last_words_of_a_container_are_shown_and_do_not_steer_the_terminal() {
        let failed = FailedContainer {
            service: ServiceName::new("web"),
            container: "web-web-1".into(),
            state: ContainerState::Exited,
            exit_code: 137,
            oom_killed: true,
            health: Health::Unhealthy,
            health_output: Some("no\nanswer".into()),
            log: vec!["\u{1b}]0;title\u{7} bye\tnow".into()],
        };
        let error = Error::new(Code::RolledBack, "it failed").hint("look").containers(vec![failed]);
        let expected = [
            "error: it failed",
            "       web-web-1: exited, exit code 137, out of memory, unhealthy",
            "         healthcheck: no",
            "         healthcheck: answer",
            "         | \u{fffd}]0;title\u{fffd} bye\tnow",
            "hint: look",
        ];
        assert_eq!(lines(&Problem::from(&error), None), expected);
    }
}
