//! What there is to count and to measure, for a monitoring system that asks now and then.
//!
//! Reading is cheap: nobody is waited for. Counts are kept as things happen; of the apps the last look is told, and one
//! that is out of date is renewed behind the reader's back. Images appear in no label: every new tag or digest would be
//! a series that lives for ever.

mod state;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::context::Host;
use super::known_projects::Trust;
use crate::adapters::task;
pub use state::Metrics;
use state::{KINDS, KindLabels};

/// How old a look at the apps may be when nothing is known to have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    host: String,
    kind: &'static str,
    status: String,
}

/// One label and its value.
type Label = [(&'static str, String); 1];
type TwoLabels = [(&'static str, String); 2];

impl Host {
    /// Everything that is counted and measured, as it is now.
    pub fn observe(self: &Arc<Self>) -> Registry {
        let mut registry = Registry::with_prefix("restock");
        let build = Family::<Label, Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        registry.register("build_info", "The version that runs", build);
        registry.register("jobs", "Jobs of this process that have ended", self.service.metrics.jobs.clone());
        let durations = self.service.metrics.durations.clone();
        registry.register("job_duration_seconds", "How long jobs of this process took", durations);
        self.observe_now(&mut registry);
        self.observe_registries(&mut registry);
        self.observe_apps(&mut registry);
        self.look_again();
        registry
    }

    fn observe_now(&self, registry: &mut Registry) {
        let running = Family::<KindLabels, Gauge>::default();
        for kind in KINDS {
            running.get_or_create(&KindLabels { kind: kind.to_string() }).set(0);
        }
        for job in self.service.jobs.running() {
            running.get_or_create(&KindLabels { kind: job.kind.to_string() }).inc();
        }
        registry.register("jobs_running", "Jobs of this process that run", running);
        let connected = Gauge::<i64>::default();
        connected.set(self.inventory.is_watched().into());
        registry.register("engine_connected", "1 while the Docker engine tells what happens in it", connected);
    }

    fn observe_registries(&self, registry: &mut Registry) {
        let requests = Family::<RequestLabels, Counter>::default();
        for count in self.service.freshness.registry().stats().counts() {
            // 4xx, 5xx: single statuses would be many series that say the same.
            let status = count.status.map_or_else(|| "none".to_owned(), |status| format!("{}xx", status / 100));
            let labels = RequestLabels { host: count.host, kind: count.kind.as_str(), status };
            requests.get_or_create(&labels).inc_by(count.requests);
        }
        registry.register("registry_requests", "Requests to registries and their token servers", requests);
        let lookups = Family::<Label, Counter>::default();
        let (known, asked) = self.service.freshness.lookups();
        lookups.get_or_create(&[("result", "hit".to_owned())]).inc_by(known);
        lookups.get_or_create(&[("result", "miss".to_owned())]).inc_by(asked);
        let help = "Questions for an image's freshness: hit, answered from what is known; miss, asked of the registry";
        registry.register("freshness_lookups", help, lookups);
    }

    fn observe_apps(&self, registry: &mut Registry) {
        let states = Family::<TwoLabels, Gauge>::default();
        let statuses = Family::<TwoLabels, Gauge>::default();
        let at = Gauge::<i64>::default();
        if let Some(look) = self.last_look() {
            for seen in &look.apps {
                let app = || ("app", seen.app.dir.name.to_string());
                states.get_or_create(&[app(), ("state", seen.app.state.to_string())]).set(1);
                let status = seen.status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
                statuses.get_or_create(&[app(), ("status", status)]).set(1);
            }
            at.set(look.made_at.as_second());
        }
        registry.register("app_state", "1 for the state that an app was in when it was last looked at", states);
        registry.register("app_freshness", "1 for the last known freshness of an app; no registry is asked", statuses);
        registry.register("apps_seen_timestamp_seconds", "When the apps were last looked at; 0 for never", at);
    }

    /// Renews the look at the apps where it is out of date, without anybody waiting for it.
    fn look_again(self: &Arc<Self>) {
        let current = self.last_look().is_some_and(|look| self.still_holds(&look, LOOK_AGAIN));
        if current || self.service.stopping.is_cancelled() {
            return;
        }
        let Ok(looking) = self.service.metrics.looking.clone().try_lock_owned() else { return };
        let host = self.clone();
        task::spawn("looking at the apps", async move {
            let _looking = looking;
            if let Err(error) = host.seen_apps(Trust::Known).await {
                tracing::debug!(%error, "the apps could not be looked at");
            }
        });
    }
}
