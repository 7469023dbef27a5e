//! `restock update` and `restock rollback`.

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::json;

use super::UpdateArgs;
use super::apps::word;
use super::check::names;
use super::output::{exit_code, failed, print, seconds, table, tell};
use super::progress::watch;
use crate::domain::job::Job;
use crate::error::Error;
use crate::usecases::Restock;
use crate::usecases::update_app::UpdateOptions;
use crate::views::Problem;

/// Updates apps, several at once; one that fails stops nobody.
pub async fn update(restock: &Arc<Restock>, args: &UpdateArgs, as_json: bool) -> ExitCode {
    let apps = match names(restock, &args.names) {
        Ok(apps) => apps,
        Err(error) => return failed(&error, as_json),
    };
    let single = args.names.len() == 1;
    let work = apps.into_iter().map(|app| async move {
        let job = update_one(restock, &app, args).await;
        (app, job)
    });
    let concurrency = restock.limits.concurrency.max(1);
    let work = futures_util::stream::iter(work).buffer_unordered(concurrency).collect::<Vec<_>>();
    let mut done = watch(restock, as_json, work).await;
    done.sort_by(|(a, _), (b, _)| a.cmp(b));
    report(&done, single, as_json);
    exit_code(done.iter().map(|(_, job)| job.as_ref().map_err(|_| ())))
}

async fn update_one(restock: &Arc<Restock>, app: &str, args: &UpdateArgs) -> Result<Job, Error> {
    let options = UpdateOptions { no_rollback: args.no_rollback, ..UpdateOptions::default() };
    restock
        .run_to_end(|| async {
            if args.dry_run {
                restock.start_dry_run(app, Default::default()).await
            } else {
                restock.start_update(app, options.clone()).await
            }
        })
        .await
}

/// Brings back the images of before the last update.
pub async fn roll_back(restock: &Arc<Restock>, app: &str, as_json: bool) -> ExitCode {
    let job = watch(restock, as_json, restock.run_to_end(|| restock.start_rollback(app))).await;
    let done = [(app.to_owned(), job)];
    report(&done, true, as_json);
    exit_code(done.iter().map(|(_, job)| job.as_ref().map_err(|_| ())))
}

fn report(done: &[(String, Result<Job, Error>)], single: bool, as_json: bool) {
    if as_json {
        let value = |(app, job): &(String, Result<Job, Error>)| {
            let mut value = match job {
                Ok(job) => Problem::of_job(job).map_or_else(|| json!(job.result), |problem| json!(problem)),
                Err(error) => json!(Problem::from(error)),
            };
            if !single {
                value["app"] = json!(app);
            }
            value
        };
        return match done {
            [one] if single => super::output::json(&value(one)),
            _ => super::output::json(&done.iter().map(value).collect::<Vec<_>>()),
        };
    }
    let mut rows = table(&["APP", "OUTCOME", "CHANGES", "TIME"]);
    for (app, job) in done {
        let Ok(job) = job else { continue };
        let outcome = job.outcome.map(|outcome| word(&outcome)).unwrap_or_default();
        let services = job.result.iter().flat_map(|result| &result.services);
        let changes: Vec<_> = services.map(|change| format!("{} {}", change.service, change.from_to())).collect();
        let took = job.result.as_ref().map(|result| seconds(result.duration_ms)).unwrap_or_default();
        rows.add_row([app.clone(), outcome, changes.join("\n"), took]);
    }
    print(&rows);
    for (app, job) in done {
        let problem = match job {
            Ok(job) => Problem::of_job(job),
            Err(error) => Some(Problem::from(error)),
        };
        if let Some(problem) = problem {
            tell(&problem, false);
        }
        for warning in job.iter().flat_map(|job| &job.result).flat_map(|result| &result.warnings) {
            eprintln!("{app}: {warning}");
        }
    }
}
