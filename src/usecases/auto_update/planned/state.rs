//! What this process has planned.

use std::sync::{Mutex, PoisonError};

use crate::adapters::store::ScheduleRow;

/// What this process has planned; nothing in one that does not serve.
#[derive(Default)]
pub struct Planned(Mutex<Option<Vec<ScheduleRow>>>);

impl Planned {
    pub(in crate::usecases) fn set(&self, rows: impl Iterator<Item = ScheduleRow>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows.collect());
    }

    pub(in crate::usecases) fn rows(&self) -> Option<Vec<ScheduleRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
