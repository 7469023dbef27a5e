//! The engine's progress, passed on as it comes.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use super::upload::Upload;
use crate::adapters::engine::Carried;
use crate::adapters::task;

/// A message is a line of a few hundred bytes; what is longer is none, and is not held back.
const LONGEST_MESSAGE: usize = 1 << 20;

/// The messages of `body`, whole ones only; where the engine breaks off, an error as it would have told it is the last.
///
/// When the client goes away the engine is left at once. In either case `after` comes next, with the names that an archive
/// has brought, and then the stream ends.
pub fn messages<F>(
    body: Carried,
    upload: Upload,
    after: impl FnOnce(Vec<String>) -> F + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Infallible>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let relay = async move {
        let mut loaded = Vec::new();
        tokio::select! {
            () = pass_on(body, &upload, &sender, &mut loaded) => {}
            () = sender.closed() => {}
        }
        after(loaded).await;
    };
    task::spawn("relay", relay);
    ReceiverStream::new(receiver)
}

async fn pass_on(
    mut body: Carried,
    upload: &Upload,
    client: &mpsc::Sender<Result<Bytes, Infallible>>,
    loaded: &mut Vec<String>,
) {
    let mut begun = BytesMut::new();
    let rest = loop {
        match body.frame().await {
            Some(Ok(frame)) => begun.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Some(Err(error)) => {
                if let Some(failure) = upload.failure() {
                    break broken_off(&failure.message);
                }
                tracing::warn!(%error, "the engine broke off in the middle of an answer");
                break broken_off("the Docker engine broke off before it was done");
            }
            None => break begun.freeze(),
        }
        let whole = whole_messages(&mut begun);
        loaded.extend(whole.split(|byte| *byte == b'\n').filter_map(loaded_name));
        if !whole.is_empty() && client.send(Ok(whole)).await.is_err() {
            return;
        }
    };
    if !rest.is_empty() {
        // Whoever is gone does not miss the end.
        let _ = client.send(Ok(rest)).await;
    }
}

/// The engine tells each name of an archive in a message of its own.
fn loaded_name(message: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(message).ok()?;
    value["stream"].as_str()?.strip_prefix("Loaded image: ").map(|name| name.trim().to_owned())
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
fn broken_off(message: &str) -> Bytes {
    format!("{}\r\n", json!({ "errorDetail": { "message": message }, "error": message })).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_an_archive_are_read_from_their_messages() {
        assert_eq!(loaded_name(br#"{"stream":"Loaded image: a/b:1\n"}"#).as_deref(), Some("a/b:1"));
        for other in
            [&br#"{"stream":"Loaded image ID: sha256:12\n"}"#[..], br#"{"status":"Loading layer"}"#, b"\r", b"{"]
        {
            assert_eq!(loaded_name(other), None);
        }
    }

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
