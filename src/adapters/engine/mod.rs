//! The Docker Engine, over its API.
//!
//! [`bollard`] makes the requests and reads the answers wherever that loses nothing: the version, logs, and every change
//! that is fully described by names and IDs (start, stop, rename, remove, tag, untag, volumes). It sends them over this
//! module's own wire, without a version in the path: an engine answers in its newest version. Each call has its own
//! deadline (`Engine::ask`, `Engine::done`; a stop that of the container's grace period and more), because bollard has
//! one for all calls, and for the head of an answer only.
//!
//! The rest is asked and read here, each for a reason:
//!
//! - *Lists and inspections of containers and images, and `/info`* are read leniently from JSON. bollard's types are
//!   closed: an unknown word (a state, a kind of manifest, a health) or a missing field refuses the whole answer, so one
//!   container would hide all others. The engine's release 27 left one field out, and bollard of that time refused every
//!   list of images. For images it also lacks the parameters `manifests`, `platform` and
//!   `identity`.
//! - *Creating a container, connecting it to a network, and setting its restart policy* (`change.rs`): the body was read
//!   from an inspection and must come back whole. A typed body drops each field that this bollard does not know, and the
//!   container would be another.
//! - *Version 1.43 of one inspection*: only that version shows who has chosen a MAC address, and bollard cannot ask in a
//!   version.
//! - *Pulls* (`pull.rs`) and *events* (`events.rs`): their reasons stand there.
//! - *Requests of clients and their answers* (`pass.rs`, `connection.rs`): archives of images are relayed byte by byte,
//!   as fast as they are read.

mod autopsy;
mod change;
mod client;
mod connection;
mod error;
mod events;
mod host;
mod images;
mod labels;
mod origins;
mod parse;
mod pass;
mod pull;
mod wire;

pub use autopsy::Autopsy;
pub use client::{Engine, RegistrySettings};
pub use connection::Carried;
pub use error::EngineError;
pub use events::News;
pub use host::DockerHost;
pub use pass::Passed;
pub use pull::PullEvent;
