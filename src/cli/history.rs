//! `restock history`.

use std::process::ExitCode;
use std::sync::Arc;

use super::args::HistoryArgs;
use super::output::{failed, json, print, say};
use super::table::Table;
use super::words::{outcome, time};
use crate::adapters::store::HistoryFilter;
use crate::domain::job::{Job, Outcome};
use crate::usecases::Restock;

/// Shows what was done, newest first.
pub async fn history(restock: &Arc<Restock>, args: &HistoryArgs, as_json: bool) -> ExitCode {
    let filter = HistoryFilter {
        app: args.app.clone(),
        limit: args.limit,
        before: None,
        kind: args.kind,
        outcome: args.outcome,
        since: args.since,
    };
    let jobs = match restock.service.store.history(&filter).await {
        Ok(jobs) => jobs,
        Err(error) => return failed(&error.into(), as_json),
    };
    if as_json {
        json(&jobs);
        return ExitCode::SUCCESS;
    }
    if let (Some(app), true) = (&args.app, jobs.is_empty())
        && let Err(error) = restock.find_app(app).await
    {
        return failed(&error, as_json);
    }
    if jobs.is_empty() {
        say("nothing was done yet");
        return ExitCode::SUCCESS;
    }
    let mut rows = Table::new(["STARTED", "TARGET", "KIND", "OUTCOME", "CHANGES"]);
    for job in &jobs {
        let target = job.target.name().to_owned();
        let ended = job.outcome.map_or("-", outcome).to_owned();
        let finished =
            job.result.as_ref().is_some_and(|result| result.outcome == Outcome::Interrupted && result.updated);
        let ended = if finished { format!("{ended}, updated") } else { ended };
        rows.row([time(job.started_at), target, job.kind.to_string(), ended, changes(job)]);
        if let Some(error) = &job.error {
            rows.about(&error.message);
        }
        if let Some(by) = &job.by {
            rows.about(&format!("by {by}"));
        }
    }
    print(&rows);
    ExitCode::SUCCESS
}

fn changes(job: &Job) -> String {
    let services = job.result.iter().flat_map(|result| &result.services);
    services.map(|change| format!("{} {}", change.service, change.from_to())).collect::<Vec<_>>().join(", ")
}
