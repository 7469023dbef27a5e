//! The shapes that clients see: the same for the API and for `--json`.

mod app;
mod problem;

pub use app::{AppView, ContainerView, ServiceView};
pub use problem::Problem;
