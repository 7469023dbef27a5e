//! `restock apps`.

use std::process::ExitCode;
use std::sync::Arc;

use super::output::{failed, json, print, table};
use crate::usecases::Restock;
use crate::views::AppView;

/// Lists the apps with state and last known freshness.
pub async fn apps(restock: &Arc<Restock>, as_json: bool) -> ExitCode {
    let apps: Vec<AppView> = match restock.seen_apps().await {
        Ok(apps) => apps.iter().map(AppView::from).collect(),
        Err(error) => return failed(&error, as_json),
    };
    if as_json {
        json(&apps);
        return ExitCode::SUCCESS;
    }
    if apps.is_empty() {
        println!("no apps in {}", restock.apps.root().display());
        return ExitCode::SUCCESS;
    }
    let mut rows = table(&["APP", "STATE", "SERVICES", "STATUS", "AUTO-UPDATE"]);
    for app in &apps {
        rows.add_row([
            app.name.to_string(),
            word(&app.state),
            services(app),
            app.status.map_or_else(|| "-".into(), |status| word(&status)),
            app.auto_update.clone().unwrap_or_else(|| "-".into()),
        ]);
    }
    print(&rows);
    for app in &apps {
        if let Some(error) = &app.error {
            eprintln!("{}: {error}", app.name);
        }
    }
    ExitCode::SUCCESS
}

fn services(app: &AppView) -> String {
    let up = app
        .services
        .iter()
        .filter(|service| service.containers.iter().any(|container| container.state.is_up()))
        .count();
    format!("{up}/{}", app.services.len())
}

/// The word of an enumeration, as the API writes it.
pub fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
