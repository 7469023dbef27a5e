//! `restock serve`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::listen::{bind, clean_up};
use super::output::{failed, note, usage};
use super::signals::Signals;
use super::{exit, start};
use crate::adapters::{files, task};
use crate::config::{CommonOptions, Listen, ServeOptions, ServeSettings};
use crate::http::Http;
use crate::usecases::access::{Access, read_keys};
use crate::usecases::{Host, Restock};

/// How often a missing engine is looked for until interrupted jobs can be settled.
const ENGINE_POLL: Duration = Duration::from_secs(2);
/// The names that Docker's clients give to a socket, which no page can reach.
const SOCKET_HOSTS: [&str; 2] = ["docker", "api.moby.localhost"];
/// How long answers under way may take once everything else has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// More connections than this are not held, however many files there may be.
const MOST_CONNECTIONS: u64 = 2048;
/// A connection's share of the files: it may need one to the engine, one of a lock, and the pipes of a child.
const FILES_EACH: u64 = 4;

/// Runs the service until it is told to stop.
pub async fn serve(common: &CommonOptions, options: &ServeOptions) -> ExitCode {
    let (settings, serving) = match ServeSettings::load(common, options) {
        Ok(loaded) => loaded,
        Err(mistakes) => return usage(&mistakes),
    };
    let keys = match serving.api_key_file.as_deref().map(read_keys).transpose() {
        Ok(keys) => keys.unwrap_or_default(),
        Err(mistakes) => return usage(&mistakes),
    };
    start::log(&settings, false);
    let restock = match start::restock(&settings).await {
        Ok(restock) => restock,
        Err(error) => return failed(&error, false),
    };
    let (listener, listen) = match bind(&serving.listen).await {
        Ok(bound) => bound,
        Err(error) => {
            note(format_args!("error: cannot listen on {}: {error}", serving.listen));
            note("hint: choose another address with --listen");
            return ExitCode::from(exit::FAILED);
        }
    };
    // Before the first answer: who is told that it serves may stop it at once.
    let mut signals = Signals::listen();
    tracing::info!(%listen, apps = %settings.apps.display(), "Restock is serving");
    for host in restock.hosts() {
        task::background("looking around", look_around(host.clone()));
        let kept = host.clone().keep_schedule(serving.schedule.clone(), serving.run_missed);
        task::background("schedule", kept);
    }
    task::background("notices", restock.service.clone().keep_notifying());
    let mut allowed_hosts = serving.allowed_hosts;
    if matches!(serving.listen, Listen::Unix(_)) {
        allowed_hosts.extend(SOCKET_HOSTS.map(str::to_owned));
    }
    let login = serving.login.map(|login| (login.user, login.password));
    let access = Access::new(login, keys, restock.service.store.clone());
    let http = Http::new(restock.clone(), access, allowed_hosts, serving.docker_api);
    let mut served = task::background("server", crate::http::serve(http, listener, most_connections()));
    let code = tokio::select! {
        () = signals.next() => 0,
        ended = &mut served => {
            tracing::error!(?ended, "the listener broke off");
            exit::FAILED
        }
    };
    stop(&restock, serving.shutdown_grace).await;
    if !served.is_finished() && tokio::time::timeout(LAST_ANSWERS, served).await.is_err() {
        tracing::debug!("some connections were still open");
    }
    clean_up(&listen);
    ExitCode::from(code)
}

/// How many connections may be open at once, so that jobs and their children always find files to open.
fn most_connections() -> usize {
    usize::try_from((files::raise_limit() / FILES_EACH).clamp(1, MOST_CONNECTIONS)).unwrap_or(1)
}

/// Says what is missing, and settles what a former process left as soon as the engine answers.
async fn look_around(host: Arc<Host>) {
    if let Err(error) = host.compose().await {
        tracing::error!("{error}; until then updates are answered with 503");
    }
    let mut told = false;
    while let Err(error) = host.engine.info().await {
        if !told {
            tracing::error!("{error}. Start Docker; until then what needs it is answered with 503");
            told = true;
        }
        tokio::select! {
            () = tokio::time::sleep(ENGINE_POLL) => {}
            () = host.service.stopping.cancelled() => return,
        }
    }
    if told {
        tracing::info!("the Docker engine answers");
    }
    tokio::join!(host.clone().keep_settling(), host.watch_engine(), host.clone().watch_apps());
}

/// Takes no new work, cancels what has touched nothing, and gives the rest its grace.
async fn stop(restock: &Arc<Restock>, grace: Duration) {
    let running = restock.service.jobs.running();
    tracing::info!(jobs = running.len(), "stopping");
    restock.service.stopping.cancel();
    for job in &running {
        if let Some(handle) = restock.service.jobs.find(&job.id)
            && handle.cancel().is_err()
        {
            tracing::info!(job.id = %job.id, "waiting for a job that is changing containers");
        }
    }
    if tokio::time::timeout(grace, restock.service.jobs.drained()).await.is_err() {
        for job in restock.service.jobs.running() {
            tracing::warn!(job.id = %job.id, target = job.target.name(), "interrupted; the next start settles it");
        }
        restock.service.leave_open().await;
    }
}
