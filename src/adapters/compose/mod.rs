//! `docker compose`: where it is, its verbs, and what its replies mean.
//!
//! Nothing of Compose is re-implemented: what a project contains is what `docker compose config` says.

mod failure;
mod hooks;
mod locate;
mod model;
mod progress;
mod value;
mod verbs;

pub use failure::{PullProblem, Redactor, pull_problem, readable};
pub use locate::{LocateError, Locator};
pub use model::Model;
pub use progress::{Progress, ProgressLine, Topic, parse_line};
pub use verbs::{Compose, ConfigError, ProjectCall};
