//! What lets a request be followed: an ID, a span, and one line in the log.
//!
//! The line is written when the answer's last byte has been passed on or the client has gone, so that it has the bytes and
//! the duration of a stream (events, logs, an image's archive) as well. What supervisors and collectors ask all day long
//! is logged at `debug` while it succeeds: a probe every ten seconds would be most of the log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tracing::{Instrument, Span};

use super::auth::Caller;
use super::problem::shown;
use crate::adapters::task;

/// The header that has a request's ID, on the way in and on the way back.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// An ID of a client that is longer than this is replaced.
const LONGEST_ID: usize = 64;
/// What is asked again and again by machines.
const POLLED: [&str; 3] = ["/health", "/ready", "/metrics"];

/// Gives a request its ID and its span, and logs it.
pub async fn follow(request: Request, next: Next) -> Response {
    let id = id_of(request.headers());
    // A span of the level `error` is there whatever the log is filtered by; the connection's own says nothing.
    let span = tracing::error_span!(parent: None, "request", request_id = &*id);
    let mut line = Line {
        span: span.clone(),
        method: request.method().clone(),
        is_polled: POLLED.contains(&request.uri().path()),
        path: shown(request.uri().path()),
        client: Caller::address(request.extensions()),
        begun: Instant::now(),
        status: None,
        bytes: 0,
    };
    let mut response = task::for_request(id.clone(), next.run(request)).instrument(span).await;
    line.status = Some(response.status().as_u16());
    if let Some(Caller(client)) = response.extensions_mut().remove() {
        line.client = client;
    }
    // Cannot fail: an ID has only letters, digits and a few signs.
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response.map(|body| Body::new(Followed { body, line }))
}

/// The client's own ID where it is plain, else a new one.
fn id_of(headers: &HeaderMap) -> Arc<str> {
    let plain = |id: &&str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (1..=LONGEST_ID).contains(&id.len()) && id.chars().all(is_plain)
    };
    let own = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(plain);
    own.map_or_else(|| ulid::Ulid::new().to_string().into(), Arc::from)
}

/// An answer's body; the line is written when it ends.
struct Followed {
    body: Body,
    line: Line,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.line.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the log says about a request when it is over.
struct Line {
    span: Span,
    method: Method,
    path: String,
    is_polled: bool,
    /// Who asks, as far as that is known.
    client: String,
    begun: Instant,
    /// `None` when the client went away before there was an answer.
    status: Option<u16>,
    /// How much of the answer's body was passed on.
    bytes: u64,
}

impl Drop for Line {
    fn drop(&mut self) {
        let Self { span, method, path, is_polled, client, begun, status, bytes } = self;
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(parent: &*span, %method, path, status, bytes, duration_ms, client, "request")
            };
        }
        if *is_polled && status.is_some_and(|status| status < 400) { line!(debug) } else { line!(info) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_id_of_a_client_is_kept() {
        let id = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            id_of(&headers).to_string()
        };
        for kept in ["a", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "4bf92f35-77b3_4da6.a3", &"x".repeat(64)] {
            assert_eq!(id(kept), kept);
        }
        for replaced in ["", "a b", "a\tb", "ä", "a\"b", "{}", &"x".repeat(65)] {
            assert!(id(replaced).parse::<ulid::Ulid>().is_ok(), "{replaced}");
        }
    }
}
