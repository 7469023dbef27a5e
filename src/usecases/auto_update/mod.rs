//! What happens by itself: one pass over everything that a policy marks, when it is due, and what is held back from it.
//!
//! Start reading in `pass`.

mod apply;
mod found;
mod hold;
mod mark;
mod options;
mod pass;
mod planned;
mod schedule;

pub use hold::Skipping;
pub use options::{PassOptions, Scope};
pub(super) use planned::Planned;
pub use planned::ScheduleView;
