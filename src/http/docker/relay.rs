//! The engine's progress, passed on as it comes.

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;

/// A message is a line of a few hundred bytes; what is longer is none, and is not held back.
const LONGEST_MESSAGE: usize = 1 << 20;

/// The messages of `body`, whole ones only; where the engine breaks off, an error as it would have told it is the last.
pub fn messages(body: Incoming) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
    futures_util::stream::unfold(Some((body, BytesMut::new())), |state| async move {
        let (mut body, mut begun) = state?;
        loop {
            match body.frame().await {
                Some(Ok(frame)) => {
                    begun.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
                    let whole = whole_messages(&mut begun);
                    if !whole.is_empty() {
                        return Some((Ok(whole), Some((body, begun))));
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "the engine broke off in the middle of an answer");
                    return Some((Ok(broken_off()), None));
                }
                None if begun.is_empty() => return None,
                None => return Some((Ok(begun.freeze()), None)),
            }
        }
    })
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
