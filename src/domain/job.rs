//! Jobs: one run of an update, a rollback or another action, from its start to its outcome.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::ServiceName;
use super::check::CheckReport;
use super::evidence::FailedContainer;
use super::failure;
use super::host::{Target, TargetShape};
use super::image::{ImageId, short};
use super::plan::Skipped;
use super::report::PassReport;
use super::time::millis;

/// The identity of a job: a ULID, so that jobs sort by their start.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// The name of a job that starts now.
    pub fn new(ulid: ulid::Ulid) -> Self {
        Self(ulid.to_string())
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = ulid::DecodeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.parse::<ulid::Ulid>()?.to_string()))
    }
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[schema(as = JobKind)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Update,
    Rollback,
    Up,
    Down,
    Check,
    AutoUpdate,
    ContainerUpdate,
    /// Somebody gave a reference another meaning through Docker's image routes; nothing was restarted.
    ImageChange,
    /// A newer version's, in a job that has not ended; never read from outside.
    #[serde(skip_deserializing)]
    Unknown,
}

impl Kind {
    /// Returns whether it changes nothing: such a job keeps nobody waiting but others of its kind.
    pub fn only_looks(self) -> bool {
        self == Self::Check
    }
}

/// The word that JSON has for it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Where a job stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = JobState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Queued,
    Running,
    Finished,
}

/// What a running job is doing. Before [`Step::Apply`] nothing of the app has been touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = JobStep)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Resolve,
    Snapshot,
    Pull,
    Plan,
    /// The owner's own commands run, in containers that are as they were.
    HooksBefore,
    Apply,
    Verify,
    /// The owner's own commands run, in new containers that work.
    HooksAfter,
    RollBack,
}

impl Step {
    /// Returns whether containers may already have been changed in this step.
    pub fn touches_containers(self) -> bool {
        self >= Self::Apply
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Newer images run, and work.
    Updated,
    /// Everything already ran the newest images; nothing was restarted.
    Unchanged,
    /// The app has no containers: its images are here now.
    Pulled,
    /// A dry run found something to update.
    Pending,
    /// The new images failed; the previous ones run again, and work.
    RolledBack,
    /// It did not succeed, and neither did taking it back.
    Failed,
    /// Somebody cancelled it before anything was touched.
    Cancelled,
    /// The process ended in the middle; what was half done has been settled since.
    Interrupted,
    /// An action without images (up, down) is done.
    Done,
}

/// The word that JSON has for it.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One value where all replicas agree, an array where they differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// `One` for exactly one value.
    pub fn of(mut values: Vec<T>) -> Self {
        match (values.pop(), values.is_empty()) {
            (Some(only), true) => Self::One(only),
            (Some(last), false) => {
                values.push(last);
                Self::Many(values)
            }
            (None, _) => Self::Many(values),
        }
    }
}

/// A service whose image changed, as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceChange {
    pub service: ServiceName,
    /// What ran before; several IDs only where replicas differed.
    pub from: OneOrMany<ImageId>,
    /// What runs now; of a dry run the registry's digest; empty where a reference means nothing any more.
    pub to: String,
    /// The image reference as the Compose file resolves it.
    pub tag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl ServiceChange {
    /// `1.2 → 1.3` where the images carry versions, else the short IDs.
    pub fn from_to(&self) -> String {
        match (&self.version_from, &self.version_to) {
            (Some(from), Some(to)) if from != to => format!("{from} → {to}"),
            _ => {
                // A reference may have meant nothing, or mean nothing any more.
                let [from, to] = [self.short_from(), short(&self.to)]
                    .map(|image| if image.is_empty() { "nothing".to_owned() } else { image });
                format!("{from} → {to}")
            }
        }
    }

    fn short_from(&self) -> String {
        match &self.from {
            OneOrMany::One(id) => short(id.as_str()),
            OneOrMany::Many(ids) => ids.iter().map(|id| short(id.as_str())).collect::<Vec<_>>().join("+"),
        }
    }
}

