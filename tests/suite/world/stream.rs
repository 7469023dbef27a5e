//! Server-sent events, read as a browser would.

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use serde_json::Value;

use super::soon;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: Option<u64>,
    pub event: String,
    pub data: Value,
}

/// A stream of them.
pub struct Events {
    body: BodyDataStream,
    unread: String,
}

impl Events {
    pub(super) fn new(body: BodyDataStream) -> Self {
        Self { body, unread: String::new() }
    }

    /// The next event, or `None` at the end of the stream. Comments, which keep a connection alive, are no event.
    pub async fn next(&mut self) -> Option<Event> {
        soon("an event", self.read_event()).await
    }

    async fn read_event(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let event = parse(block);
                self.unread = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let chunk = self.body.next().await?.unwrap();
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// All events to the end of the stream.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// The next event that is called `name`.
    pub async fn next_called(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended without `{name}`"));
            if event.event == name {
                return event;
            }
        }
    }
}

/// `None` for a comment, which keeps the connection alive.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Event {
        id: field("id").map(|id| id.parse().unwrap()),
        event: field("event")?.to_owned(),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}
