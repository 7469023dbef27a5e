//! `restock update` and `restock rollback`.

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::apps::{names, none_there};
use super::args::UpdateArgs;
use super::exit;
use super::output::{self, failed, note, print, tell};
use super::progress::Voice;
use super::table::Table;
use super::watch::{to_end, watch};
use super::words::{self, duration, word};
use crate::domain::job::Job;
use crate::error::{Error, Kind};
use crate::usecases::Restock;
use crate::usecases::update_options::UpdateOptions;
use crate::views::Problem;

/// An app, and how the job on it ended or why there was none.
type Done = (String, Result<Job, Error>);

/// Updates apps, several at once; one that fails stops nobody.
pub async fn update(restock: &Arc<Restock>, args: &UpdateArgs, as_json: bool) -> ExitCode {
    let apps = match names(restock, &args.names).await {
        Ok(apps) => apps,
        Err(error) => return failed(&error, as_json),
    };
    if apps.is_empty() {
        return none_there(restock, as_json);
    }
    let voice = Voice::new(as_json);
    if args.dry_run {
        restock.learn_settings().await;
    }
    let work = apps.into_iter().map(|app| update_one(restock, app, args, &voice));
    let concurrency = restock.service.limits.concurrency.max(1);
    let work = futures_util::stream::iter(work).buffer_unordered(concurrency).collect::<Vec<_>>();
    let done = watch(restock, voice.clone(), work).await;
    finish(done, args.names.len() == 1, args.all, as_json)
}

async fn update_one(restock: &Arc<Restock>, app: String, args: &UpdateArgs, voice: &Voice) -> Done {
    let options = UpdateOptions { no_rollback: args.no_rollback, ..UpdateOptions::default() };
    let start = || async {
        let (host, name) = restock.named(&app)?;
        if args.dry_run {
            host.start_dry_run(name, Default::default()).await
        } else {
            host.start_update(name, options.clone()).await
        }
    };
    let ended = to_end(restock, &app, voice, start).await;
    (app, ended)
}

/// Brings back the images of before the last update.
pub async fn roll_back(restock: &Arc<Restock>, app: &str, as_json: bool) -> ExitCode {
    let voice = Voice::new(as_json);
    let start = || async {
        let (host, name) = restock.named(app)?;
        host.start_rollback(name).await
    };
    let work = async {
        let ended = to_end(restock, app, &voice, start).await;
        vec![(app.to_owned(), ended)]
    };
    let done = watch(restock, voice.clone(), work).await;
    finish(done, true, false, as_json)
}

/// Reports what was done, unless nobody waited for it. Of `all` apps those with broken files are passed over: whoever
/// named none of them did not ask for these, and a cron job would fail for as long as one of them is there.
fn finish(done: Option<Vec<Done>>, single: bool, all: bool, as_json: bool) -> ExitCode {
    let Some(mut done) = done else { return ExitCode::from(exit::FAILED) };
    done.sort_by(|(a, _), (b, _)| a.cmp(b));
    match done.as_slice() {
        [(_, ended)] if single && as_json => output::json(&value(ended)),
        _ if as_json => output::json(&values(&done)),
        _ => report(&done, all),
    }
    let counts = |(_, ended): &&Done| !(all && is_broken(ended));
    exit::of_jobs(done.iter().filter(counts).map(|(_, ended)| ended.as_ref()))
}

fn problem(ended: &Result<Job, Error>) -> Option<Problem> {
    match ended {
        Ok(job) => Problem::of_job(job),
        Err(error) => Some(Problem::from(error)),
    }
}

/// Returns whether nothing could be done because the app's own files are invalid.
fn is_broken(ended: &Result<Job, Error>) -> bool {
    let kind = match ended {
        Ok(job) => job.error.as_ref().map(|error| error.kind),
        Err(error) => Some(error.kind),
    };
    kind == Some(Kind::BrokenApp)
}

/// The answer of the API.
fn value(ended: &Result<Job, Error>) -> Value {
    match (problem(ended), ended) {
        (Some(problem), _) => json!(problem),
        (None, Ok(job)) => json!(job.result),
        (None, Err(_)) => Value::Null,
    }
}

fn values(done: &[Done]) -> Vec<Value> {
    let value = |(app, ended): &Done| {
        let mut value = problem(ended).map_or_else(|| value(ended), |problem| json!(problem.among_results()));
        value["app"] = json!(app);
        value
    };
    done.iter().map(value).collect()
}

fn report(done: &[Done], all: bool) {
    // A single app that was refused has nothing to show but the reason.
    if !matches!(done, [(_, Err(_))]) {
        print(&rows(done, all));
    }
    let several = done.len() > 1;
    for (app, ended) in done {
        if all && is_broken(ended) {
            note(format_args!(
                "{app} was skipped: {}",
                problem(ended).map(|problem| problem.detail).unwrap_or_default()
            ));
        } else if let Some(problem) = problem(ended) {
            tell(&problem, several.then_some(app.as_str()));
        }
        let Ok(Job { result: Some(result), .. }) = ended else { continue };
        for also in &result.recreated {
            note(format_args!("{app}: {} was recreated as well ({})", also.service, word(&also.reason)));
        }
        result.warnings.iter().for_each(|warning| note(format_args!("{app}: {warning}")));
    }
}

