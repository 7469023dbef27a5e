//! The body of a request on its way to the engine, and who is to blame when it does not get there.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use super::refusal::refusal;
use crate::adapters::engine::EngineError;
use crate::error::{Error, Kind};

/// How much of an archive's end is held back: more than the zeros that end one, which is where a reader may stop.
const HELD: usize = 16 << 10;

/// Remembers why a client's body did not get to its end. Clones are of the same body.
#[derive(Debug, Clone, Default)]
pub struct Upload(Arc<OnceLock<Error>>);

impl Upload {
    /// The same body, watched. Its last bytes wait until `ready` is done: the engine gives an archive's names to its images
    /// when it has the whole archive, and no client that is slow to send it is waited for until then.
    pub fn watch<B, E, R>(
        &self,
        body: B,
        ready: R,
    ) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + use<B, E, R>
    where
        B: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: std::error::Error + Send + Sync + 'static,
        R: Future<Output = Result<(), Error>> + Send,
    {
        let failure = self.0.clone();
        let failed = move |error: Error| {
            let words = error.message.clone();
            failure.get_or_init(|| error);
            io::Error::other(words)
        };
        let begun = (body, Tail::default(), Some(Box::pin(ready)), failed);
        stream::try_unfold(begun, |(mut body, mut tail, mut ready, failed)| async move {
            loop {
                if let Some(chunk) = tail.spare(ready.is_none()) {
                    return Ok(Some((chunk, (body, tail, ready, failed))));
                }
                let Some(waiting) = &mut ready else { return Ok(None) };
                match body.next().await {
                    Some(Ok(chunk)) => tail.push(chunk),
                    Some(Err(_)) => return Err(failed(broken_off())),
                    None => {
                        waiting.await.map_err(&failed)?;
                        ready = None;
                    }
                }
            }
        })
    }

    /// Why the body did not get to its end, where that was not the engine's doing.
    pub fn failure(&self) -> Option<&Error> {
        self.0.get()
    }

    /// Why there is no answer: the engine gives none to half a body.
    pub fn blame(&self, error: EngineError) -> Error {
        self.failure().cloned().unwrap_or_else(|| error.into())
    }
}

fn broken_off() -> Error {
    refusal("the request's body broke off", Kind::Invalid)
}

/// The last chunks.
#[derive(Default)]
struct Tail {
    chunks: VecDeque<Bytes>,
    size: usize,
}

impl Tail {
    fn push(&mut self, chunk: Bytes) {
        self.size += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// The first chunk, if the rest is long enough without it or is wanted as well.
    fn spare(&mut self, all: bool) -> Option<Bytes> {
        let chunk = self.chunks.pop_front_if(|chunk| all || self.size - chunk.len() >= HELD)?;
        self.size -= chunk.len();
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;
    use tokio::sync::oneshot;

    use super::*;
    use crate::error::Code;

    fn chunks(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + Unpin {
        stream::iter(sizes.iter().map(|size| Ok(Bytes::from(vec![0; *size]))).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn the_end_of_a_body_waits_and_everything_before_it_does_not() {
        let (ready, waiting) = oneshot::channel::<()>();
        let upload = Upload::default();
        let body = upload.watch(chunks(&[50_000, 20_000, 512, 512]), async {
            waiting.await.unwrap();
            Ok(())
        });
        let mut body = std::pin::pin!(body);
        assert_eq!(body.next().await.unwrap().unwrap().len(), 50_000);
        assert!(futures_util::poll!(body.next()).is_pending());
        ready.send(()).unwrap();
        let rest: Vec<_> = body.map_ok(|chunk| chunk.len()).try_collect().await.unwrap();
        assert_eq!(rest, [20_000, 512, 512]);
        assert!(upload.failure().is_none());
    }

    #[tokio::test]
    async fn what_was_waited_for_in_vain_is_the_failure() {
        let upload = Upload::default();
        let busy = async { Err(Error::new(Code::Busy, "an update uses it")) };
        assert!(upload.watch(chunks(&[5]), busy).try_collect::<Vec<_>>().await.is_err());
        assert_eq!(upload.failure().unwrap().code, Code::Busy);
    }
}
