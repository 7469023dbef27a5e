//! A POST of JSON to an address of the owner's choice, signed where there is a secret.

use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use url::Url;

use super::http::{client, send};
use super::{Message, NotDelivered};
use crate::config::Secret;
use crate::domain::notice::Notice;

/// `sha256=` and the HMAC-SHA256 of the body under the secret, in hexadecimal.
const SIGNATURE: &str = "X-Restock-Signature";

/// A generic webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub url: Url,
    pub secret: Option<Secret>,
}

impl Webhook {
    /// The notice with its rendered words and an `id` that is the same for each try.
    pub(super) async fn send(&self, id: &str, notice: &Notice, message: &Message) -> Result<(), NotDelivered> {
        let mut body = json!(notice);
        (body["id"], body["title"], body["body"]) =
            (id.into(), message.title.as_str().into(), message.body.as_str().into());
        let body = body.to_string();
        let mut request = client(&self.url)?.post(self.url.clone()).header("Content-Type", "application/json");
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE, format!("sha256={}", signature(secret, &body)?));
        }
        send(request.body(body)).await
    }
}

fn signature(secret: &Secret, body: &str) -> Result<String, NotDelivered> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
    let mut mac = mac.map_err(|_| NotDelivered("the secret cannot be used as a key".into()))?;
    mac.update(body.as_bytes());
    Ok(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        let signature = signature(&Secret::new("Jefe"), "what do ya want for nothing?").unwrap();
        assert_eq!(signature, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
