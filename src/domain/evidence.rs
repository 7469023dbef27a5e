//! What a container that did not work said and did: kept before it is taken back, when it is gone with its logs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::ServiceName;
use super::container::{ContainerState, Health};

/// How many of a container's last lines are kept.
pub const LINES: usize = 50;
/// How many bytes they have at most, together.
pub const BYTES: usize = 16 << 10;

/// A container that did not prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedContainer {
    pub service: ServiceName,
    pub container: String,
    pub state: ContainerState,
    /// Of its last run; 0 while it runs.
    pub exit_code: i64,
    /// The kernel ended it because it needed more memory than it may have.
    pub oom_killed: bool,
    pub health: Health,
    /// What its healthcheck printed last.
    pub health_output: Option<String>,
    /// The last lines that it wrote, oldest first, as it wrote them: at most 50, and 16 KiB together.
    pub log: Vec<String>,
}

/// The last lines of `text`, as many as [`LINES`] and [`BYTES`] allow. Of a last line that is longer by itself the end
/// stays.
pub fn last_lines(text: &str) -> Vec<String> {
    let mut left = BYTES;
    let mut lines = Vec::new();
    for line in text.lines().rev().take(LINES) {
        if line.len() > left && !lines.is_empty() {
            break;
        }
        let kept = end_of(line, left);
        left -= kept.len();
        lines.push(kept.to_owned());
        if kept.len() < line.len() {
            // What came before a line that was cut would read as if it belonged to it.
            break;
        }
    }
    lines.reverse();
    lines
}

/// The last letters of `text` that fit into so many bytes.
fn end_of(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let many: String = (0..200).map(|n| format!("line {n}\r\n")).collect();
        let lines = last_lines(&many);
        assert_eq!((lines.len(), lines[0].as_str(), lines[49].as_str()), (LINES, "line 150", "line 199"));
        assert!(last_lines("").is_empty());
    }

    #[test]
    fn long_lines_are_bounded_together() {
        let long = format!("first\n{}\n{}end", "a".repeat(BYTES - 10), "ä".repeat(BYTES));
        let lines = last_lines(&long);
        assert!(lines.len() == 1 && lines[0].ends_with("äend"), "{}", lines.len());
        assert!(lines[0].len() <= BYTES && lines[0].len() > BYTES - 4);
        assert_eq!(last_lines(&format!("{}\nlast", "a".repeat(BYTES))), ["last"]);
    }
}
