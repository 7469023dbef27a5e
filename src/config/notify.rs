//! The key `notify` of the file: who is told what, and how.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use serde_json::{Map, Value};
use url::Url;

use super::secret::Secret;
use super::sources::{NOTIFY, Sources};
use crate::adapters::notifier::{
    Channel, DEFAULT_BODY, DEFAULT_TITLE, Gotify, Mail, Ntfy, Program, Receiver, Security, Webhook, check,
};
use crate::domain::notice::Event;

const KINDS: &str = "webhook, ntfy, gotify, mail, command";
/// The server that everybody may use.
const NTFY: &str = "https://ntfy.sh";

/// The receivers that the file describes; each mistake names the place where it stands.
pub(super) fn receivers(sources: &mut Sources<'_>) -> Vec<Receiver> {
    let mut mistakes = Vec::new();
    let receivers = read(&sources.notify, &mut mistakes);
    let file = sources.file().to_owned();
    mistakes.into_iter().for_each(|mistake| sources.other_mistake(format!("{mistake} (in {file})")));
    receivers
}

fn read(value: &Value, mistakes: &mut Vec<String>) -> Vec<Receiver> {
    let values = match value {
        Value::Null => return Vec::new(),
        Value::Array(values) => values,
        _ => {
            mistakes.push(format!("{NOTIFY}: expected a list of receivers"));
            return Vec::new();
        }
    };
    let mut names = BTreeSet::new();
    let mut receivers = Vec::new();
    for (n, value) in values.iter().enumerate() {
        let place = format!("{NOTIFY}[{n}]");
        let Value::Object(keys) = value else {
            mistakes.push(format!("{place}: expected a mapping with `type` and what belongs to it"));
            continue;
        };
        let mut entry = Entry { place, keys: keys.clone(), mistakes };
        let Some(receiver) = entry.receiver(n) else { continue };
        if !names.insert(receiver.name.clone()) {
            entry.mistake("name", format_args!("`{}` is another receiver's name already", receiver.name));
        }
        receivers.push(receiver);
    }
    receivers
}

/// One receiver's keys; each is taken out when it is read, so that what is left is unknown.
struct Entry<'a> {
    place: String,
    keys: Map<String, Value>,
    mistakes: &'a mut Vec<String>,
}

