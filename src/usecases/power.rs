//! `up` and `down` of an app, as its owner would type them.

use std::sync::Arc;
use std::time::Instant;

use super::attempt::unsettled;
use super::context::Host;
use super::jobs::{Running, Ticket};
use super::relay::Relay;
use super::resolve::{
    canonical_references, check_containers, check_directory, config, containers_of, redactor, with_what_runs,
};
use super::update_app::ensure_volumes;
use crate::adapters::apps_dir::AppDir;
use crate::adapters::command::CommandError;
use crate::adapters::compose::{Compose, Model, ProjectCall, Redactor, readable};
use crate::domain::attempt::Obstacle;
use crate::domain::job::{JobResult, Kind, Outcome, Step};
use crate::error::{Error, command_error};

impl Host {
    /// Starts `docker compose up -d` of an app.
    pub async fn start_up(self: &Arc<Self>, name: &str) -> Result<Ticket, Error> {
        let app = self.apps.find(name).await?;
        self.start_job(Kind::Up, app.target(), |running| async move { power(&running, &app, Kind::Up).await }).await
    }

    /// Starts `docker compose down` of an app; its volumes stay.
    pub async fn start_down(self: &Arc<Self>, name: &str) -> Result<Ticket, Error> {
        let app = self.apps.find(name).await?;
        self.start_job(Kind::Down, app.target(), |running| async move { power(&running, &app, Kind::Down).await }).await
    }
}

async fn power(running: &Running, app: &AppDir, kind: Kind) -> Result<JobResult, Error> {
    let started = Instant::now();
    let host = &running.host;
    running.step(Step::Resolve).await?;
    let compose = host.compose().await?;
    let (call, model) = resolve(host, app, &compose, kind).await?;
    let _images = match kind {
        Kind::Down => None,
        // What is missing is pulled.
        _ => Some(running.image_locks(&canonical_references(&model.project)).await?),
    };
    let containers = containers_of(&model.project, &host.engine.containers().await?);
    check_directory(app, &containers).await?;
    check_containers(host, app, &containers)?;
    if kind == Kind::Up {
        ensure_volumes(running, app, &model.project).await?;
    }
    running.handle.begin_touching()?;
    running.step(Step::Apply).await?;
    let redactor = redactor(app, &model).await?;
    let mut relay = Relay::new(running, redactor.clone());
    let lock = running.lock_for_child();
    let done = match kind {
        Kind::Down => compose.down(&call, lock, |line| relay.line(line)).await,
        _ => compose.start(&call, lock, |line| relay.line(line)).await,
    };
    done.map_err(|error| match error {
        CommandError::Timeout { .. } => unsettled(app.name.as_str(), Obstacle::ComposeRuns).app(&app.name),
        error => failed(&error, kind, &redactor).app(&app.name),
    })?;
    Ok(JobResult::of(running.handle.id.clone(), Outcome::Done, started.elapsed()))
}

/// The project as the verb has to see it. `down` is for all of it; `up` for what would be there by itself, and for what
/// runs of other profiles.
async fn resolve(host: &Host, app: &AppDir, compose: &Compose, kind: Kind) -> Result<(ProjectCall, Model), Error> {
    let call = ProjectCall::new(&app.path);
    if kind == Kind::Down {
        let call = call.with_profiles(["*".to_owned()]);
        let model = config(compose, app, &call).await?;
        return Ok((call, model));
    }
    let model = config(compose, app, &call).await?;
    let containers = containers_of(&model.project, &host.engine.containers().await?);
    with_what_runs(compose, app, call, model, &containers).await
}

fn failed(error: &CommandError, kind: Kind, redactor: &Redactor) -> Error {
    let mut failure = command_error(error, redactor);
    if let CommandError::Exit { stderr, .. } = error {
        let said = redactor.clean(&readable(stderr));
        failure.message =
            format!("`docker compose {kind}` failed: {}", said.lines().last().unwrap_or("no reason was given"));
    }
    failure
}
