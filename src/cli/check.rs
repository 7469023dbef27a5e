//! `restock check`.

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::json;

use super::CheckArgs;
use super::apps::word;
use super::output::{failed, print, table, tell};
use crate::domain::freshness::Status;
use crate::domain::image::short;
use crate::error::Error;
use crate::usecases::Restock;
use crate::usecases::freshness::Ask;
use crate::views::Problem;

/// Updates are available.
const AVAILABLE: u8 = 10;

/// Asks the registries about apps; changes nothing.
pub async fn check(restock: &Arc<Restock>, args: &CheckArgs, as_json: bool) -> ExitCode {
    let names = match names(restock, &args.names) {
        Ok(names) => names,
        Err(error) => return failed(&error, as_json),
    };
    restock.freshness.learn_insecure(&restock.engine).await;
    let concurrency = restock.limits.concurrency.max(1);
    let checks = names.iter().map(|name| async move { (name, restock.check_app(name, Ask::Force).await) });
    let mut checked: Vec<_> = futures_util::stream::iter(checks).buffer_unordered(concurrency).collect().await;
    checked.sort_by_key(|(name, _)| *name);
    let outdated =
        checked.iter().any(|(_, status)| status.as_ref().is_ok_and(|status| status.status == Status::Outdated));
    let broken =
        checked.iter().any(|(_, status)| status.as_ref().map_or(true, |status| status.status == Status::Error));
    if as_json {
        let all: Vec<_> = checked
            .iter()
            .map(|(name, status)| match status {
                Ok(status) => json!(status),
                Err(error) => {
                    let mut problem = json!(Problem::from(error));
                    problem["app"] = json!(name);
                    problem
                }
            })
            .collect();
        super::output::json(&all);
    } else {
        let mut rows = table(&["APP", "SERVICE", "STATUS", "RUNNING", "AVAILABLE", "IMAGE", ""]);
        let digest = |digest: &Option<_>| {
            digest
                .as_ref()
                .map_or_else(|| "-".to_owned(), |digest: &crate::domain::image::Digest| short(digest.as_str()))
        };
        for status in checked.iter().filter_map(|(_, status)| status.as_ref().ok()) {
            for service in &status.services {
                rows.add_row([
                    status.app.to_string(),
                    service.service.to_string(),
                    word(&service.finding.status),
                    digest(&service.finding.local_digest),
                    digest(&service.finding.remote_digest),
                    service.image.clone(),
                    service.finding.message.clone().unwrap_or_default(),
                ]);
            }
        }
        print(&rows);
        for (name, error) in checked.iter().filter_map(|(name, status)| Some((name, status.as_ref().err()?))) {
            eprint!("{name}: ");
            tell(&Problem::from(error), false);
        }
    }
    match (broken, outdated && args.exit_code) {
        (_, true) => ExitCode::from(AVAILABLE),
        (true, false) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    }
}

/// The apps that are named, or all.
pub fn names(restock: &Restock, named: &[String]) -> Result<Vec<String>, Error> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    Ok(restock.apps.list()?.into_iter().map(|app| app.name.to_string()).collect())
}
