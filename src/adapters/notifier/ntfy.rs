//! ntfy: a JSON document to the server's root, which takes any letters (its headers do not).

use serde_json::json;
use url::Url;

use super::http::{client, send};
use super::{Message, NotDelivered};
use crate::config::Secret;

/// A topic on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ntfy {
    /// The server, without the topic.
    pub url: Url,
    pub topic: String,
    pub token: Option<Secret>,
    /// 1 to 5, as ntfy has it.
    pub priority: Option<u8>,
}

impl Ntfy {
    pub(super) async fn send(&self, message: &Message) -> Result<(), NotDelivered> {
        let mut body = json!({ "topic": self.topic, "title": message.title, "message": message.body });
        if let Some(priority) = self.priority {
            body["priority"] = priority.into();
        }
        let mut request = client(&self.url)?.post(self.url.clone()).header("Content-Type", "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        send(request.body(body.to_string())).await
    }
}
