//! Runs jobs in front of a person, who sees what they do and may ask them to end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::exit;
use super::output::{json, tell};
use super::progress::{Screen, Voice};
use super::signals::{Signals, outlive_terminal};
use super::words::doing;
use crate::domain::job::{Job, JobId};
use crate::error::{Code, Error};
use crate::usecases::Restock;
use crate::usecases::jobs::Ticket;
use crate::views::Problem;

/// How often the step of a job of another process is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Runs `work` and shows its events; `None` when the person would not wait for it any longer.
///
/// A first signal cancels what has touched nothing and waits for the rest. A second leaves the rest as it is: Compose,
/// which is never killed half way, goes on by itself, and the next run or the service settles and records the job.
pub async fn watch<T>(restock: &Arc<Restock>, voice: Voice, work: impl Future<Output = T>) -> Option<T> {
    let (_, mut events) = restock.service.events.listen(None);
    let mut signals = Signals::listen();
    outlive_terminal();
    let mut screen = Screen::new(voice.clone());
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => {
                while let Ok(event) = events.try_recv() {
                    screen.show(&event);
                }
                break Some(done);
            }
            event = events.recv() => match event {
                Ok(event) => screen.show(&event),
                Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "the screen could not keep up"),
                // Restock itself, which tells the events, lives as long as this function.
                Err(RecvError::Closed) => {}
            },
            () = signals.next() => {
                if restock.service.stopping.is_cancelled() {
                    voice.say("left as it is; the next run or the service settles it");
                    break None;
                }
                wind_up(restock, &voice);
            }
        }
    };
    screen.clear();
    done
}

/// Runs `work` as [`watch`] does, and reports the problem that it may end with.
///
/// # Errors
/// The exit code of a command that has nothing to show.
pub async fn watch_one<T>(
    restock: &Arc<Restock>,
    voice: Voice,
    as_json: bool,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, ExitCode> {
    let done = watch(restock, voice, work).await.ok_or_else(|| ExitCode::from(exit::FAILED))?;
    done.map_err(|problem| {
        if as_json {
            json(&problem);
        } else {
            tell(&problem, None);
        }
        ExitCode::from(exit::FAILED)
    })
}

/// Lets no further job begin, and cancels those that can still be cancelled.
fn wind_up(restock: &Restock, voice: &Voice) {
    restock.service.stopping.cancel();
    for job in restock.service.jobs.running() {
        let Some(handle) = restock.service.jobs.find(&job.id) else { continue };
        let end = match handle.cancel() {
            Ok(()) => "cancelling, nothing was touched",
            Err(_) => {
                "its containers are being changed, so that is finished first; once more leaves it to the next run"
            }
        };
        voice.say(&format!("{}: {end}", job.target.name()));
    }
}

/// Runs a job to its end, whoever works on it; see [`Service::run_to_end`](crate::usecases::Service::run_to_end). A caller that wants to end need not
/// wait for a job of another process.
pub async fn to_end<S, F>(restock: &Arc<Restock>, name: &str, voice: &Voice, start: S) -> Result<Job, Error>
where
    S: Fn() -> F,
    F: Future<Output = Result<Ticket, Error>>,
{
    loop {
        let ticket = start().await?;
        let ended = match &ticket {
            Ticket::Own(_) => restock.service.wait(&ticket).await,
            Ticket::Elsewhere(id) => {
                voice.note(&format!("{name}: another process works on it already, waiting for its job {id}"));
                tokio::select! {
                    ended = restock.service.wait(&ticket) => ended,
                    () = tell_steps(restock, id, name, voice) => restock.service.wait(&ticket).await,
                    () = restock.service.stopping.cancelled() => return Err(not_awaited(name, id)),
                }
            }
        };
        if let Some(job) = ended? {
            return Ok(job);
        }
    }
}

/// Tells the steps of a job of another process, until the job cannot be read any more: who waits for its end says why.
async fn tell_steps(restock: &Restock, id: &JobId, name: &str, voice: &Voice) {
    let mut told = None;
    while let Ok(job) = restock.service.job(id).await {
        if job.step != told
            && let Some(step) = job.step
        {
            voice.note(&format!("{name}: {}", doing(step)));
            told = Some(step);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn not_awaited(name: &str, id: &JobId) -> Error {
    Error::new(Code::NotAwaited, format!("{name}: job {id} goes on in another process"))
        .hint("`restock history` shows how it ended")
        .job(id)
}
