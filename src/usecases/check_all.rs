//! A check of many apps, as a job: the registries are asked anew, each about each image once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::StreamExt;

use super::context::Host;
use super::freshness::Ask;
use super::inventory::Snapshot;
use super::jobs::{Running, Ticket, Wish};
use super::known_projects::Trust;
use super::list_apps::App;
use super::policies::policy_of;
use crate::adapters::apps_dir::FoundApp;
use crate::domain::check::{AppStatus, CheckError, CheckReport, Checked};
use crate::domain::freshness::Status;
use crate::domain::host::Subject;
use crate::domain::job::{Job, JobResult, Kind, Outcome, Step};
use crate::error::Error;

/// How many apps are asked about at once: they wait for registries, of which each has a limit of its own.
const AT_ONCE: usize = 32;

impl Host {
    /// Starts a check of the apps that are named, or of all, or joins one that runs and is about these. Another one is
    /// waited for, also one of another process, which does not say what it is about.
    ///
    /// # Errors
    /// One of the names is no app; then nobody is asked.
    pub async fn start_check(self: &Arc<Self>, names: Option<&[String]>) -> Result<Ticket, Error> {
        let mut wanted: Checked = names.map(|_| BTreeSet::new());
        for name in names.unwrap_or_default() {
            wanted.get_or_insert_default().insert(self.apps.find(name).await?.name);
        }
        let start = || {
            let apps = wanted.clone();
            let work = |running: Arc<Running>| async move { check(&running, &apps).await };
            let wish = Wish::Check(wanted.clone());
            self.start_job_with(Kind::Check, self.target(Subject::All), Some(wish), work)
        };
        let serves = |running: &Wish| matches!(running, Wish::Check(running) if covers(running, &wanted));
        self.service.start_or_join(start, serves).await
    }
}

/// Returns whether a check of `running` also answers about `wanted`.
fn covers(running: &Checked, wanted: &Checked) -> bool {
    match (running, wanted) {
        (None, _) => true,
        (Some(running), Some(wanted)) => running.is_superset(wanted),
        (Some(_), None) => false,
    }
}

async fn check(running: &Running, wanted: &Checked) -> Result<JobResult, Error> {
    let (started, host) = (Instant::now(), &running.host);
    running.step(Step::Resolve).await?;
    let look = host.apps.look().await?;
    let is_wanted = |found: &&FoundApp| wanted.as_ref().is_none_or(|wanted| wanted.contains(&found.dir.name));
    let dirs = look.apps().filter(is_wanted).cloned().collect();
    let snapshot = host.snapshot().await?;
    let apps = host.apps_trusting(dirs, &snapshot.containers, Trust::Recent).await?;
    running.step(Step::Plan).await?;
    let others = host.service.running_jobs().await?;
    let (all, done) = (apps.len() as u64, AtomicU64::new(0));
    let asked = apps.into_iter().map(|(app, _)| {
        let (others, snapshot, done) = (&others, &snapshot, &done);
        async move {
            let status = ask(host, &app, snapshot, others, started).await;
            running.tell_count(app.dir.name.as_str(), done.fetch_add(1, Ordering::Relaxed) + 1, all);
            (app, status)
        }
    });
    let asked = async { Ok::<_, Error>(futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await) };
    let mut asked: Vec<(App, AppStatus)> = running.unless_cancelled(asked).await?;
    asked.sort_by(|(a, _), (b, _)| a.dir.name.cmp(&b.dir.name));
    // What was asked has been written down by now: an image's age counts from its first answer.
    let (remembered, toggles) = tokio::try_join!(host.service.remembered(), host.toggles())?;
    for (app, status) in &mut asked {
        host.tell_holds(app, &policy_of(app, &toggles), &remembered, status);
    }
    let report = CheckReport::of(asked.into_iter().map(|(_, status)| status).collect());
    let outcome = if report.outdated > 0 { Outcome::Pending } else { Outcome::Unchanged };
    Ok(JobResult { check: Some(report), ..JobResult::of(running.handle.id.clone(), outcome, started.elapsed()) })
}

async fn ask(host: &Host, app: &App, snapshot: &Snapshot, others: &[Job], since: Instant) -> AppStatus {
    match &app.model {
        Ok(_) => host.status_of(app, &snapshot.origins, others, Ask::Since(since)).await,
        Err(error) => {
            let told = error.to_job_error();
            let error = CheckError { code: told.code, message: told.message, hint: told.hint };
            AppStatus { status: Status::Error, ..AppStatus::unknown(app.dir.name.clone(), error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_answers_about_the_apps_it_is_about() {
        let of = |names: &[&str]| Some(names.iter().map(|name| name.parse().unwrap()).collect());
        assert!(covers(&None, &None) && covers(&None, &of(&["a"])) && covers(&of(&["a", "b"]), &of(&["b"])));
        assert!(!covers(&of(&["a"]), &None) && !covers(&of(&["a"]), &of(&["a", "b"])));
    }
}
