//! What Compose's words about a failure mean, and how they are shown.

use super::progress::{ProgressLine, parse_line};
use crate::domain::failure::Code;

/// Values shorter than this are words of every message; replacing them would hide the message and no secret.
const SHORTEST_SECRET: usize = 3;
const MASK: &str = "***";

/// Takes values of a project's variables out of texts that people and logs get to see.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// `secrets` are masked wherever they stand, but for those that are part of one of the `public` texts (image
    /// references, names), without which no message could be understood.
    pub fn new(secrets: impl IntoIterator<Item = String>, public: &[&str]) -> Self {
        let needed = |secret: &String| public.iter().any(|text| text.contains(secret.as_str()));
        let secrets = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_SECRET && !needed(secret));
        let mut secrets: Vec<_> = secrets.flat_map(|secret| [quoted(&secret), printable(&secret), secret]).collect();
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        // The longest first: one value may contain another.
        secrets.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        secrets.dedup();
        Self { secrets }
    }

    /// The text without secrets, without the user part of URLs, and without what would drive a terminal.
    pub fn clean(&self, text: &str) -> String {
        let masked = self.secrets.iter().fold(printable(text), |text, secret| text.replace(secret, MASK));
        without_userinfo(&masked)
    }
}

/// A text as Go's `%q` prints it, without the quotes around it: so Compose names values in many of its errors.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted
}

/// A text without the control characters that a terminal would obey, and without the rest of the sequences they begin.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => printable.push(c),
            // ECMA-48: parameters and intermediates, and then the one that ends the sequence.
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                chars.next_if(|c| matches!(c, '@'..='~'));
            }
            c if c.is_control() => {}
            c => printable.push(c),
        }
    }
    printable
}

/// `https://user:password@host` becomes `https://***@host`.
fn without_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        clean.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'')).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                clean.push_str(MASK);
                &after[at..]
            }
            None => after,
        };
    }
    clean + rest
}

/// Standard error as a person would have seen it: the messages out of JSON lines, each once.
pub fn readable(stderr: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in stderr.lines() {
        let said = match parse_line(line) {
            ProgressLine::Error(message) | ProgressLine::Note(message) => message,
            ProgressLine::Event(progress) if progress.failed => progress.status,
            ProgressLine::Event(_) => continue,
        };
        if !said.is_empty() && !lines.contains(&said) {
            lines.push(said);
        }
    }
    lines.join("\n")
}

/// Why a pull failed, as far as its words tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullProblem {
    Credentials,
    NoSuchImage,
    Unreachable,
    RateLimited,
    Platform,
    DiskFull,
    EngineGone,
    Other,
}

impl PullProblem {
    /// Its code, for programs.
    pub fn code(self) -> Code {
        match self {
            Self::Credentials => Code::RegistryUnauthorized,
            Self::NoSuchImage => Code::NoSuchImage,
            Self::Unreachable => Code::RegistryUnreachable,
            Self::RateLimited => Code::RegistryRateLimited,
            Self::Platform => Code::NoSuchPlatform,
            Self::DiskFull => Code::DiskFull,
            Self::EngineGone => Code::EngineUnreachable,
            Self::Other => Code::PullFailed,
        }
    }

    /// What a person can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Credentials => "check the name of the image, and log in to its registry with `docker login`",
            Self::NoSuchImage => "check the image and its tag in the Compose file",
            Self::Unreachable => "check that the registry is up and can be reached from this machine",
            Self::RateLimited => "wait for the registry's limit to pass, or log in to get a higher one",
            Self::Platform => "the image is not made for this machine's platform",
            Self::DiskFull => "free some space on the engine's disk",
            Self::EngineGone => "start the Docker engine",
            Self::Other => "see what Docker said",
        }
    }
}

