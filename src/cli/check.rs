//! `restock check`.

use std::process::ExitCode;
use std::sync::Arc;

use super::args::CheckArgs;
use super::exit;
use super::output::{json, note, print};
use super::progress::Voice;
use super::table::Table;
use super::watch::{to_end, watch_one};
use super::words::{freshness, held_back};
use crate::domain::check::{AppStatus, ServiceStatus};
use crate::domain::image::short;
use crate::error::{Code, Error};
use crate::usecases::Restock;
use crate::views::{CheckAnswer, Problem};

/// Asks the registries about apps; changes nothing.
pub async fn check(restock: &Arc<Restock>, args: &CheckArgs, as_json: bool) -> ExitCode {
    let voice = Voice::new(as_json);
    let answer = match watch_one(restock, voice.clone(), as_json, run(restock, args, &voice)).await {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    if as_json {
        json(&answer);
    } else {
        show(restock, &answer);
    }
    ExitCode::from(code(&answer, args.exit_code))
}

async fn run(restock: &Arc<Restock>, args: &CheckArgs, voice: &Voice) -> Result<CheckAnswer, Problem> {
    restock.learn_settings().await;
    let host = restock.local()?;
    let named = Some(restock.bare_names(&args.names)?).filter(|named| !named.is_empty());
    let job = to_end(restock, "check", voice, || host.start_check(named.as_deref())).await?;
    if let Some(problem) = Problem::of_job(&job) {
        return Err(problem);
    }
    let report = job.result.as_ref().and_then(|result| result.check.as_ref());
    let report = report.ok_or_else(|| Error::new(Code::Defect, "the check ended without an answer"))?;
    Ok(CheckAnswer::of(&job.id, report))
}

fn code(answer: &CheckAnswer, tell_available: bool) -> u8 {
    match answer {
        CheckAnswer { outdated: 1.., .. } if tell_available => exit::AVAILABLE,
        CheckAnswer { failed: 1.., .. } => exit::FAILED,
        _ => 0,
    }
}

fn show(restock: &Restock, answer: &CheckAnswer) {
    if answer.apps.is_empty() {
        super::apps::none_there(restock, false);
        return;
    }
    print(&rows(&answer.apps));
    for app in &answer.apps {
        if let Some(error) = &app.error {
            note(format_args!("error: {}: {}", app.app, error.message));
            error.hint.iter().for_each(|hint| note(format_args!("hint: {hint}")));
        }
    }
}

fn rows(apps: &[AppStatus]) -> Table {
    let mut rows = Table::new(["APP", "SERVICE", "STATUS", "AVAILABLE", "IMAGE"]);
    for status in apps {
        for service in &status.services {
            let found = freshness(service.finding.status).to_owned();
            let row =
                [status.app.to_string(), service.service.to_string(), found, newer(service), service.image.clone()];
            rows.row(row);
            if let Some(message) = &service.finding.message {
                rows.about(message);
            }
            if let Some(held) = &service.held_back {
                rows.about(&held_back(held));
            }
        }
    }
    rows
}

/// The version of what is newer, or its digest where no version is known.
fn newer(service: &ServiceStatus) -> String {
    let Some(newer) = &service.available else { return "-".into() };
    newer.version.clone().unwrap_or_else(|| short(newer.digest.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::CheckReport;
    use crate::domain::freshness::Status;
    use crate::domain::job::JobId;

    fn checked(statuses: &[Status]) -> CheckAnswer {
        let found = |status: &Status| AppStatus {
            app: "web".parse().unwrap(),
            status: *status,
            services: vec![],
            checked_at: None,
            error: None,
        };
        CheckAnswer::of(&JobId::new(ulid::Ulid::nil()), &CheckReport::of(statuses.iter().map(found).collect()))
    }

    #[test]
    fn available_updates_are_told_only_when_asked_for() {
        let outdated = checked(&[Status::Updated, Status::Outdated]);
        assert_eq!((code(&outdated, false), code(&outdated, true)), (0, 10));
        let failed = checked(&[Status::Outdated, Status::Error]);
        assert_eq!((code(&failed, false), code(&failed, true)), (1, 10));
        assert_eq!(code(&checked(&[Status::Error]), true), 1);
        assert_eq!(code(&checked(&[Status::Skipped]), true), 0);
    }
}
