//! What is counted as it happens.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::domain::job::{Kind, Outcome};

/// Bounds of the classes of durations, in seconds: from a dry run to a slow download.
pub(super) const DURATIONS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

pub(super) const KINDS: [Kind; 8] = [
    Kind::Update,
    Kind::Rollback,
    Kind::Up,
    Kind::Down,
    Kind::Check,
    Kind::AutoUpdate,
    Kind::ContainerUpdate,
    Kind::ImageChange,
];

/// Outcomes that alerts are about. They are told as 0 before they happen: a count that begins with 1 is no increase.
pub(super) const BAD: [Outcome; 3] = [Outcome::Failed, Outcome::RolledBack, Outcome::Interrupted];

/// What is counted as it happens.
pub struct Metrics {
    pub(super) jobs: Family<JobLabels, Counter>,
    pub(super) durations: Family<KindLabels, Histogram, fn() -> Histogram>,
    /// Held while somebody looks.
    pub(super) looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct JobLabels {
    pub(super) kind: String,
    pub(super) outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub(super) kind: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            jobs: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            looking: Arc::default(),
        };
        for (kind, outcome) in KINDS.into_iter().flat_map(|kind| BAD.map(|outcome| (kind, outcome))) {
            metrics.jobs(kind, outcome).inc_by(0);
        }
        metrics
    }
}

impl Metrics {
    /// Counts a job that has ended.
    pub(in crate::usecases) fn ended(&self, kind: Kind, outcome: Outcome, took: Duration) {
        self.jobs(kind, outcome).inc();
        self.durations.get_or_create_owned(&KindLabels { kind: kind.to_string() }).observe(took.as_secs_f64());
    }

    pub(super) fn jobs(&self, kind: Kind, outcome: Outcome) -> Counter {
        self.jobs.get_or_create_owned(&JobLabels { kind: kind.to_string(), outcome: outcome.to_string() })
    }
}
