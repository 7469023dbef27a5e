//! One module for each thing outside: wire format to domain and back, and no decisions.

pub mod apps_dir;
pub mod clock;
pub(crate) mod command;
pub mod compose;
pub(crate) mod disk;
pub mod engine;
pub mod files;
pub(crate) mod flights;
pub mod lock;
pub mod notifier;
pub(crate) mod own_container;
pub mod registry;
pub mod store;
pub mod systemd;
pub(crate) mod task;
