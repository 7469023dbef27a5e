//! One module for each thing outside: wire format to domain and back, and no decisions.

pub mod apps_dir;
pub mod clock;
pub mod command;
pub mod compose;
pub mod disk;
pub mod engine;
pub mod files;
pub mod flights;
pub mod lock;
pub mod notifier;
pub mod own_container;
pub mod registry;
pub mod store;
pub mod systemd;
pub mod task;
