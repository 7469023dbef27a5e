//! `restock apps`, and the apps that other commands name.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use super::output::{failed, json, print, say};
use super::table::Table;
use super::words::{freshness, held_back, time, word};
use crate::domain::container::Health;
use crate::domain::hold::HeldBack;
use crate::domain::image::short;
use crate::error::Error;
use crate::usecases::Restock;
use crate::usecases::known_projects::Trust;
use crate::usecases::list_apps::Look;
use crate::views::AppView;

/// Lists the apps with state and last known freshness.
pub async fn apps(restock: &Arc<Restock>, as_json: bool) -> ExitCode {
    // What is known from before costs no child; nobody would be there to renew it behind the answer.
    let apps: Vec<AppView> = match look(restock).await {
        Ok(look) => AppView::all(&look, None),
        Err(error) => return failed(&error, as_json),
    };
    if apps.is_empty() {
        return none_there(restock, as_json);
    }
    if as_json {
        json(&apps);
        return ExitCode::SUCCESS;
    }
    let mut rows = Table::new(["APP", "STATE", "SERVICES", "STATUS", "VERSION", "AUTO-UPDATE", "NEXT"]);
    for app in &apps {
        rows.row([
            app.name.clone(),
            state(app),
            services(app),
            app.status.map_or("-", freshness).to_owned(),
            versions(app),
            app.auto_update.map_or_else(|| "-".into(), |policy| policy.to_string()),
            app.next.map_or_else(|| "-".into(), time),
        ]);
        if let Some(error) = &app.error {
            rows.about(error);
        }
        if let Some(held) = &app.held {
            let held = HeldBack { reason: held.reason, since: held.since, until: held.until };
            rows.about(&held_back(&held));
        }
    }
    print(&rows);
    ExitCode::SUCCESS
}

async fn look(restock: &Restock) -> Result<Arc<Look>, Error> {
    restock.local()?.seen_apps(Trust::SameFiles).await
}

/// The app's state, with its health where that is bad or not known yet.
fn state(app: &AppView) -> String {
    match app.health {
        Health::None | Health::Healthy => word(&app.state),
        Health::Starting | Health::Unhealthy => format!("{} ({})", word(&app.state), word(&app.health)),
    }
}

/// What an update would change, as `1.2 → 1.3`; where there is none, the versions that run. A digest stands for a version
/// that is not known.
fn versions(app: &AppView) -> String {
    let newer =
        app.services.iter().filter_map(|service| Some((service.version.as_deref(), service.available.as_ref()?)));
    let changes: BTreeSet<_> = newer
        .map(|(version, newer)| {
            let to = newer.version.clone().unwrap_or_else(|| short(newer.digest.as_str()));
            version.map_or_else(|| format!("→ {to}"), |from| format!("{from} → {to}"))
        })
        .collect();
    let running = || app.services.iter().filter_map(|service| service.version.clone()).collect::<BTreeSet<_>>();
    let shown = if changes.is_empty() { running() } else { changes };
    if shown.is_empty() { "-".into() } else { shown.into_iter().collect::<Vec<_>>().join(", ") }
}

fn services(app: &AppView) -> String {
    let up = app
        .services
        .iter()
        .filter(|service| service.containers.iter().any(|container| container.state.is_up()))
        .count();
    format!("{up}/{}", app.services.len())
}

/// The apps that are named, each once, or all.
pub async fn names(restock: &Restock, named: &[String]) -> Result<Vec<String>, Error> {
    if named.is_empty() {
        return Ok(restock.local()?.apps.list().await?.into_iter().map(|app| app.name.to_string()).collect());
    }
    let mut seen = BTreeSet::new();
    Ok(named.iter().filter(|name| seen.insert(name.as_str())).cloned().collect())
}

/// Says that there is nothing to work on.
pub fn none_there(restock: &Restock, as_json: bool) -> ExitCode {
    if as_json {
        json(&[(); 0]);
    } else if let Ok(host) = restock.local() {
        say(format_args!("no apps in {}", host.apps.root().display()));
    }
    ExitCode::SUCCESS
}
