//! `restock auto-update` and `restock policy`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::{AutoUpdateArgs, PolicyArgs};
use super::exit;
use super::output::{failed, json, note, print, say};
use super::progress::Voice;
use super::table::Table;
use super::watch::{to_end, watch_one};
use super::words::{time, word};
use crate::domain::hold::{HeldBack, HoldReason};
use crate::domain::policy::Policy;
use crate::domain::report::{PassReport, Updated};
use crate::error::Error;
use crate::usecases::Restock;
use crate::usecases::auto_update::{PassOptions, Scope};
use crate::usecases::policies::AppPolicy;
use crate::views::Problem;

/// One pass over everything that a policy marks.
pub async fn auto_update(restock: &Arc<Restock>, args: &AutoUpdateArgs, as_json: bool) -> ExitCode {
    let voice = Voice::new(as_json);
    let report = match watch_one(restock, voice.clone(), as_json, run(restock, args, &voice)).await {
        Ok(report) => report,
        Err(code) => return code,
    };
    if as_json {
        json(&report);
    } else {
        show(&report);
    }
    if !report.errors.is_empty() || report.any(Updated::Failed) {
        let only_rolled_back = report.any(Updated::RolledBack) && !report.any(Updated::Failed);
        return ExitCode::from(if only_rolled_back { exit::ROLLED_BACK } else { exit::FAILED });
    }
    ExitCode::SUCCESS
}

async fn run(restock: &Arc<Restock>, args: &AutoUpdateArgs, voice: &Voice) -> Result<PassReport, Problem> {
    restock.learn_settings().await;
    let host = restock.local()?;
    if args.dry_run {
        return Ok(host.dry_pass(&Scope::Everything).await?);
    }
    let options = PassOptions { rollback: args.rollback, scope: Scope::Everything };
    let job = loop {
        let began = Arc::new(AtomicBool::new(false));
        let job = to_end(restock, "auto-update", voice, || host.start_any_pass(options.clone(), began.clone())).await?;
        // A pass of another process may have been asked to do something else.
        if began.load(Ordering::Acquire) {
            break job;
        }
    };
    match Problem::of_job(&job) {
        Some(problem) => Err(problem),
        None => Ok(job.result.and_then(|result| result.report).unwrap_or_default()),
    }
}

fn show(report: &PassReport) {
    if report.reports.is_empty() && report.errors.is_empty() {
        say("no policy marks anything; `restock policy APP registry` marks an app");
        return;
    }
    let mut rows = Table::new(["UNIT", "CONTAINER", "IMAGE", "POLICY", "UPDATED"]);
    for report in &report.reports {
        let container = format!("{} ({})", report.container_id.get(..12).unwrap_or_default(), report.container_name);
        let unit = report.unit.name().to_owned();
        rows.row([unit, container, report.image_name.clone(), report.policy.to_string(), word(&report.updated)]);
        if let Some(held) = &report.held_back {
            rows.about(&why(held));
        }
    }
    print(&rows);
    for error in &report.errors {
        note(format_args!("error: {error}"));
    }
}

/// Why something waits, in a few words.
fn why(held: &HeldBack) -> String {
    let until = held.until.map(|until| format!(" until {}", time(until))).unwrap_or_default();
    match held.reason {
        HoldReason::Failed => "failed before, waits for another".into(),
        HoldReason::Setup => "the app did not work with it, waits for a change".into(),
        HoldReason::RolledBack => "rolled back, waits for another".into(),
        HoldReason::Skipped => "skipped, waits for another".into(),
        HoldReason::MinAge => {
            let since = held.since.map_or_else(|| "age unknown".into(), |since| format!("seen {}", time(since)));
            format!("too young: {since}, waits{until}")
        }
        HoldReason::Window => format!("the window is closed{until}"),
    }
}

/// Shows an app's policy, or sets it.
pub async fn policy(restock: &Arc<Restock>, args: &PolicyArgs, as_json: bool) -> ExitCode {
    match found_policy(restock, args).await {
        Ok(policy) if as_json => json(&policy),
        Ok(policy) => show_policy(&args.app, &policy),
        Err(error) => return failed(&error, as_json),
    }
    ExitCode::SUCCESS
}

async fn found_policy(restock: &Restock, args: &PolicyArgs) -> Result<AppPolicy, Error> {
    let (host, name) = restock.named(&args.app)?;
    match &args.policy {
        None => host.policy(name).await,
        Some(wanted) => host.set_policy(name, wanted.policy()).await,
    }
}

fn show_policy(app: &str, policy: &AppPolicy) {
    let text = |policy: Option<Policy>| policy.map_or_else(|| "-".into(), |policy| policy.to_string());
    let mut rows = Table::new(["APP", "SERVICE", "POLICY", "SAID BY"]);
    let said = |source: &Option<_>| source.as_ref().map_or_else(|| "-".into(), word);
    if policy.services.is_empty() {
        rows.row([app.to_owned(), "-".into(), text(policy.auto_update), said(&policy.source)]);
    }
    for service in &policy.services {
        rows.row([app.to_owned(), service.service.to_string(), text(service.auto_update), said(&service.source)]);
    }
    print(&rows);
    for service in &policy.services {
        if let Some(error) = &service.error {
            note(format_args!("error: {}: {error}", service.service));
        }
    }
}
