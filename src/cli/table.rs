//! Tables for people: no line is wider than the terminal, and what does not fit is cut, never wrapped within a word.

use std::sync::OnceLock;

/// Between two columns.
const GAP: usize = 2;
/// No column is cut to less, as long as another can be.
const NARROWEST: usize = 8;
/// Before a line that belongs to the row above it.
const INDENT: &str = "    ";

/// How wide lines may be where standard output is no terminal; see [`limit_to`].
static COLUMNS: OnceLock<usize> = OnceLock::new();

/// Limits the width of tables where standard output is no terminal.
pub fn limit_to(columns: usize) {
    // Once, at the start of the program.
    let _ = COLUMNS.set(columns);
}

/// Rows under a header, each with lines of its own about it.
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<(Vec<String>, Vec<String>)>,
}

impl Table {
    /// A table without rows.
    pub fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. A cell without a value is empty or a dash.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) -> &mut Self {
        // Labels of images may hold anything, and must not steer a terminal.
        self.rows.push((cells.map(|cell| cell.replace(char::is_control, " ")).to_vec(), Vec::new()));
        self
    }

    /// Adds a line about the last row, which has the width to itself.
    pub fn about(&mut self, text: &str) -> &mut Self {
        if let Some((_, lines)) = self.rows.last_mut() {
            lines.extend(text.lines().map(str::to_owned));
        }
        self
    }

    /// The lines, as wide as standard output allows; none without a row.
    pub fn lines(&self) -> Vec<String> {
        self.lines_within(width())
    }

    fn lines_within(&self, width: Option<usize>) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let columns: Vec<_> = (0..self.header.len()).filter(|column| self.says_something(*column)).collect();
        let mut widths: Vec<_> = columns.iter().map(|column| self.widest(*column)).collect();
        if let Some(width) = width {
            squeeze(&mut widths, width.saturating_sub(GAP * columns.len().saturating_sub(1)));
        }
        let line = |cells: &[&str]| {
            let cells = columns.iter().zip(&widths).map(|(column, width)| padded(cells[*column], *width));
            let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned();
            width.map_or(line.clone(), |width| cut(&line, width))
        };
        let mut lines = vec![line(&self.header)];
        for (cells, about) in &self.rows {
            lines.push(line(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
            for text in about {
                lines.extend(wrapped(text, width));
            }
        }
        lines
    }

    fn says_something(&self, column: usize) -> bool {
        self.rows.iter().any(|(cells, _)| !matches!(cells[column].as_str(), "" | "-"))
    }

    fn widest(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|(cells, _)| cells[column].chars().count());
        cells.chain([self.header[column].chars().count()]).max().unwrap_or_default()
    }
}

/// The terminal's width, else what somebody set.
fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    // Some terminals do not know their width, and say 0.
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).or_else(|| COLUMNS.get().copied())
}

/// Takes from the widest column until all fit, or none has anything left to give.
fn squeeze(widths: &mut [usize], room: usize) {
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => return,
        }
    }
}

fn padded(text: &str, width: usize) -> String {
    format!("{:width$}", cut(text, width))
}

/// The text, or its beginning and a sign that there is more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A text in lines that end between words; a word that is longer than a line is cut.
fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![format!("{INDENT}{text}")] };
    let mut lines = vec![INDENT.to_owned()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { continue };
        let begun = line.len() > INDENT.len();
        if begun && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(format!("{INDENT}{word}"));
        } else {
            *line += &format!("{}{word}", if begun { " " } else { "" });
        }
    }
    lines.iter().map(|line| cut(line, width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["APP", "STATE", "NEXT", "IMAGE"]);
        table.row([
            "photos".into(),
            "running".into(),
            "-".into(),
            "ghcr.io/home-assistant/home-assistant:stable".into(),
        ]);
        table.about("the registry cannot be reached: try again when it answers");
        table.row(["web".into(), "stopped".into(), String::new(), "web".into()]);
        table
    }

    #[test]
    fn a_column_that_nothing_fills_is_left_out() {
        let lines = table().lines_within(None);
        assert_eq!(lines[0], "APP     STATE    IMAGE");
        assert_eq!(lines[1], "photos  running  ghcr.io/home-assistant/home-assistant:stable");
        assert_eq!(lines[2], "    the registry cannot be reached: try again when it answers");
        assert_eq!(lines[3], "web     stopped  web");
        assert_eq!(Table::new(["APP"]).lines_within(None), [""; 0]);
    }

    #[test]
    fn no_line_is_wider_than_allowed() {
        let lines = table().lines_within(Some(40));
        assert_eq!(lines[1], "photos  running  ghcr.io/home-assistant…");
        assert_eq!(lines[2..4], ["    the registry cannot be reached: try", "    again when it answers"]);
        for width in 1..60 {
            for line in table().lines_within(Some(width)) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_cell_stays_on_its_line() {
        let mut table = Table::new(["APP"]);
        table.row(["a\nb".into()]);
        assert_eq!(table.lines_within(None), ["APP", "a b"]);
    }
}
