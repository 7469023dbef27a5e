//! A program of the owner's choice, such as `apprise`, that gets the words as arguments.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Message, NotDelivered};
use crate::adapters::command::{Command, CommandError};

const DEADLINE: Duration = Duration::from_secs(30);
/// What stands for the words in an argument.
const TITLE: &str = "{title}";
const BODY: &str = "{body}";

/// A program and its arguments; `{title}` and `{body}` in them are replaced. No shell reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    argv: Vec<String>,
}

impl Program {
    /// `None` for a command that is empty or would not be told anything.
    pub fn new(argv: Vec<String>) -> Option<Self> {
        let (program, args) = argv.split_first()?;
        let told = args.iter().any(|arg| arg.contains(TITLE) || arg.contains(BODY));
        (!program.is_empty() && told).then_some(Self { argv })
    }

    pub(super) async fn run(
        &self,
        message: &Message,
        environment: &BTreeMap<OsString, OsString>,
    ) -> Result<(), NotDelivered> {
        let (program, args) = self.argv.split_first().map_or(("", [].as_slice()), |(program, args)| (program, args));
        let args = args.iter().map(|arg| fill(arg, message));
        let command = Command::new(program, environment).args(args);
        let ran = command.run_lines(DEADLINE, &CancellationToken::new(), |_| {}).await;
        // Neither the arguments nor what it printed: both may hold the addresses and tokens it was given.
        ran.map_err(|error| {
            NotDelivered(match error {
                CommandError::NotFound { .. } => format!("`{program}` was not found"),
                CommandError::Exit { code, .. } => format!("`{program}` exited with {code}"),
                CommandError::Signal { signal, .. } => format!("`{program}` was ended by signal {signal}"),
                CommandError::Timeout { .. } => format!("`{program}` did not end within {} s", DEADLINE.as_secs()),
                _ => format!("`{program}` could not be run"),
            })
        })
    }
}

/// What is filled in is not looked at again: a body may talk of `{title}`.
fn fill(arg: &str, message: &Message) -> String {
    let titled = arg.split(TITLE).map(|part| part.replace(BODY, &message.body));
    titled.collect::<Vec<_>>().join(&message.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_filled_in_once_and_read_by_no_shell() {
        let message = Message { title: "a {body} $(b)".into(), body: "c {title} `d`".into() };
        assert_eq!(fill("--x={title}/{body}/{title}", &message), "--x=a {body} $(b)/c {title} `d`/a {body} $(b)");
    }

    #[test]
    fn a_command_has_to_be_told_something() {
        let new = |argv: &[&str]| Program::new(argv.iter().map(ToString::to_string).collect());
        assert!(new(&["apprise", "-b", "{body}"]).is_some());
        assert!(new(&[]).is_none() && new(&["true"]).is_none() && new(&["", "{body}"]).is_none());
    }
}
