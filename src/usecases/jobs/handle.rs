//! One job as others see it: its state, its end, and the way to cancel it.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::check::Checked;
use crate::domain::host::Target;
use crate::domain::job::{Job, JobId, Kind, State};
use crate::domain::progress::Progress;
use crate::error::{Code, Error};
use crate::usecases::auto_update::PassOptions;
use crate::usecases::mutex::lock_of;

/// A job of this process, from its start to its end.
pub struct Handle {
    pub id: JobId,
    pub(super) kind: Kind,
    pub(super) target: Target,
    pub(super) state: watch::Sender<Job>,
    pub(super) cancel: CancellationToken,
    pub(super) phase: Mutex<Phase>,
    pub(super) progress: Mutex<Progress>,
    /// What the job was asked to do, where jobs of its kind differ in that; none for one that only settles what was
    /// interrupted.
    pub(in crate::usecases) wish: Option<Wish>,
}

/// What a caller asks of a job whose target does not say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Pass(PassOptions),
    Check(Checked),
}

/// Whether a job can still be cancelled.
#[derive(PartialEq, Eq)]
pub(super) enum Phase {
    Untouched,
    Cancelled,
    Touching,
}

/// A job that was started or joined.
pub enum Ticket {
    Own(Arc<Handle>),
    /// Another process works on it.
    Elsewhere(JobId),
}

impl Ticket {
    /// The job's identity.
    pub fn id(&self) -> &JobId {
        match self {
            Self::Own(handle) => &handle.id,
            Self::Elsewhere(id) => id,
        }
    }
}

impl Handle {
    /// The job as it is now.
    pub fn job(&self) -> Job {
        self.state.borrow().clone()
    }

    /// How much is done, from 0 to 100.
    pub fn percent(&self) -> u8 {
        let step = self.state.borrow().step;
        lock_of(&self.progress).percent(step)
    }

    /// Fires when somebody wants the job not to go on; from [`Handle::begin_touching`] on it is ignored.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The last moment at which the job could be cancelled: from here on it goes on to its end.
    pub fn begin_touching(&self) -> Result<(), Error> {
        let mut phase = lock_of(&self.phase);
        if *phase == Phase::Cancelled {
            return Err(cancelled());
        }
        *phase = Phase::Touching;
        Ok(())
    }

    /// Asks the job to end before it touches anything.
    pub fn cancel(&self) -> Result<(), Error> {
        let mut phase = lock_of(&self.phase);
        if *phase == Phase::Touching || self.state.borrow().state == State::Finished {
            return Err(Error::new(
                Code::TooLateToCancel,
                format!("job {} can no longer be cancelled: it has begun to change containers", self.id),
            )
            .hint("wait for its end, then roll it back"));
        }
        *phase = Phase::Cancelled;
        self.cancel.cancel();
        Ok(())
    }

    /// Waits for the end.
    pub async fn finished(&self) -> Job {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|job| job.state == State::Finished).await;
        ended.map_or_else(|_| self.job(), |job| job.clone())
    }
}

/// The error of a job that somebody has cancelled.
pub(in crate::usecases) fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the job was cancelled before anything was touched")
}
