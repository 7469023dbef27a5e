//! The engine's events.
//!
//! Over the own wire: bollard's stream does not show when its answer has begun, and only what happens after that is
//! certain to be reported; and it ends at the first event with a word that it does not know.

use http_body_util::BodyExt;

use super::client::Engine;
use super::error::EngineError;
use super::parse;

/// Longer than any event: its labels are those of one container.
const MAX_EVENT: usize = 1 << 20;

/// The events after which a list of containers or images looks different. Those of `exec` are not among them: every
/// healthcheck is one.
const WATCHED: [&str; 19] = [
    "create",
    "start",
    "restart",
    "stop",
    "die",
    "destroy",
    "kill",
    "oom",
    "pause",
    "unpause",
    "rename",
    "update",
    "health_status",
    "pull",
    "push",
    "tag",
    "untag",
    "delete",
    "load",
];

/// What an event of an engine is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The engine is listened to from now on.
    Listening,
    Containers,
    /// Images, or something that is not understood.
    Images,
}

impl Engine {
    /// Calls `heard` when the engine is listened to, and then whenever containers or images have changed; ends only
    /// with an error.
    pub async fn watch(&self, mut heard: impl FnMut(News)) -> Result<(), EngineError> {
        let filter = serde_json::json!({"type": ["container", "image"], "event": WATCHED}).to_string();
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("filters", &filter).finish();
        let request = hyper::Request::get(format!("/events?{query}"));
        let request = request.body(bollard::body_full(bytes::Bytes::new()));
        let request =
            request.map_err(|error| EngineError::Protocol { what: "/events".into(), reason: error.to_string() })?;
        let response = self.wire.send(request).await?;
        if !response.status().is_success() {
            let message = "its events cannot be read".into();
            return Err(EngineError::Status { status: response.status().as_u16(), message });
        }
        let mut body = response.into_body();
        heard(News::Listening);
        let mut line = Vec::new();
        while let Some(frame) = body.frame().await {
            let gone = |error: hyper::Error| EngineError::Unreachable {
                host: self.wire.host().to_string(),
                reason: error.to_string(),
            };
            let data = frame.map_err(gone)?.into_data().unwrap_or_default();
            for part in data.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if part.ends_with(b"\n") || line.len() > MAX_EVENT {
                    heard(parse::news(&line));
                    line.clear();
                }
            }
        }
        Err(EngineError::Unreachable { host: self.wire.host().to_string(), reason: "its events ended".into() })
    }
}
