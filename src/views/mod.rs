//! The shapes that clients see: the same for the API and for `--json`.

mod answers;
mod app;
mod codes;
mod events;
mod link;
mod problem;

pub use answers::{
    AppOutcome, AuthStatus, Check, CheckAnswer, Checks, ContainerFreshness, OneOutcome, Readiness, Toggled, Word,
};
pub use app::AppView;
pub use events::{AppsChangedEvent, ContainerEvent, HookEvent, ProgressEvent, ResyncEvent, StepEvent, WarningEvent};
pub use problem::Problem;