/// Reads the reason out of what `docker compose pull` said. Wordings of Engine 20.10 to 29 and of the containerd store.
pub fn pull_problem(stderr: &str) -> PullProblem {
    let said = stderr.to_ascii_lowercase();
    let table: [(PullProblem, &[&str]); 7] = [
        (
            PullProblem::EngineGone,
            // The last three are how Docker's client writes the address of the engine itself, whose request failed.
            &[
                "cannot connect to the docker daemon",
                "is the docker daemon running",
                "http://%2f",
                "http://docker.example.com",
                "http://api.moby.localhost",
            ],
        ),
        (PullProblem::RateLimited, &["toomanyrequests", "too many requests", "rate limit"]),
        (PullProblem::DiskFull, &["no space left on device"]),
        (
            PullProblem::Platform,
            &["no matching manifest", "no match for platform", "does not provide the specified platform"],
        ),
        (
            PullProblem::Credentials,
            &["unauthorized", "no basic auth credentials", "denied", "authentication required", "authorization failed"],
        ),
        (PullProblem::NoSuchImage, &["manifest unknown", "not found", "name unknown", "does not exist"]),
        (
            PullProblem::Unreachable,
            &[
                "connection refused",
                "no such host",
                "timeout",
                "i/o timeout",
                "dial tcp",
                "unexpected eof",
                ": eof",
                "x509",
                "tls:",
                "network is unreachable",
            ],
        ),
    ];
    let found = table.into_iter().find(|(_, words)| words.iter().any(|word| said.contains(word)));
    found.map_or(PullProblem::Other, |(problem, _)| problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_as_go_prints_them_as_well() {
        let redactor = Redactor::new(["pa\"ss\\word".to_owned(), "one\ntwo\u{7f}".to_owned()], &[]);
        assert_eq!(redactor.clean(r#"invalid value "pa\"ss\\word" for X"#), r#"invalid value "***" for X"#);
        assert_eq!(redactor.clean(r#"pa"ss\word, "one\ntwo\x7f""#), r#"***, "***""#);
        assert_eq!(redactor.clean("one\ntwo\u{7f}!"), "***!");
    }

    #[test]
    fn nothing_drives_a_terminal() {
        let clean = |text| Redactor::default().clean(text);
        assert_eq!(clean("\u{1b}[1;31mred\u{1b}[0m\u{7} a\tb\nc\r\u{9b}2J"), "red a\tb\nc2J");
        assert_eq!(clean("\u{1b}]0;title\u{7}x\u{1b}"), "]0;titlex");
        let redactor = Redactor::new(["secret".to_owned()], &[]);
        assert_eq!(redactor.clean("sec\u{1b}[0mret"), "***");
    }

    #[test]
    fn secrets_and_userinfo_go_and_image_names_stay() {
        let secrets = ["hunter2", "latest", "x", "hunter2-long"].map(str::to_owned);
        let redactor = Redactor::new(secrets, &["host/web:latest"]);
        let text = "bad hunter2-long, hunter2 in host/web:latest from https://me:pw@host/v2 and http://plain/x";
        assert_eq!(redactor.clean(text), "bad ***, *** in host/web:latest from https://***@host/v2 and http://plain/x");
    }

    #[test]
    fn json_lines_become_sentences() {
        let stderr = "{\"id\":\"web\",\"text\":\"Pulling\"}\n{\"id\":\"web\",\"text\":\"Error\",\"status\":\"manifest unknown\"}\n\
                      {\"error\":true,\"message\":\"manifest unknown\"}\nmanifest unknown";
        assert_eq!(readable(stderr), "manifest unknown");
    }

    #[test]
    fn reasons_are_told_apart() {
        for (said, problem) in [
            ("Error response from daemon: manifest for x:1 not found: manifest unknown", PullProblem::NoSuchImage),
            ("Head \"https://h/v2/\": no basic auth credentials", PullProblem::Credentials),
            ("dial tcp 127.0.0.1:1: connect: connection refused", PullProblem::Unreachable),
            (
                "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
                PullProblem::EngineGone,
            ),
            ("Post \"http://%2Frun%2Fdocker.sock/v1.51/images/create?x=y\": EOF", PullProblem::EngineGone),
            ("no matching manifest for linux/amd64 in the manifest list entries", PullProblem::Platform),
            ("toomanyrequests: You have reached your pull rate limit", PullProblem::RateLimited),
            ("something else", PullProblem::Other),
        ] {
            assert_eq!(pull_problem(said), problem, "{said}");
        }
    }
}
