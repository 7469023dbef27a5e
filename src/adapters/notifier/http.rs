//! Requests to receivers: no redirect is followed, every wait ends, and no address gets into a message.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use url::Url;

use super::NotDelivered;
use crate::adapters::registry::install_provider;

const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(15);

/// A client for one address: for http no authorities are needed, so it works where there are none; and no proxy on the
/// way to this machine.
pub(super) fn client(url: &Url) -> Result<Client, NotDelivered> {
    install_provider();
    let mut builder = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT).timeout(WHOLE);
    if url.scheme() == "http" {
        builder = builder.tls_certs_only([]);
    }
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| not_sent(&error))
}

/// Sends a request; whatever is not a success is a failure.
pub(super) async fn send(request: RequestBuilder) -> Result<(), NotDelivered> {
    let status = request.send().await.map_err(|error| not_sent(&error))?.status();
    if status.is_success() {
        return Ok(());
    }
    let redirect = if status.is_redirection() { "; redirects are not followed" } else { "" };
    Err(NotDelivered(format!("the receiver answered {status}{redirect}")))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The innermost reason says it best. Addresses stay out: people write tokens into them.
fn not_sent(error: &reqwest::Error) -> NotDelivered {
    if error.is_timeout() {
        return NotDelivered(format!("the receiver did not answer within {} s", WHOLE.as_secs()));
    }
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    let said = if std::ptr::addr_eq(std::ptr::from_ref(reason), std::ptr::from_ref(error)) {
        "the request could not be made".into()
    } else {
        reason.to_string()
    };
    NotDelivered(format!("the receiver could not be reached: {said}"))
}