/// A row for each service that changed, or for the app when none did.
fn rows(done: &[Done], all: bool) -> Table {
    let mut rows = Table::new(["APP", "SERVICE", "OUTCOME", "FROM → TO", "TIME"]);
    for (app, ended) in done {
        let (outcome, result) = match ended {
            _ if all && is_broken(ended) => ("skipped".to_owned(), None),
            Ok(job) => (job.outcome.map_or("-", words::outcome).to_owned(), job.result.as_ref()),
            Err(error) if exit::is_ours(error) => ("-".to_owned(), None),
            Err(_) => ("failed".to_owned(), None),
        };
        let took = result.map_or_else(|| "-".to_owned(), |result| duration(result.duration_ms));
        let changes = result.map(|result| result.services.as_slice()).unwrap_or_default();
        for change in changes {
            rows.row([app.clone(), change.service.to_string(), outcome.clone(), change.from_to(), took.clone()]);
        }
        if changes.is_empty() {
            rows.row([app.clone(), "-".into(), outcome, "-".into(), took]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn job(outcome: &str, services: &[&str], error: Value) -> Job {
        let id = "01JD0000000000000000000000";
        let change = |name: &&str| {
            let (from, to) = ("sha256:aaaaaaaaaaaaaaaa", "sha256:bbbbbbbbbbbbbbbb");
            json!({"service": name, "from": from, "to": to, "tag": "r/web:latest"})
        };
        let result = json!({
            "updated": error.is_null(), "services": services.iter().map(change).collect::<Vec<_>>(), "outcome": outcome,
            "recreated": [], "skipped": [], "job": id, "duration_ms": 2140
        });
        let at = "2026-11-20T22:00:00Z";
        serde_json::from_value(json!({
            "id": id, "kind": "update", "app": "web", "state": "finished", "step": null, "outcome": outcome,
            "result": result, "error": error, "started_at": at, "finished_at": at
        }))
        .unwrap()
    }

    fn done() -> Vec<Done> {
        let error = json!({"code": "rolled_back", "message": "it was taken back", "status": 500});
        vec![
            ("nope".into(), Err(Error::new(Code::NoSuchApp, "no such app: nope"))),
            ("photos".into(), Ok(job("rolled_back", &["db", "web"], error))),
            ("vpn".into(), Err(Error::new(Code::ShuttingDown, "Restock is shutting down"))),
            ("web".into(), Ok(job("unchanged", &[], Value::Null))),
        ]
    }

    #[test]
    fn each_service_that_changed_has_a_row_and_each_app_at_least_one() {
        let lines = rows(&done(), false).lines();
        let expected = [
            "APP     SERVICE  OUTCOME      FROM → TO                    TIME",
            "nope    -        failed       -                            -",
            "photos  db       rolled back  aaaaaaaaaaaa → bbbbbbbbbbbb  2.1s",
            "photos  web      rolled back  aaaaaaaaaaaa → bbbbbbbbbbbb  2.1s",
            "vpn     -        -            -                            -",
            "web     -        nothing new  -                            2.1s",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn json_is_the_answer_of_the_api_with_the_app_where_there_are_several() {
        let done = done();
        let answer = value(&done[3].1);
        assert_eq!((&answer["outcome"], &answer["app"]), (&json!("unchanged"), &Value::Null));
        let answers = values(&done);
        let told: Vec<_> = answers.iter().map(|answer| (&answer["app"], &answer["code"])).collect();
        let (nope, photos, vpn, web) = (json!("nope"), json!("photos"), json!("vpn"), json!("web"));
        let (no_such_app, rolled_back, shutting_down) =
            (json!("no_such_app"), json!("rolled_back"), json!("shutting_down"));
        let expected = [(&nope, &no_such_app), (&photos, &rolled_back), (&vpn, &shutting_down), (&web, &Value::Null)];
        assert_eq!(told, expected);
    }

    #[test]
    fn results_of_several_have_the_same_keys_to_go_by() {
        for answer in values(&done()) {
            assert!(answer["outcome"].is_string() && answer["updated"].is_boolean(), "{answer}");
        }
    }

    #[test]
    fn a_broken_app_is_passed_over_only_by_who_asked_for_all() {
        let broken = || ("b".to_owned(), Err(Error::new(Code::InvalidComposeFile, "it is invalid")));
        let web = || ("web".to_owned(), Ok(job("unchanged", &[], Value::Null)));
        let code = |done: Vec<Done>, all| format!("{:?}", finish(Some(done), false, all, true));
        let [success, failure] = [ExitCode::SUCCESS, ExitCode::from(exit::FAILED)].map(|code| format!("{code:?}"));
        assert_eq!(code(vec![broken(), web()], true), success);
        assert_eq!(code(vec![broken(), web()], false), failure);
        assert!(rows(&[broken(), web()], true).lines().iter().any(|line| line.contains("skipped")));
    }
}
