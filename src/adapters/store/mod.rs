//! The database: what was done, what is being done, and what has to be remembered between runs.
//!
//! One SQLite file, `restock.db`, in the data directory. The service and the commands share it, so nothing is cached: each
//! call is one transaction. A call that has returned `Ok` is on the disk: the journal is a write-ahead log that is synced
//! with each commit, so neither a kill nor a power cut loses what was answered.
//!
//! SQLite blocks, so its work runs on tokio's blocking threads, one call at a time: the database is small and local, and a
//! pool would only add ways to wait for each other.

mod access;
mod apps;
mod attempts;
mod connection;
mod digests;
mod error;
mod forgetting;
mod image_details;
mod jobs;
mod notices;
mod projects;
mod remembered;
mod rows;
mod schedules;
mod schema;
mod skips;

pub use apps::{BadImage, container_owner};
pub use attempts::Found;
pub use connection::Store;
pub use error::StoreError;
pub use image_details::RememberedDetails;
pub use jobs::HistoryFilter;
pub use notices::Waiting;
pub use projects::RememberedProject;
pub use remembered::Remembered;
pub use schedules::ScheduleRow;
pub use skips::Skip;
