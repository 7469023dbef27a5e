//! What a pass is asked to do, and what it finds of each container.

use std::collections::BTreeSet;

use crate::domain::hold::HeldBack;
use crate::domain::host::AppId;
use crate::domain::image::Digest;

/// What a pass works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything that a policy marks.
    Everything,
    /// What is due now: these apps, and with `rest` whatever has no schedule of its own.
    Due { apps: BTreeSet<AppId>, rest: bool },
}

/// What the caller of a pass can choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassOptions {
    /// Take back what fails.
    pub rollback: bool,
    pub scope: Scope,
}

impl Scope {
    /// Returns whether an app is looked at.
    pub(super) fn has_app(&self, app: &AppId, has_schedule: bool) -> bool {
        match self {
            Self::Everything => true,
            Self::Due { apps, rest } => apps.contains(app) || (*rest && !has_schedule),
        }
    }

    /// Returns whether containers that belong to no app are looked at.
    pub(super) fn has_rest(&self) -> bool {
        matches!(self, Self::Everything | Self::Due { rest: true, .. })
    }
}

/// What was found out of a marked container.
pub(super) enum Finding {
    Fresh,
    /// What the registry had when it was judged; none for what only this machine has.
    Newer(Option<Digest>),
    Held(HeldBack),
    /// It could not be found out.
    Unknown(String),
}
