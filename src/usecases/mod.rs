//! The use cases, one verb a file. They know nothing of HTTP or of terminals.

pub mod access;
mod attempt;
pub mod auto_update;
pub mod check_all;
pub mod check_app;
pub mod context;
pub mod events;
pub mod freshness;
pub mod group_update;
mod guard;
mod hooks;
pub mod image_changes;
mod image_record;
pub mod inventory;
pub mod jobs;
pub mod known_projects;
mod left_behind;
pub mod list_apps;
pub mod list_images;
pub mod logs;
pub mod metrics;
pub mod notify;
pub mod policies;
pub mod power;
pub mod resolve;
pub mod roll_back;
pub mod settle;
pub mod update_app;
pub mod update_container;

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
