//! The body of a request on its way to the engine, and who is to blame when it does not get there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, TryStreamExt};

use super::table::refusal;
use crate::adapters::engine::EngineError;
use crate::error::{Error, Kind};

/// Remembers whether the client's body broke off. Clones are of the same body.
#[derive(Debug, Clone, Default)]
pub struct Upload(Arc<AtomicBool>);

impl Upload {
    /// The same body, watched.
    pub fn watch<S, T, E>(&self, body: S) -> impl Stream<Item = Result<T, E>> + use<S, T, E>
    where
        S: Stream<Item = Result<T, E>>,
    {
        let broken = self.0.clone();
        body.inspect_err(move |_| broken.store(true, Ordering::Release))
    }

    /// Whether the client's own body is why the engine did not get to an end.
    pub fn is_broken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Why there is no answer: the engine gives none to half a body.
    pub fn blame(&self, error: EngineError) -> Error {
        if self.is_broken() { refusal("the request's body broke off", Kind::Invalid) } else { error.into() }
    }
}
