//! The use cases, one verb a file. They know nothing of HTTP or of terminals.

pub mod access;
mod attempt;
pub mod auto_update;
pub(crate) mod check_all;
pub(crate) mod check_app;
pub(crate) mod context;
pub(crate) mod events;
pub mod freshness;
pub mod group_update;
mod guard;
mod hooks;
pub(crate) mod image_changes;
mod image_record;
pub(crate) mod inventory;
pub(crate) mod jobs;
pub(crate) mod known_projects;
mod left_behind;
pub(crate) mod list_apps;
pub(crate) mod list_images;
pub(crate) mod logs;
mod look_up;
pub(crate) mod metrics;
mod mutex;
pub mod notify;
pub(crate) mod policies;
pub(crate) mod power;
pub(crate) mod resolve;
pub(crate) mod roll_back;
pub mod settle;
pub mod update_app;
pub mod update_container;
pub mod update_options;

mod difference;
mod evidence;
mod fetch;
mod left_out;
mod old_images;
mod overview;
mod platform;
mod prove;
mod pull;
mod recipe;
mod relay;

pub use context::{Host, HostParts, Limits, Parts, Restock, Service, Waits};
