//! How an attempt ends, in words: the answer, the history entry and the exit code are made from this alone.

use std::time::Instant;

use super::work::Work;
use crate::domain::attempt::{Cause, Intent, Obstacle, Refusal, Setback, Side, Stage};
use crate::domain::job::{JobResult, Outcome, ServiceChange};
use crate::error::{Attempt, Code, Error};
use crate::usecases::jobs::Running;

const DATA: &str = "data is not rolled back: volumes keep what the newer version wrote";

/// The end that the loop has come to.
pub(super) enum Closing {
    /// New is proven.
    Done,
    /// Old is proven, after this setback.
    Back(Option<Setback>),
    /// Neither could be brought about; nothing was removed.
    Failed(Setback),
}

impl Closing {
    /// The verdict of a stage in which one side is proven.
    pub(super) fn proven(stage: &Stage) -> Self {
        match stage {
            Stage::Proven { side: Side::Old, why } => Self::Back(why.clone()),
            _ => Self::Done,
        }
    }

    /// The result of the job, or the error that it ends with.
    pub(super) fn report(self, work: &Work<'_>, started: Instant) -> Result<JobResult, Error> {
        match self {
            Self::Done => Ok(done(work, started)),
            Self::Back(_) if work.resumed => {
                Ok(interrupted(work, Vec::new(), "what was begun has been taken back", started))
            }
            Self::Back(why) => Err(went_back(work, &why.unwrap_or_else(|| Setback::lost("no reason was kept".into())))),
            Self::Failed(setback) => Err(failed(work, &setback)),
        }
    }
}

fn done(work: &Work<'_>, started: Instant) -> JobResult {
    let changes = work.attempt.changes();
    if work.resumed {
        return interrupted(work, changes, "what was begun has been finished", started);
    }
    let rollback = work.attempt.intent == Intent::Rollback;
    let outcome = if rollback { Outcome::RolledBack } else { Outcome::Updated };
    let mut warnings = work.warnings.clone();
    if rollback {
        warnings.push(DATA.to_owned());
    }
    JobResult {
        services: changes,
        recreated: work.recreated.clone(),
        warnings,
        ..JobResult::of(work.running.handle.id.clone(), outcome, started.elapsed())
    }
}

/// The result of a job that another process had begun and this one has brought to an end.
fn interrupted(work: &Work<'_>, services: Vec<ServiceChange>, what: &str, started: Instant) -> JobResult {
    let mut result = begun_elsewhere(work.running, services, what, started);
    result.warnings.extend(work.warnings.iter().cloned());
    result
}

fn went_back(work: &Work<'_>, why: &Setback) -> Error {
    let name = work.name();
    let error = match (&why.cause, work.attempt.intent) {
        (Cause::NotBegun(refusal), _) => return not_begun(work, *refusal, why, None),
        (_, Intent::Rollback) => {
            let message = format!("the rollback of `{name}` failed: {}; what ran before runs again", why.reason);
            tried(work, Outcome::Failed, Error::new(Code::RollbackFailed, message))
        }
        _ => {
            let message = format!(
                "the update of `{name}` failed and was taken back, what ran before runs again: {}",
                said(work, why)
            );
            let error = tried(work, Outcome::RolledBack, Error::new(Code::RolledBack, message));
            error.hint("look at the logs of the new version, or wait for the next one; data is not rolled back")
        }
    };
    blame(work, why, error)
}

fn failed(work: &Work<'_>, second: &Setback) -> Error {
    let name = work.name();
    let rollback = work.attempt.intent == Intent::Rollback;
    let first = match &work.attempt.stage {
        Stage::Back { why } => why,
        _ => return left_as_it_is(work, second),
    };
    if let Cause::NotBegun(refusal) = &first.cause {
        return not_begun(work, *refusal, first, Some(second));
    }
    let message = if work.resumed {
        let what = if work.scene.is_some() { "job on" } else { "update of" };
        format!("the interrupted {what} `{name}` could not be taken back: {}", second.reason)
    } else if rollback {
        let lost = format!("what ran before could not be brought back either: {}", second.reason);
        format!("the rollback of `{name}` failed: {}; {lost}", first.reason)
    } else {
        format!("the update of `{name}` failed ({}), and so did taking it back: {}", said(work, first), second.reason)
    };
    let error = tried(work, Outcome::Failed, Error::new(Code::RollbackFailed, message));
    let error = error.hint(
        "look at the containers with `docker ps -a` and at their logs; the old images are kept under restock.local/keep",
    );
    blame(work, if work.resumed { second } else { first }, error)
}

