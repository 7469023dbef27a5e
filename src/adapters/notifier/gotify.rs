//! Gotify: `POST /message` with an application's token.

use serde_json::json;
use url::Url;

use super::http::{client, send};
use super::{Message, NotDelivered};
use crate::config::Secret;

/// An application on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gotify {
    /// The server.
    pub url: Url,
    pub token: Secret,
    /// 0 to 10, as Gotify has it.
    pub priority: Option<u8>,
}

impl Gotify {
    pub(super) async fn send(&self, message: &Message) -> Result<(), NotDelivered> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/message", url.path().trim_end_matches('/')));
        let mut body = json!({ "title": message.title, "message": message.body });
        if let Some(priority) = self.priority {
            body["priority"] = priority.into();
        }
        let request = client(&url)?.post(url).header("Content-Type", "application/json");
        // In a header, not in the address: addresses get into the logs of servers and proxies.
        send(request.header("X-Gotify-Key", self.token.expose()).body(body.to_string())).await
    }
}
