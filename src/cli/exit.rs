//! Exit codes.

use std::process::ExitCode;

use crate::domain::job::{Job, Outcome};
use crate::error::{Code, Error};

/// It failed.
pub const FAILED: u8 = 1;
/// Wrong usage.
pub const USAGE: u8 = 2;
/// The update failed, and what ran before runs again.
pub const ROLLED_BACK: u8 = 3;
/// `check --exit-code`: updates are available.
pub const AVAILABLE: u8 = 10;

/// The code for several jobs: a failure outweighs a rollback, a rollback outweighs success. What was not done because
/// somebody asked it to end has failed: a script must not take it for done.
pub fn of_jobs<'a>(jobs: impl IntoIterator<Item = Result<&'a Job, &'a Error>>) -> ExitCode {
    ExitCode::from(worst(jobs.into_iter().map(of_job)))
}

fn of_job(job: Result<&Job, &Error>) -> u8 {
    match job {
        Ok(Job { error: None, .. }) => 0,
        Ok(Job { outcome: Some(Outcome::RolledBack), .. }) => ROLLED_BACK,
        _ => FAILED,
    }
}

/// Returns whether it is this process's being asked to end that kept a job from running to its end here.
pub fn is_ours(error: &Error) -> bool {
    matches!(error.code, Code::ShuttingDown | Code::NotAwaited)
}

fn worst(codes: impl Iterator<Item = u8>) -> u8 {
    let weight = |code: &u8| match *code {
        0 => 0,
        ROLLED_BACK => 1,
        _ => 2,
    };
    codes.max_by_key(weight).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host::{Subject, Target};
    use crate::domain::job::{JobId, Kind, State};

    fn job(outcome: Outcome, failed: bool) -> Job {
        let now = jiff::Timestamp::now();
        let error = Error::new(Code::Defect, "x").to_job_error();
        Job {
            id: JobId::new(ulid::Ulid::nil()),
            kind: Kind::Update,
            target: Target::local(Subject::App("web".into())),
            state: State::Finished,
            step: None,
            outcome: Some(outcome),
            result: None,
            error: failed.then_some(error),
            started_at: now,
            finished_at: Some(now),
            blocked: None,
            by: None,
            request_id: None,
        }
    }

    #[test]
    fn each_end_of_a_job_has_its_code() {
        let code = |outcome, failed| of_job(Ok(&job(outcome, failed)));
        assert_eq!(code(Outcome::Updated, false), 0);
        assert_eq!(code(Outcome::Unchanged, false), 0);
        assert_eq!(code(Outcome::RolledBack, true), 3, "an update that was taken back");
        assert_eq!(code(Outcome::RolledBack, false), 0, "a rollback that somebody asked for");
        assert_eq!(code(Outcome::Failed, true), 1);
        assert_eq!(of_job(Err(&Error::new(Code::NoSuchApp, "x"))), 1);
        assert_eq!(code(Outcome::Cancelled, true), 1);
    }

    #[test]
    fn the_worst_of_several_counts() {
        let of = |codes: &[u8]| worst(codes.iter().copied());
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[0, 3, 0]), 3);
        assert_eq!(of(&[3, 1, 0]), 1);
    }
}
