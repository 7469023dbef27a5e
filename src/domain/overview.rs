//! What a list says of an app besides its containers: what happened last, what runs, what waits, and the way back.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::ServiceName;
use super::hold::{HeldBack, HoldReason};
use super::job::{Job, JobId, JobResult, Kind, Outcome, ServiceChange, Step};
use super::time::millis;

/// The longest reason that is shown, in characters: one sentence, not a log.
const LONGEST_REASON: usize = 300;

/// An update that a schedule would pass over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Held {
    pub service: ServiceName,
    pub reason: HoldReason,
    /// When it failed, was skipped, or was first seen.
    #[serde(serialize_with = "millis")]
    pub since: Option<Timestamp>,
    /// `null` where only another image ends it, or where the image's age is not known.
    #[serde(serialize_with = "millis")]
    pub until: Option<Timestamp>,
}

/// The last thing that was done to an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LastJob {
    pub job: JobId,
    pub kind: Kind,
    pub outcome: Outcome,
    #[serde(serialize_with = "millis")]
    pub at: Timestamp,
    /// One or two sentences for a person.
    pub reason: Option<String>,
}

/// What is being done to an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CurrentJob {
    pub id: JobId,
    pub kind: Kind,
    pub step: Option<Step>,
    /// How much is done, from 0 to 100; `null` while another process does it.
    pub percent: Option<u8>,
}

/// What a rollback would bring back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WayBack {
    /// The update that it takes back.
    pub job: JobId,
    /// When that ended.
    #[serde(serialize_with = "millis")]
    pub at: Timestamp,
    /// Whether data could come back as well.
    pub data: bool,
    pub services: Vec<FormerService>,
}

/// A service as it was before an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FormerService {
    pub service: ServiceName,
    /// The image reference.
    pub tag: String,
    pub version: Option<String>,
}

/// The update that a rollback would take back, as the history has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUpdate {
    pub job: JobId,
    pub at: Timestamp,
    pub changes: Vec<ServiceChange>,
}

impl Held {
    /// What holds a service back.
    pub fn of(service: &ServiceName, held: &HeldBack) -> Self {
        Self { service: service.clone(), reason: held.reason, since: held.since, until: held.until }
    }
}

impl LastJob {
    /// A job that has ended; `None` for one that has not.
    pub fn of(job: &Job) -> Option<Self> {
        Some(Self {
            job: job.id.clone(),
            kind: job.kind,
            outcome: job.outcome?,
            at: job.finished_at?,
            reason: reason(job),
        })
    }
}

impl LastUpdate {
    /// An update that has ended; `None` for one that has not, or has changed nothing.
    pub fn of(job: Job) -> Option<Self> {
        Some(Self { job: job.id, at: job.finished_at?, changes: job.result?.services })
    }
}

fn reason(job: &Job) -> Option<String> {
    let changes = job.result.as_ref().map(|result| result.services.as_slice()).unwrap_or_default();
    if let Some(error) = &job.error {
        return Some(sentence(&error.message));
    }
    let said = match (job.outcome?, job.kind) {
        (Outcome::Updated, _) if !changes.is_empty() => format!("Updated {}.", told(changes)),
        (Outcome::RolledBack, Kind::Rollback) if !changes.is_empty() => {
            format!("Went back on request: {}.", told(changes))
        }
        (Outcome::Unchanged, _) => "There was nothing newer.".to_owned(),
        (Outcome::Pulled, _) => "Pulled; the app has no containers.".to_owned(),
        (Outcome::Interrupted, _) => sentence(job.result.as_ref().and_then(first_warning)?),
        (Outcome::Cancelled, _) => "Cancelled before anything was touched.".to_owned(),
        (Outcome::Done, Kind::Up) => "Started.".to_owned(),
        (Outcome::Done, Kind::Down) => "Stopped.".to_owned(),
        _ => return None,
    };
    Some(sentence(&said))
}

fn first_warning(result: &JobResult) -> Option<&str> {
    result.warnings.first().map(String::as_str)
}

fn told(changes: &[ServiceChange]) -> String {
    changes.iter().map(|change| format!("{} {}", change.service, change.from_to())).collect::<Vec<_>>().join(", ")
}

/// The first line of a message as a sentence.
fn sentence(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim();
    let mut cut: String = line.chars().take(LONGEST_REASON).filter(|c| !c.is_control()).collect();
    if cut.len() < line.len() {
        cut.push('…');
    } else if !cut.ends_with(['.', '!', '?']) {
        cut.push('.');
    }
    let mut letters = cut.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host::{Subject, Target};
    use crate::domain::image::ImageId;
    use crate::domain::job::{JobError, OneOrMany, State};

    fn job(kind: Kind, outcome: Outcome, changes: Vec<ServiceChange>) -> Job {
        let id = JobId::new(ulid::Ulid(7));
        let result = JobResult { services: changes, ..JobResult::of(id.clone(), outcome, std::time::Duration::ZERO) };
        Job {
            id,
            kind,
            target: Target::local(Subject::App("web".into())),
            state: State::Finished,
            step: None,
            outcome: Some(outcome),
            result: Some(result),
            error: None,
            blocked: None,
            by: None,
            request_id: None,
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: Some(Timestamp::UNIX_EPOCH),
        }
    }

    fn change() -> ServiceChange {
        ServiceChange {
            service: ServiceName::new("main"),
            from: OneOrMany::One(ImageId::new("sha256:a")),
            to: "sha256:b".into(),
            tag: "web:1".into(),
            version_from: Some("1.2".into()),
            version_to: Some("1.3".into()),
            source: None,
        }
    }

    #[test]
    fn the_last_job_has_a_reason_that_a_person_understands() {
        let reason = |job: &Job| LastJob::of(job).unwrap().reason.unwrap();
        assert_eq!(reason(&job(Kind::Update, Outcome::Updated, vec![change()])), "Updated main 1.2 → 1.3.");
        assert_eq!(
            reason(&job(Kind::Rollback, Outcome::RolledBack, vec![change()])),
            "Went back on request: main 1.2 → 1.3."
        );
        assert_eq!(reason(&job(Kind::Down, Outcome::Done, Vec::new())), "Stopped.");
        let mut failed = job(Kind::Update, Outcome::RolledBack, vec![change()]);
        failed.error = Some(JobError {
            code: "rolled_back".into(),
            message: "the update failed: it exits\nwith more".into(),
            hint: None,
            service: None,
            command: None,
            stderr: None,
            containers: Vec::new(),
            kind: crate::domain::failure::Kind::Internal,
        });
        assert_eq!(reason(&failed), "The update failed: it exits.");
    }

    #[test]
    fn a_long_message_is_cut() {
        assert_eq!(sentence(&"x".repeat(4000)).chars().count(), LONGEST_REASON + 1);
        assert_eq!(sentence("why?"), "Why?");
    }
}
