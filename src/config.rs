//! What the operator has set: flags, environment and an optional file, checked as a whole before anything starts.
//!
//! Flags win over the environment, the environment over the file, the file over the defaults. `--health-timeout` is the
//! variable `RESTOCK_HEALTH_TIMEOUT` and the key `health-timeout` (or `health_timeout`) of the YAML file that `--config`
//! or `RESTOCK_CONFIG` names, else of the machine's own, `/etc/restock/restock.yaml`. A variable that is empty counts as not set. Every mistake is reported, not just the first.
//!
//! This is the only reader of the environment. It also says what of it a child may see.

mod docker;
mod environment;
mod notify;
mod options;
mod secret;
mod serve;
mod settings;
mod sources;

pub use environment::Environment;
pub use options::{CommonOptions, ServeOptions};
pub use secret::Secret;
pub use serve::{DockerApi, Listen, ServeSettings};
pub use settings::{LogFormat, Settings};