fn left_as_it_is(work: &Work<'_>, why: &Setback) -> Error {
    let name = work.name();
    let message = format!("the update of `{name}` failed and was left as it is: {}", said(work, why));
    let error = tried(work, Outcome::Failed, Error::new(Code::UpdateFailed, message));
    let hint = match work.attempt.slot() {
        Some(slot) => format!("the previous container is kept as {}", slot.aside(Side::Old)),
        None => "look at the logs of the new version; `restock rollback` brings the previous one back".to_owned(),
    };
    blame(work, why, error.hint(hint))
}

/// The service manager refused before anything began.
fn not_begun(work: &Work<'_>, refusal: Refusal, why: &Setback, not_back: Option<&Setback>) -> Error {
    let unit = work.unit().map(|unit| unit.unit.as_str()).unwrap_or_default();
    let touched = match not_back {
        None => "nothing was touched".to_owned(),
        Some(second) => {
            let image = "its image could not be tagged back, so the next start of the unit takes the new one";
            format!("{image}: {}", second.reason)
        }
    };
    let (code, hint) = match refusal {
        Refusal::Unreachable => {
            (Code::SystemdUnreachable, "name the bus with --dbus; in a container, mount its socket".to_owned())
        }
        Refusal::Denied => (
            Code::SystemdDenied,
            format!(
                "allow org.freedesktop.systemd1.manage-units for {unit} in polkit, or run Restock as the unit's owner"
            ),
        ),
        Refusal::Refused => (Code::SystemdRefused, format!("see `systemctl status {unit}`")),
    };
    let message = format!("{} was not updated: {}; {touched}", work.name(), why.reason);
    Error::new(code, message).hint(hint).service(work.name())
}

/// A reason, and whether something did not work before this either.
fn said(work: &Work<'_>, why: &Setback) -> String {
    format!("{}{}", why.reason, work.ailing_before())
}

fn tried(work: &Work<'_>, outcome: Outcome, error: Error) -> Error {
    let (services, warnings) = (work.attempt.changes(), work.warnings.clone());
    Error { attempt: Some(Attempt { outcome, services, warnings }), ..error }
}

/// Adds whose fault it was, and what its command said.
fn blame(work: &Work<'_>, why: &Setback, mut error: Error) -> Error {
    if let Some((command, stderr)) = &why.command {
        error.command = Some(command.clone());
        error.stderr = stderr.clone();
    }
    error.service = why.service.as_ref().map(ToString::to_string);
    let error = error.containers(work.failed_containers.clone());
    match &work.scene {
        Some(scene) => error.app(&scene.app.name),
        None => error.service(work.name()),
    }
}

/// Leaves the job open: no process works on it, and none has died.
pub(super) async fn blocked(work: &Work<'_>, obstacle: Obstacle) -> Error {
    let error = unsettled(work.name(), obstacle);
    let host = &work.running.host;
    let left = host.service.store.let_go(&work.attempt.job, &host.service.worker, Some(&error.message)).await;
    if let Err(error) = left {
        tracing::error!(%error, "that the job is left open is not recorded: the next process counts it as a death");
    }
    match &work.scene {
        Some(scene) => error.app(&scene.app.name),
        None => error.service(work.name()),
    }
}

/// The job on `name` stays open until what is in its way has passed.
pub(crate) fn unsettled(name: &str, obstacle: Obstacle) -> Error {
    let (message, hint) = match obstacle {
        Obstacle::Engine => (
            format!("the Docker engine went away in the middle of the job on `{name}`"),
            "start the Docker engine: the job is finished or taken back as soon as it answers",
        ),
        Obstacle::ComposeRuns => (
            format!("Docker Compose has not come to its end in the job on `{name}`, and is left alone"),
            "look at what the containers wait for: the job is finished or taken back when Compose has ended",
        ),
        Obstacle::ServiceManager => (
            format!("systemd cannot be reached in the middle of the job on `{name}`"),
            "name the bus with --dbus; the job goes on as soon as systemd answers",
        ),
        Obstacle::ComposeFile => (
            format!("Docker Compose cannot be run in the middle of the job on `{name}`"),
            "install what the log names as missing; the job goes on by itself",
        ),
        Obstacle::Database => (
            format!("the database cannot be written in the middle of the job on `{name}`"),
            "make room or unlock the database; the job goes on by itself",
        ),
        Obstacle::Taken => (format!("another process works on the job on `{name}`"), "wait until it has ended"),
    };
    Error::new(Code::Unsettled, message).hint(hint)
}

/// The result of a job that another process had begun and this one has brought to an end.
pub(super) fn begun_elsewhere(
    running: &Running,
    services: Vec<ServiceChange>,
    what: &str,
    started: Instant,
) -> JobResult {
    JobResult {
        updated: !services.is_empty(),
        services,
        warnings: vec![format!("the process ended in the middle of this job; {what}")],
        ..JobResult::of(running.handle.id.clone(), Outcome::Interrupted, started.elapsed())
    }
}
