//! Bodies that nobody wants to read to their end, because the request was refused or failed, are read all the same for a
//! while: a client that is still sending would see a broken connection, and not the answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use crate::adapters::task;

/// Long enough for an answer to be noticed. Clients that do, stop to send.
const LINGER: Duration = Duration::from_secs(10);

/// Sees to it that the request's body is not dropped half read.
pub async fn linger(request: Request, next: Next) -> Response {
    next.run(request.map(|body| if body.is_end_stream() { body } else { Body::new(Lingering(body)) })).await
}

struct Lingering(Body);

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.0).poll_frame(context);
        if matches!(polled, Poll::Ready(Some(Err(_)) | None)) {
            self.0 = Body::empty();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let mut rest = std::mem::take(&mut self.0);
        if rest.is_end_stream() {
            return;
        }
        task::spawn("reading a body to its end", async move {
            let drained = async { while let Some(Ok(_)) = rest.frame().await {} };
            // Whoever still sends after that long does not listen.
            let _ = tokio::time::timeout(LINGER, drained).await;
        });
    }
}
