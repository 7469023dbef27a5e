//! `restock history`.

use std::process::ExitCode;
use std::sync::Arc;

use super::HistoryArgs;
use super::output::{failed, json, print, say, table};
use super::words::{time, word};
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
    let jobs = match restock.store.history(&filter).await {
        Ok(jobs) => jobs,
        Err(error) => return failed(&error.into(), as_json),
    };
    if as_json {
        json(&jobs);
        return ExitCode::SUCCESS;
    }
    if let (Some(app), true) = (&args.app, jobs.is_empty())
        && let Err(error) = restock.apps.find(app)
    {
        return failed(&error.into(), as_json);
    }
    if jobs.is_empty() {
        say("nothing was done yet");
        return ExitCode::SUCCESS;
    }
    let mut rows = table(&["STARTED", "TARGET", "KIND", "OUTCOME", "CHANGES", ""]);
    for job in &jobs {
        let outcome = job.outcome.map(|outcome| word(&outcome)).unwrap_or_default();
        let finished =
            job.result.as_ref().is_some_and(|result| result.outcome == Outcome::Interrupted && result.updated);
        let outcome = if finished { format!("{outcome}, updated") } else { outcome };
        let error = job.error.as_ref().map(|error| error.message.clone());
        let by = job.by.as_ref().map(|by| format!("by {by}"));
        rows.add_row([
            time(job.started_at),
            job.target.name().to_owned(),
            job.kind.to_string(),
            outcome,
            changes(job),
            error.or(by).unwrap_or_default(),
        ]);
    }
    print(&rows);
    ExitCode::SUCCESS
}

fn changes(job: &Job) -> String {
    let services = job.result.iter().flat_map(|result| &result.services);
    services.map(|change| format!("{} {}", change.service, change.from_to())).collect::<Vec<_>>().join("\n")
}
