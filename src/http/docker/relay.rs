//! The engine's progress, passed on as it comes.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument;

/// A message is a line of a few hundred bytes; what is longer is none, and is not held back.
const LONGEST_MESSAGE: usize = 1 << 20;

/// The messages of `body`, whole ones only; where the engine breaks off, an error as it would have told it is the last.
///
/// When the client goes away the engine is left at once. In either case `after` comes next, and then the stream ends.
pub fn messages(
    body: Incoming,
    after: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let (sender, receiver) = mpsc::channel(1);
    let relay = async move {
        tokio::select! {
            () = pass_on(body, &sender) => {}
            () = sender.closed() => {}
        }
        after.await;
    };
    tokio::spawn(relay.in_current_span());
    ReceiverStream::new(receiver)
}

async fn pass_on(mut body: Incoming, client: &mpsc::Sender<Result<Bytes, Infallible>>) {
    let mut begun = BytesMut::new();
    let rest = loop {
        match body.frame().await {
            Some(Ok(frame)) => begun.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Some(Err(error)) => {
                tracing::warn!(%error, "the engine broke off in the middle of an answer");
                break broken_off();
            }
            None => break begun.freeze(),
        }
        let whole = whole_messages(&mut begun);
        if !whole.is_empty() && client.send(Ok(whole)).await.is_err() {
            return;
        }
    };
    if !rest.is_empty() {
        // Whoever is gone does not miss the end.
        let _ = client.send(Ok(rest)).await;
    }
}

/// Takes everything up to the last line end: the beginning of a message must not stand before an error.
fn whole_messages(begun: &mut BytesMut) -> Bytes {
    let end = match begun.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        None if begun.len() > LONGEST_MESSAGE => begun.len(),
        None => 0,
    };
    begun.split_to(end).freeze()
}

/// Clients look at either of the two members.
fn broken_off() -> Bytes {
    let message = "the Docker engine broke off before it was done";
    format!("{}\r\n", json!({ "errorDetail": { "message": message }, "error": message })).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_messages_are_passed_on() {
        let mut begun = BytesMut::from(&b"{\"a\":1}\r\n{\"b\":2}\r\n{\"c\""[..]);
        assert_eq!(whole_messages(&mut begun), "{\"a\":1}\r\n{\"b\":2}\r\n");
        assert_eq!(whole_messages(&mut begun), "");
        assert_eq!(begun, "{\"c\"");
        begun.resize(LONGEST_MESSAGE + 1, b'x');
        assert_eq!(whole_messages(&mut begun).len(), LONGEST_MESSAGE + 1);
    }
}
