//! The registry client against registries and token servers on loopback.

mod asking;
mod credentials;
pub mod fake;
pub mod image;
mod limits;
mod mirrors;
mod privacy;
pub mod setup;
mod tls;
mod tokens;
