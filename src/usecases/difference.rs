//! What is otherwise after a change than it was before it, besides the images that were to change.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{Targets, Work};
use crate::domain::app::ServiceName;
use crate::domain::container::Container;
use crate::domain::job::{RecreateReason, Recreated};
use crate::domain::plan::by_service;

impl Work<'_> {
    /// Services that Compose recreated or restarted although their image is the same.
    pub(super) fn also_touched(
        &self,
        before: &[Container],
        after: &[Container],
        touched: &BTreeSet<String>,
        targets: &Targets,
    ) -> Vec<Recreated> {
        let old: BTreeSet<_> = before.iter().map(|container| container.id.as_str()).collect();
        let changed: BTreeSet<_> = targets.keys().cloned().collect();
        let dependents = self.model.project.with_dependents(&changed);
        let mut recreated = Vec::new();
        for (service, replicas) in by_service(after) {
            let was_up = self.journal.before.get(service).is_some_and(|before| before.running);
            let fresh = replicas.iter().any(|replica| !old.contains(replica.id.as_str()));
            let restarted = was_up && replicas.iter().any(|replica| touched.contains(&replica.name));
            if changed.contains(service) || !(fresh || restarted) {
                continue;
            }
            let by_dependency = dependents.contains(service) || !fresh;
            let reason = if by_dependency { RecreateReason::Dependency } else { RecreateReason::Config };
            recreated.push(Recreated { service: service.clone(), reason });
        }
        recreated
    }

    /// The services that ran before and whose containers are others now, or gone: whatever Compose did that for, they
    /// have to run again before anybody says that what ran before does.
    pub(super) fn disturbed(&self, now: &[Container]) -> BTreeSet<ServiceName> {
        let known = &self.journal.containers;
        if known.is_empty() {
            // Written by a version that did not note them.
            return BTreeSet::new();
        }
        let services = by_service(now);
        let is_other = |service: &ServiceName| {
            services.get(service).is_none_or(|replicas| replicas.iter().any(|replica| !known.contains_key(&replica.id)))
        };
        let selected = self.journal.selected.as_ref();
        let worked_on = |service: &&ServiceName| {
            self.model.project.services.contains_key(*service)
                && selected.is_none_or(|chosen| chosen.contains(*service))
        };
        let running = self.journal.running().into_iter();
        running.filter(worked_on).filter(|service| is_other(service)).cloned().collect()
    }

    /// A sentence that names the changed services that do not run, if there are any: they have been made again, and
    /// nobody has seen them work.
    pub fn unproven(&self) -> Option<String> {
        let running = self.journal.running();
        let still = self.journal.changes.iter().map(|change| &change.service).filter(|name| !running.contains(name));
        let names: Vec<_> = still.map(|name| format!("`{name}`")).collect();
        let names = (!names.is_empty()).then(|| names.join(", "))?;
        Some(format!("not started, as it did not run before, and so not proved to work: {names}"))
    }

    /// A sentence for each service of which fewer containers run than before: somebody had made more by hand than the
    /// file asks for.
    pub async fn lost_replicas(&self, before: &[Container]) -> Vec<String> {
        let many = by_service(before).into_iter().filter(|(_, replicas)| replicas.len() > 1);
        let many: BTreeMap<_, _> = many.map(|(service, replicas)| (service.clone(), replicas.len())).collect();
        if many.is_empty() {
            return Vec::new();
        }
        let Ok(after) = self.running.restock.engine.project_containers(&self.journal.project).await else {
            return Vec::new();
        };
        let after = by_service(&after);
        let count = |service: &ServiceName| after.get(service).map_or(0, Vec::len);
        let fewer = many.iter().filter(|(service, had)| count(service) < **had);
        let told = |(service, had): (&ServiceName, &usize)| {
            let has = count(service);
            format!(
                "`{service}` has {has} instead of {had} containers, as its file says: what `--scale` gave it is gone"
            )
        };
        fewer.map(told).collect()
    }

    /// A sentence of those services that did not work before this either; empty when there is none.
    pub fn ailing_before(&self) -> String {
        let ailing = self.journal.before.iter().filter(|(_, before)| before.unhealthy);
        let names: Vec<_> = ailing.map(|(name, _)| format!("`{name}`")).collect();
        if names.is_empty() { String::new() } else { format!("; before this {} did not work either", names.join(", ")) }
    }
}