/// Why Compose touched a service whose image is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecreateReason {
    /// It lives in the namespaces of a service that changed, or is restarted with it.
    Dependency,
    /// Its configuration differs from what the container was made with.
    Config,
}

/// A service that Compose recreated or restarted for another reason than its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recreated {
    pub service: ServiceName,
    pub reason: RecreateReason,
}

/// What a job did. The shape of the update's answer; the other kinds use the parts that apply to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobResult {
    pub updated: bool,
    pub services: Vec<ServiceChange>,
    pub outcome: Outcome,
    pub recreated: Vec<Recreated>,
    pub skipped: Vec<Skipped>,
    pub job: JobId,
    pub duration_ms: u64,
    /// Things the caller should know though the job succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What a pass over everything that a policy marks did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<PassReport>,
    /// What a check of several apps found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckReport>,
}

impl JobResult {
    /// A result that says nothing yet but how `job` ended and how long it took.
    pub fn of(job: JobId, outcome: Outcome, took: Duration) -> Self {
        Self {
            updated: outcome == Outcome::Updated,
            services: Vec::new(),
            outcome,
            recreated: Vec::new(),
            skipped: Vec::new(),
            job,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            warnings: Vec::new(),
            report: None,
            check: None,
        }
    }
}

/// Why a job did not succeed: what a person needs to read, and nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// Stable, for programs.
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The last lines the command printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// The containers that did not work, as they were before anything was taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<FailedContainer>,
    /// HTTP status this failure is told with.
    #[serde(rename = "status")]
    #[schema(value_type = u16)]
    pub kind: failure::Kind,
}

/// A job, as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    pub id: JobId,
    pub kind: Kind,
    #[serde(flatten)]
    #[schema(value_type = TargetShape)]
    pub target: Target,
    pub state: State,
    pub step: Option<Step>,
    pub outcome: Option<Outcome>,
    pub result: Option<JobResult>,
    pub error: Option<JobError>,
    /// What a job that stays open waits for; nobody works on it until that has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// Who did it, where that is told: a user, a key, an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The request that started it, as its answer's header `X-Request-Id` had it; `null` for what came from a schedule or
    /// the command line.
    pub request_id: Option<String>,
    #[serde(serialize_with = "millis")]
    pub started_at: Timestamp,
    #[serde(serialize_with = "millis")]
    pub finished_at: Option<Timestamp>,
}

impl Job {
    /// Returns whether it is only an answer to a caller: it just looked, or it was refused before anything began. Such
    /// a job is not part of the history, and nobody is notified of it.
    pub fn is_only_an_answer(&self) -> bool {
        self.kind.only_looks() || self.was_refused()
    }

    fn was_refused(&self) -> bool {
        let begun = self.result.is_some() || self.step.is_some_and(|step| step >= Step::HooksBefore);
        let refused = self.error.as_ref().is_some_and(|error| error.kind.is_refusal());
        self.outcome == Some(Outcome::Failed) && !begun && refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_a_text_and_several_are_an_array() {
        let json = |ids: &[&str]| serde_json::to_string(&OneOrMany::of(ids.to_vec())).expect("serialises");
        assert_eq!(json(&["a"]), r#""a""#);
        assert_eq!(json(&["a", "b"]), r#"["a","b"]"#);
    }

    #[test]
    fn only_the_steps_from_apply_on_touch_containers() {
        assert!(!Step::HooksBefore.touches_containers());
        assert!(Step::Apply.touches_containers() && Step::RollBack.touches_containers());
    }

    #[test]
    fn versions_are_shown_where_there_are_some_and_ids_elsewhere() {
        let mut change = ServiceChange {
            service: ServiceName::new("web"),
            from: OneOrMany::One(ImageId::new(format!("sha256:{}", "ab".repeat(32)))),
            to: format!("sha256:{}", "cd".repeat(32)),
            tag: "web".into(),
            version_from: None,
            version_to: None,
            source: None,
        };
        assert_eq!(change.from_to(), "abababababab → cdcdcdcdcdcd");
        (change.version_from, change.version_to) = (Some("1".into()), Some("2".into()));
        assert_eq!(change.from_to(), "1 → 2");
    }
}
