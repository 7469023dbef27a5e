//! Why a part of an attempt did not come to its end.

use crate::adapters::command::CommandError;
use crate::adapters::engine::EngineError;
use crate::adapters::store::StoreError;
use crate::adapters::systemd::SystemdError;
use crate::domain::attempt::{Action, Setback};
use crate::usecases::prove::Unproven;

/// Why an observation, an action or a proof did not come to its end.
#[derive(Debug)]
pub(super) enum Failure {
    Engine(EngineError),
    Command(CommandError),
    Systemd(SystemdError),
    Store(StoreError),
    Unproven(Unproven),
    /// The same action again, and nothing had changed.
    NoEffect(Action),
    /// The pure rules found that nothing can be done.
    Stuck(Setback),
    /// A container is missing that an action needs, or cannot be described.
    Missing(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::Command(error) => error.fmt(f),
            Self::Systemd(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Unproven(unproven) => f.write_str(&unproven.reason),
            Self::NoEffect(action) => write!(f, "`{}` had no effect", action.word()),
            Self::Stuck(setback) => f.write_str(&setback.reason),
            Self::Missing(reason) => f.write_str(reason),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