impl Entry<'_> {
    fn receiver(&mut self, n: usize) -> Option<Receiver> {
        let kind = self.required("type", "one of ")?;
        let channel = match kind.as_str() {
            "webhook" => self.webhook(),
            "ntfy" => self.ntfy(),
            "gotify" => self.gotify(),
            "mail" => self.mail(),
            "command" => self.command(),
            other => {
                self.mistake("type", format_args!("`{other}`: valid are {KINDS}"));
                return None;
            }
        };
        let name = self.text("name").unwrap_or_else(|| format!("{kind}-{}", n + 1));
        let events = self.events();
        let title = self.template("title", DEFAULT_TITLE);
        let body = self.template("body", DEFAULT_BODY);
        for key in std::mem::take(&mut self.keys).keys() {
            self.mistake(key, format_args!("unknown key of a receiver of type {kind}"));
        }
        Some(Receiver { name, events, title, body, channel: channel? })
    }

    fn webhook(&mut self) -> Option<Channel> {
        let secret = self.secret("secret_file");
        Some(Channel::Webhook(Webhook { url: self.url("url", None)?, secret }))
    }

    fn ntfy(&mut self) -> Option<Channel> {
        let (url, topic) = (self.url("url", Some(NTFY)), self.required("topic", "a topic"));
        let (token, priority) = (self.secret("token_file"), self.number("priority", 1, 5));
        Some(Channel::Ntfy(Ntfy { url: url?, topic: topic?, token, priority }))
    }

    fn gotify(&mut self) -> Option<Channel> {
        let (url, priority) = (self.url("url", None), self.number("priority", 0, 10));
        if !self.keys.contains_key("token_file") {
            self.mistake("token_file", "expected the file that holds the application's token");
        }
        Some(Channel::Gotify(Gotify { token: self.secret("token_file")?, url: url?, priority }))
    }

    fn mail(&mut self) -> Option<Channel> {
        let host = self.required("host", "the name of a mail server");
        let security = match self.text("security").as_deref() {
            None | Some("starttls") => Security::StartTls,
            Some("tls") => Security::Tls,
            Some("none") => Security::Plain,
            Some(other) => {
                self.mistake("security", format_args!("`{other}`: valid are starttls, tls, none"));
                Security::StartTls
            }
        };
        let port = self.number("port", 1, u16::MAX).unwrap_or(security.port());
        let (user, password) = (self.text("user"), self.secret("password_file"));
        if user.is_some() != password.is_some() {
            self.mistake("user", "user and password_file belong together");
        }
        let from = self.required("from", "an address").and_then(|text| self.parsed("from", &text));
        let addresses = self.texts("to", "an address, or a list of them");
        let to: Vec<_> = addresses.iter().filter_map(|text| self.parsed("to", text)).collect();
        Some(Channel::Mail(Mail { host: host?, port, security, login: user.zip(password), from: from?, to }))
    }

    fn command(&mut self) -> Option<Channel> {
        let argv = self.texts("command", "a program and its arguments");
        let program = Program::new(argv);
        if program.is_none() {
            self.mistake("command", "expected a program and arguments, with {title} or {body} in one of them");
        }
        program.map(Channel::Program)
    }

    fn events(&mut self) -> BTreeSet<Event> {
        if !self.keys.contains_key("events") {
            return Event::CHOICES.into();
        }
        let words = self.texts("events", "a list of events");
        words.iter().filter_map(|word| self.parsed("events", word)).collect()
    }

    fn template(&mut self, key: &str, default: &str) -> String {
        let template = self.text(key).unwrap_or_else(|| default.to_owned());
        if let Err(problem) = check(&template) {
            self.mistake(key, problem);
        }
        template
    }

    fn url(&mut self, key: &str, default: Option<&str>) -> Option<Url> {
        let text = match (self.text(key), default) {
            (Some(text), _) => text,
            (None, Some(default)) => default.to_owned(),
            (None, None) => {
                self.mistake(key, "expected an address such as https://host/path");
                return None;
            }
        };
        let url = text.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            // Not the address itself: it may hold a token.
            self.mistake(key, "is no address of the form http://… or https://…");
        }
        url
    }

    /// The first line of a file.
    fn secret(&mut self, key: &str) -> Option<Secret> {
        let path = self.text(key)?;
        match std::fs::read_to_string(Path::new(&path)) {
            Ok(text) if !text.trim().is_empty() => Some(Secret::new(text.lines().next().unwrap_or_default().trim())),
            Ok(_) => {
                self.mistake(key, format_args!("`{path}` is empty"));
                None
            }
            Err(error) => {
                self.mistake(key, format_args!("`{path}` cannot be read: {error}"));
                None
            }
        }
    }

    fn number<T: TryFrom<u64> + Into<u64> + Copy>(&mut self, key: &str, least: T, most: T) -> Option<T> {
        let value = self.keys.remove(key)?;
        let (low, high) = (least.into(), most.into());
        let number =
            value.as_u64().filter(|number| (low..=high).contains(number)).and_then(|number| number.try_into().ok());
        if number.is_none() {
            self.mistake(key, format_args!("expected a number from {low} to {high}"));
        }
        number
    }

    fn required(&mut self, key: &str, what: &str) -> Option<String> {
        if !self.keys.contains_key(key) {
            let what = if key == "type" { format!("{what}{KINDS}") } else { what.to_owned() };
            self.mistake(key, format_args!("expected {what}"));
        }
        self.text(key)
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.keys.remove(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            _ => {
                self.mistake(key, "expected a text");
                None
            }
        }
    }

    /// At least one text.
    fn texts(&mut self, key: &str, what: &str) -> Vec<String> {
        let values = match self.keys.remove(key) {
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
            None => Vec::new(),
        };
        let texts: Option<Vec<_>> = values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        let texts = texts.filter(|texts| !texts.is_empty());
        if texts.is_none() {
            self.mistake(key, format_args!("expected {what}"));
        }
        texts.unwrap_or_default()
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error| self.mistake(key, format_args!("`{text}`: {error}"))).ok()
    }

    fn mistake(&mut self, key: &str, problem: impl Display) {
        self.mistakes.push(format!("{}.{key}: {problem}", self.place));
    }
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
