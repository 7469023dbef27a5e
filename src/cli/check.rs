//! `restock check`.

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::CheckArgs;
use super::apps::{names, none_there};
use super::exit;
use super::output::{self, failed, print, tell};
use super::progress::Voice;
use super::table::Table;
use super::words::freshness;
use crate::domain::freshness::Status;
use crate::error::Error;
use crate::usecases::Restock;
use crate::usecases::check_app::AppStatus;
use crate::usecases::freshness::Ask;
use crate::views::Problem;

type Checked = (String, Result<AppStatus, Error>);

/// Asks the registries about apps; changes nothing.
pub async fn check(restock: &Arc<Restock>, args: &CheckArgs, as_json: bool) -> ExitCode {
    let names = match names(restock, &args.names).await {
        Ok(names) => names,
        Err(error) => return failed(&error, as_json),
    };
    if names.is_empty() {
        return none_there(restock, as_json);
    }
    restock.learn_settings().await;
    let concurrency = restock.service.limits.concurrency.max(1);
    let counter = &Voice::new(as_json).counter(names.len());
    let checks = names.into_iter().map(|name| async move {
        let status = check_one(restock, &name).await;
        counter.one_more();
        (name, status)
    });
    let mut checked: Vec<_> = futures_util::stream::iter(checks).buffer_unordered(concurrency).collect().await;
    counter.clear();
    checked.sort_by(|(a, _), (b, _)| a.cmp(b));
    if as_json {
        output::json(&checked.iter().map(value).collect::<Vec<_>>());
    } else {
        if checked.iter().any(|(_, status)| status.is_ok()) {
            print(&rows(&checked));
        }
        let several = checked.len() > 1;
        for (name, status) in &checked {
            if let Err(error) = status {
                tell(&Problem::from(error), several.then_some(name));
            }
        }
    }
    ExitCode::from(code(&checked, args.exit_code))
}

async fn check_one(restock: &Restock, name: &str) -> Result<AppStatus, Error> {
    let (host, name) = restock.named(name)?;
    host.check_app(name, Ask::Force).await
}

fn code(checked: &[Checked], tell_available: bool) -> u8 {
    let any = |wanted: Status| checked.iter().any(|(_, status)| status.as_ref().is_ok_and(|app| app.status == wanted));
    if tell_available && any(Status::Outdated) {
        exit::AVAILABLE
    } else if any(Status::Error) || checked.iter().any(|(_, status)| status.is_err()) {
        exit::FAILED
    } else {
        0
    }
}

fn value((name, status): &Checked) -> Value {
    match status {
        Ok(status) => json!(status),
        Err(error) => {
            let mut problem = json!(Problem::from(error));
            problem["app"] = json!(name);
            problem
        }
    }
}

fn rows(checked: &[Checked]) -> Table {
    let mut rows = Table::new(["APP", "SERVICE", "STATUS", "IMAGE"]);
    for status in checked.iter().filter_map(|(_, status)| status.as_ref().ok()) {
        for service in &status.services {
            let found = freshness(service.finding.status).to_owned();
            rows.row([status.app.to_string(), service.service.to_string(), found, service.image.clone()]);
            if let Some(message) = &service.finding.message {
                rows.about(message);
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn checked(statuses: &[Option<Status>]) -> Vec<Checked> {
        let app = |status: &Option<Status>| {
            let found = |status| AppStatus { app: "web".parse().unwrap(), status, services: vec![], checked_at: None };
            let error = || Error::new(Code::InvalidComposeFile, "the Compose file is invalid");
            ("web".to_owned(), status.map(found).ok_or_else(error))
        };
        statuses.iter().map(app).collect()
    }

    #[test]
    fn available_updates_are_told_only_when_asked_for() {
        let outdated = checked(&[Some(Status::Updated), Some(Status::Outdated)]);
        assert_eq!((code(&outdated, false), code(&outdated, true)), (0, 10));
        let failed = checked(&[Some(Status::Outdated), None]);
        assert_eq!((code(&failed, false), code(&failed, true)), (1, 10));
        assert_eq!(code(&checked(&[Some(Status::Error)]), true), 1);
        assert_eq!(code(&checked(&[Some(Status::Skipped)]), true), 0);
    }
}
