//! The Docker Engine, over its API.
//!
//! Lists and inspections are read leniently from JSON: bollard's typed models refuse a whole list for one word they do
//! not know (its enums are closed), and a container in an unknown state must not hide the others. Everything else goes
//! through bollard, over the same wire.

mod autopsy;
mod change;
mod client;
mod connection;
mod error;
mod host;
mod labels;
mod origins;
mod parse;
mod pass;
mod wire;

pub use autopsy::Autopsy;
pub use change::PullEvent;
pub use client::{Engine, EngineInfo, News, RegistrySettings};
pub use connection::Carried;
pub use error::EngineError;
pub use host::{DockerHost, DockerHostError};
pub use pass::Passed;
