//! The keys that routes take in their query. A key that a route does not know is a mistake, because a mistyped `dry_run`
//! would be a real run.

use std::collections::BTreeSet;

use jiff::Timestamp;
use utoipa::IntoParams;

use super::params::{Keys, Pairs};
use super::problem::Failure;
use crate::domain::job::{JobId, Kind, Outcome};

/// As many lines as a person reads.
const DEFAULT_TAIL: u32 = 200;
const MAX_TAIL: u32 = 10_000;
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1000;

/// A route without a query.
pub struct NoKeys;

impl IntoParams for NoKeys {
    fn into_params(
        _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        Vec::new()
    }
}

impl Keys for NoKeys {
    fn read(_: &Pairs) -> Result<Self, Failure> {
        Ok(Self)
    }
}

/// Of routes that tell freshness.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Force {
    /// Ask the registries now, whatever is known.
    #[param(required = false, default = false)]
    pub force: bool,
}

impl Keys for Force {
    fn read(pairs: &Pairs) -> Result<Self, Failure> {
        Ok(Self { force: pairs.flag("force", false)? })
    }
}

/// Of Portainer's route for a container's freshness.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PortainerKeys {
    /// Ask the registry now, whatever is known.
    #[param(required = false, default = false)]
    pub force: bool,
    /// Portainer sends it; there is one node.
    #[param(required = false, rename = "nodeName", value_type = String)]
    pub _node_name: Option<String>,
}

impl Keys for PortainerKeys {
    fn read(pairs: &Pairs) -> Result<Self, Failure> {
        Ok(Self { force: pairs.flag("force", false)?, _node_name: pairs.value("nodeName", "a node")? })
    }
}

/// Of the update of one app.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UpdateKeys {
    /// Change nothing; ask the registries and tell what would change.
    #[param(required = false, default = false)]
    pub dry_run: bool,
    /// Take the update back when it fails.
    #[param(required = false, default = true)]
    pub rollback: bool,
    /// Only these services, and those that live in their namespaces. May be repeated.
    #[param(required = false, value_type = Vec<String>, min_length = 1, style = Form, explode)]
    pub service: BTreeSet<String>,
}

impl Keys for UpdateKeys {
    fn read(pairs: &Pairs) -> Result<Self, Failure> {
        Ok(Self {
            dry_run: pairs.flag("dry_run", false)?,
            rollback: pairs.flag("rollback", true)?,
            service: pairs.all("service")?,
        })
    }
}

/// Of the update of several apps.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UpdateAllKeys {
    /// Change nothing; ask the registries and tell what would change.
    #[param(required = false, default = false)]
    pub dry_run: bool,
    /// Take an update back when it fails.
    #[param(required = false, default = true)]
    pub rollback: bool,
}

impl Keys for UpdateAllKeys {
    fn read(pairs: &Pairs) -> Result<Self, Failure> {
        Ok(Self { dry_run: pairs.flag("dry_run", false)?, rollback: pairs.flag("rollback", true)? })
    }
}

/// Of an app's logs.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogKeys {
    /// How many of the last lines; more than 10000 are 10000.
    #[param(required = false, default = 200)]
    pub tail: u32,
    /// Go on with new lines as they come.
    #[param(required = false, default = false)]
    pub follow: bool,
}

impl Keys for LogKeys {
    fn read(pairs: &Pairs) -> Result<Self, Failure> {
        let tail = pairs.value("tail", "a number of lines")?.unwrap_or(DEFAULT_TAIL).min(MAX_TAIL);
        Ok(Self { tail, follow: pairs.flag("follow", false)? })
    }
}

/// Of histories.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryKeys {
    /// How many jobs; more than 1000 are 1000.
    #[param(required = false, default = 50)]
    pub limit: usize,
    /// Only jobs that started before this one: the last one of the page before.
    #[param(required = false, value_type = JobId)]
    pub before: Option<JobId>,
    /// Only jobs of this kind.
    #[param(required = false, value_type = Kind)]
    pub kind: Option<Kind>,
    /// Only jobs that ended like this.
    #[param(required = false, value_type = Outcome)]
    pub outcome: Option<Outcome>,
    /// Only jobs that ended then or later.
    #[param(required = false, value_type = Timestamp)]
    pub since: Option<Timestamp>,
}

impl Keys for HistoryKeys {
    fn read(pairs: &Pairs) -> Result<Self, Failure> {
        Ok(Self {
            limit: pairs.value("limit", "a number")?.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT),
            before: pairs.value("before", "the ID of a job")?,
            kind: pairs.word("kind")?,
            outcome: pairs.word("outcome")?,
            since: pairs.value("since", "a time, as 2026-01-31T04:30:00Z")?,
        })
    }
}

/// Of routes that may be about one service.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ServiceKey {
    /// Only this service.
    #[param(required = false, value_type = String)]
    pub service: Option<String>,
}

impl Keys for ServiceKey {
    fn read(pairs: &Pairs) -> Result<Self, Failure> {
        Ok(Self { service: pairs.value("service", "a service")? })
    }
}
