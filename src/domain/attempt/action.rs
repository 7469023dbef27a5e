//! The words in which an attempt is moved: sides, what there is of them, and actions.

use crate::domain::image::ImageId;

/// One of the two states between which an attempt moves its facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// What ran before the attempt.
    Old,
    /// What the attempt is to bring about; for a rollback, the former images.
    New,
}

impl Side {
    /// The opposite side.
    pub fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }
}

/// What there is of one side of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// It exists.
    Here,
    /// It does not exist, and everything needed to make it does.
    CanBeMade,
    /// It is gone for good, and why.
    Lost(String),
}

/// One step towards a side. Each may be done twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Lets a reference mean the image of a side.
    Retag {
        reference: String,
        image: ImageId,
    },
    /// Puts Compose's unfinished replacements away.
    CleanLeftovers,
    /// `docker compose up` for what was up, then `create` for what was not.
    Compose(Side),
    RestartUnit(Side),
    /// Makes the container of a side beside the other, under a name of its own.
    Create(Side),
    /// Keeps the engine from bringing a container back by itself.
    Disarm(Side),
    Stop(Side),
    /// Renames a container out of the way.
    Park(Side),
    /// Gives a container the slot's name.
    Name(Side),
    Connect(Side, String),
    /// Gives a container its restart policy.
    Arm(Side),
    Start(Side),
    /// Removes the container of a side, by its recorded ID and without its volumes. Only in [`super::Stage::Proven`].
    Remove(Side),
    /// Runs the owner's commands that come after an update. Never twice.
    HooksAfter,
    /// Makes again, or restarts, containers that share namespaces with one that was replaced or restarted.
    FollowDependents,
}

/// What this process has done in the present stage. Never stored: after a crash the world is asked again.
#[derive(Debug, Clone, Default)]
pub struct ThisRun {
    pub done: Vec<Action>,
}

impl ThisRun {
    /// Returns whether an action has been done.
    pub fn did(&self, action: &Action) -> bool {
        self.done.contains(action)
    }
}
