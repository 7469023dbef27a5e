//! The help texts, as people see them. They are a contract: a change is to be seen in a review.

use super::definition;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/help.txt");
/// Set, it writes the golden file anew.
const UPDATE: &str = "RESTOCK_UPDATE_GOLDEN";

/// The help of the program and of each command.
fn help() -> String {
    let mut cli = definition().term_width(100);
    let mut text = format!("$ restock --help\n{}", cli.render_help());
    for command in cli.get_subcommands_mut() {
        let name = command.get_name().to_owned();
        let own = command.render_help();
        text += &format!("\n$ restock {name} --help\n{own}");
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how a person asks for the file to be written anew")]
fn the_help_is_as_it_was_agreed_on() {
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(GOLDEN, help()).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(help() == golden, "{GOLDEN} differs; {UPDATE}=1 cargo test --lib help_tests writes it anew:\n{}", help());
}
