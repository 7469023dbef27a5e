//! What names under change have meant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::domain::image::ImageId;

/// What a name meant, and means now.
pub(in crate::usecases) type Change = (Option<ImageId>, Option<ImageId>);

/// What the names under change have meant last. Of several changes of one name at once, each difference is recorded once:
/// by the change that ended first after it came to be.
#[derive(Default)]
pub struct Meanings(Mutex<HashMap<String, Arc<Meaning>>>);

#[derive(Default)]
pub(super) struct Meaning {
    pub(super) before: OnceCell<Option<ImageId>>,
    /// What it was found to mean after a change.
    pub(super) after: Mutex<Option<Option<ImageId>>>,
}

impl Meanings {
    pub(super) fn of(&self, name: &str) -> Arc<Meaning> {
        let mut meanings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that no change holds any more go.
        meanings.retain(|_, meaning| Arc::strong_count(meaning) > 1);
        meanings.entry(name.to_owned()).or_default().clone()
    }
}

impl Meaning {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Option<ImageId>>> {
        self.after.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is new about the meaning that was found.
    pub(super) fn found(&self, now: Option<ImageId>) -> Option<Change> {
        let last = self.lock().replace(now.clone()).unwrap_or_else(|| self.before.get().cloned().flatten());
        (last != now).then_some((last, now))
    }
}
