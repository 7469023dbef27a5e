//! What people are told by themselves: that there is something to update, and how updates ended.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::app::ServiceName;
use super::host::{Subject, Target};
use super::image::ImageId;
use super::job::{Job, JobId, Kind, OneOrMany, Outcome, ServiceChange};
use super::time::millis;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Newer images are waiting to be applied.
    Found,
    Updated,
    /// An update did not work, and what ran before runs again.
    RolledBack,
    /// An update or a rollback did not succeed.
    Failed,
    /// Somebody tries out the receivers.
    Test,
}

impl Event {
    /// What a receiver can ask for; a test reaches every one.
    pub const CHOICES: [Self; 4] = [Self::Found, Self::Updated, Self::RolledBack, Self::Failed];
}

/// The word that JSON has for it.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A word that is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("one of found, updated, rolled_back, failed")]
pub struct UnknownEvent;

impl FromStr for Event {
    type Err = UnknownEvent;
    fn from_str(word: &str) -> Result<Self, UnknownEvent> {
        Self::CHOICES.into_iter().find(|event| event.to_string() == word).ok_or(UnknownEvent)
    }
}

/// One message, whoever gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub event: Event,
    #[serde(flatten)]
    pub target: Target,
    /// What changed, would change or was tried. Of a found update `to` is the registry's digest.
    pub services: Vec<ServiceChange>,
    pub job: Option<JobId>,
    /// Why it did not succeed, or what is to be known though it did.
    pub reason: Option<String>,
    #[serde(serialize_with = "millis")]
    pub at: Timestamp,
}

impl Notice {
    /// Newer images that wait to be applied.
    pub fn found(target: Target, services: Vec<ServiceChange>, at: Timestamp) -> Self {
        Self { event: Event::Found, target, services, job: None, reason: None, at }
    }

    /// An update that `job` could not even begin.
    pub fn failed(target: Target, job: JobId, reason: String, at: Timestamp) -> Self {
        Self { event: Event::Failed, target, services: Vec::new(), job: Some(job), reason: Some(reason), at }
    }

    /// What is to be told about a job that has ended; `None` for one that is of no interest to who did not ask for it.
    pub fn of_job(job: &Job) -> Option<Self> {
        if job.is_only_an_answer() {
            return None;
        }
        let updates = matches!(job.kind, Kind::Update | Kind::ContainerUpdate);
        let event = match job.outcome? {
            Outcome::Updated if updates => Event::Updated,
            Outcome::RolledBack if updates => Event::RolledBack,
            Outcome::Interrupted if updates && job.result.as_ref().is_some_and(|result| result.updated) => {
                Event::Updated
            }
            Outcome::Failed | Outcome::Interrupted if updates || job.kind == Kind::Rollback => Event::Failed,
            _ => return None,
        };
        let result = job.result.as_ref();
        let warnings = result.map(|result| result.warnings.join("\n")).filter(|warnings| !warnings.is_empty());
        Some(Self {
            event,
            target: job.target.clone(),
            services: result.map(|result| result.services.clone()).unwrap_or_default(),
            job: Some(job.id.clone()),
            reason: job.error.as_ref().map(|error| error.message.clone()).or(warnings),
            at: job.finished_at.unwrap_or(job.started_at),
        })
    }

    /// One of each sort, to try templates and receivers with.
    pub fn sample(event: Event, at: Timestamp) -> Self {
        let image = |letters: &str| format!("sha256:{}", letters.repeat(32));
        let change = ServiceChange {
            service: ServiceName::new("web"),
            from: OneOrMany::One(ImageId::new(image("1a"))),
            to: image("2b"),
            tag: "registry.example/demo/web:latest".into(),
            version_from: Some("1.0".into()),
            version_to: Some("1.1".into()),
            source: Some("https://example.org/web".into()),
        };
        Self {
            event,
            target: Target::local(Subject::App("example".into())),
            services: vec![change],
            job: None,
            reason: matches!(event, Event::RolledBack | Event::Failed).then(|| "`web` does not work: unhealthy".into()),
            at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::State;

    fn job(kind: Kind, outcome: Outcome) -> Job {
        Job {
            id: JobId::new(ulid::Ulid::from_parts(1, 1)),
            kind,
            blocked: None,
            by: None,
            request_id: None,
            target: Target::local(Subject::App("web".into())),
            state: State::Finished,
            step: None,
            outcome: Some(outcome),
            result: None,
            error: None,
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: None,
        }
    }

    #[test]
    fn updates_that_changed_or_failed_are_told_and_nothing_else() {
        let event = |kind, outcome| Notice::of_job(&job(kind, outcome)).map(|notice| notice.event);
        assert_eq!(event(Kind::Update, Outcome::Updated), Some(Event::Updated));
        assert_eq!(event(Kind::ContainerUpdate, Outcome::RolledBack), Some(Event::RolledBack));
        assert_eq!(event(Kind::Update, Outcome::Interrupted), Some(Event::Failed));
        assert_eq!(event(Kind::Rollback, Outcome::Failed), Some(Event::Failed));
        for outcome in [Outcome::Unchanged, Outcome::Pulled, Outcome::Cancelled, Outcome::Pending] {
            assert_eq!(event(Kind::Update, outcome), None);
        }
        // Who rolls back by hand knows; a pass is told by the updates in it.
        assert_eq!(event(Kind::Rollback, Outcome::RolledBack), None);
        assert_eq!(event(Kind::AutoUpdate, Outcome::Failed), None);
    }

    #[test]
    fn a_notice_survives_the_database() {
        let notice = Notice::sample(Event::Failed, Timestamp::UNIX_EPOCH);
        let json = serde_json::to_string(&notice).unwrap();
        assert!(json.contains(r#""event":"failed","app":"example""#), "{json}");
        assert_eq!(serde_json::from_str::<Notice>(&json).unwrap(), notice);
    }
}
