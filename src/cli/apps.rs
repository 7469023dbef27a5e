//! `restock apps`, and the apps that other commands name.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use super::output::{failed, json, print, say};
use super::table::Table;
use super::words::{freshness, time, word};
use crate::domain::container::Health;
use crate::domain::policy::Policy;
use crate::error::Error;
use crate::usecases::Restock;
use crate::usecases::auto_update::ScheduleView;
use crate::usecases::known_projects::Trust;
use crate::usecases::list_apps::Look;
use crate::views::AppView;

/// Lists the apps with state and last known freshness.
pub async fn apps(restock: &Arc<Restock>, as_json: bool) -> ExitCode {
    // What is known from before costs no child; nobody would be there to renew it behind the answer.
    let apps: Vec<AppView> = match look(restock).await {
        Ok(look) => look.apps.iter().map(AppView::from).collect(),
        Err(error) => return failed(&error, as_json),
    };
    if apps.is_empty() {
        return none_there(restock, as_json);
    }
    if as_json {
        json(&apps);
        return ExitCode::SUCCESS;
    }
    let schedule = match restock.service.schedule().await {
        Ok(schedule) => schedule,
        Err(error) => return failed(&error, as_json),
    };
    let mut rows = Table::new(["APP", "STATE", "SERVICES", "STATUS", "AUTO-UPDATE", "NEXT"]);
    for app in &apps {
        rows.row([
            app.name.to_string(),
            state(app),
            services(app),
            app.status.map_or("-", freshness).to_owned(),
            app.auto_update.map_or_else(|| "-".into(), |policy| policy.to_string()),
            next(&schedule, app).map_or_else(|| "-".into(), time),
        ]);
        if let Some(error) = &app.error {
            rows.about(error);
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

/// When a pass can next update the app; never when no policy marks it, or when no service keeps the schedule.
fn next(schedule: &ScheduleView, app: &AppView) -> Option<jiff::Timestamp> {
    app.auto_update.filter(|policy| *policy != Policy::Disabled)?;
    let own = schedule.apps.iter().find(|own| own.app == app.name.as_str()).map(|own| own.applies);
    own.or(schedule.applies).filter(|next| *next > jiff::Timestamp::now())
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
