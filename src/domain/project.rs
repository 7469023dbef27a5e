//! A Compose project, as `docker compose config` resolves it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::app::{ProjectName, ServiceName};
use super::hook::Hooks;
use super::schedule::Schedule;

/// A resolved project: only the services of active profiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub name: ProjectName,
    pub services: BTreeMap<ServiceName, Service>,
    /// Names of volumes that Compose expects to exist already.
    pub external_volumes: BTreeSet<String>,
    /// The settings an app carries in its own Compose file.
    pub settings: Result<AppSettings, String>,
}

/// The top-level key `x-restock` of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_update: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_timeout: Option<std::time::Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<std::time::Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_age: Option<std::time::Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The app's own, without a time zone yet: it holds in the service's.
    pub schedule: Option<Schedule>,
    /// Never kept: a command may hold what Compose put into it from a variable.
    #[serde(skip)]
    pub hooks: Hooks,
}

/// When Compose itself would pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// By its own rules a pull asks the registry.
    Asks,
    /// `pull_policy: never`: what is here counts.
    Never,
    /// `pull_policy: build`, or a service without an image name: only a build makes it.
    Build,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The image reference as the file resolves it; the implicit name for services that are only built.
    pub image: String,
    pub pull_policy: PullPolicy,
    /// `pull_policy: missing`: a pull does not ask for an image that is here.
    pub keeps_local: bool,
    /// `platform:` of the service.
    pub platform: Option<String>,
    pub profiles: Vec<String>,
    /// Services that this one waits for until they have completed: one-shots that an update runs again.
    pub waits_for_completion_of: BTreeSet<ServiceName>,
    /// Services that must be there for this one to be.
    pub depends_on: BTreeSet<ServiceName>,
    /// Services whose namespaces or volumes this one lives in: it must follow when they are recreated.
    pub lives_in: BTreeSet<ServiceName>,
}

impl Project {
    /// The services that run to completion before others start: they are run by an update though they do not run now.
    pub fn one_shots(&self) -> BTreeSet<&ServiceName> {
        self.services.values().flat_map(|service| &service.waits_for_completion_of).collect()
    }

    /// Profiles that show `services` and whatever they need: Compose refuses a project that lacks a dependency.
    pub fn profiles_of(&self, services: &BTreeSet<ServiceName>) -> BTreeSet<String> {
        let mut needed = services.clone();
        loop {
            let more = needed.iter().filter_map(|name| self.services.get(name));
            let more = more.flat_map(|service| service.depends_on.union(&service.lives_in));
            let more: Vec<_> = more.filter(|name| !needed.contains(*name)).cloned().collect();
            if more.is_empty() {
                break;
            }
            needed.extend(more);
        }
        let needed = needed.iter().filter_map(|name| self.services.get(name));
        needed.filter_map(|service| service.profiles.first().cloned()).collect()
    }

    /// Profiles that are switched on where `visible` is all that is shown: each with all its services, and no others.
    pub fn profiles_on(&self, visible: &Self) -> BTreeSet<String> {
        let of = |service: &Service| service.profiles.iter().cloned().collect::<BTreeSet<_>>();
        let all: BTreeSet<_> = self.services.values().flat_map(of).collect();
        let hidden = self.services.iter().filter(|(name, _)| !visible.services.contains_key(*name));
        let off: BTreeSet<_> = hidden.flat_map(|(_, service)| of(service)).collect();
        all.difference(&off).cloned().collect()
    }

    /// `chosen` and every service that lives in the namespaces of one of them, directly or through another.
    pub fn with_dependents(&self, chosen: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
        let mut closed = chosen.clone();
        loop {
            let more: Vec<_> = self
                .services
                .iter()
                .filter(|(name, service)| !closed.contains(*name) && !service.lives_in.is_disjoint(&closed))
                .map(|(name, _)| name.clone())
                .collect();
            if more.is_empty() {
                return closed;
            }
            closed.extend(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(lives_in: &[&str]) -> Service {
        Service {
            image: "x".into(),
            pull_policy: PullPolicy::Asks,
            keeps_local: false,
            platform: None,
            profiles: Vec::new(),
            waits_for_completion_of: BTreeSet::new(),
            depends_on: BTreeSet::new(),
            lives_in: lives_in.iter().map(|name| ServiceName::new(*name)).collect(),
        }
    }

    fn project(services: impl IntoIterator<Item = (&'static str, Service)>) -> Project {
        Project {
            name: ProjectName::new("p"),
            services: services.into_iter().map(|(name, service)| (ServiceName::new(name), service)).collect(),
            external_volumes: BTreeSet::new(),
            settings: Ok(AppSettings::default()),
        }
    }

    #[test]
    fn a_service_is_shown_with_all_that_it_needs() {
        let of = |profile: &str, needs: &[&str]| Service {
            profiles: vec![profile.into()],
            depends_on: needs.iter().map(|name| ServiceName::new(*name)).collect(),
            ..service(&[])
        };
        let project = project([
            ("debug", of("debug", &["seed", "db"])),
            ("seed", of("once", &["db"])),
            ("db", service(&[])),
            ("other", of("other", &[])),
        ]);
        let profiles = |name| project.profiles_of(&BTreeSet::from([ServiceName::new(name)]));
        assert_eq!(profiles("debug"), ["debug", "once"].map(str::to_owned).into());
        assert_eq!(profiles("db"), BTreeSet::new());
    }

    #[test]
    fn dependents_follow_through_chains() {
        let project = project([
            ("vpn", service(&[])),
            ("side", service(&["vpn"])),
            ("tail", service(&["side"])),
            ("db", service(&[])),
        ]);
        let closed = project.with_dependents(&BTreeSet::from([ServiceName::new("vpn")]));
        assert_eq!(closed, ["side", "tail", "vpn"].map(ServiceName::new).into());
    }
}
