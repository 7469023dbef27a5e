//! Server-sent events.
//!
//! `id` grows with every event; a client that comes back sends the last one as `Last-Event-ID` and misses nothing, or
//! gets the event `resync` when too much has happened since: then it asks for the state anew.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::keys::NoKeys;
use super::params::Query;
use super::problem::Failure;
use super::state::Http;
use crate::adapters::task;
use crate::domain::job::{Job, JobId, State as JobState};
use crate::usecases::Service;
use crate::usecases::events::{Event, Replay};
use crate::usecases::jobs::Ticket;
use crate::views::{CheckAnswer, Problem};

/// Proxies cut connections that are silent for a minute or so.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many events may wait for a slow reader.
const BUFFER: usize = 64;

/// The header that says where the client left.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "tells the document what `last_event_id` reads")]
pub struct Resume {
    /// The `id` of the last event that was heard: what came after it is told first.
    #[param(rename = "Last-Event-ID", required = false)]
    last_event_id: u64,
}

/// One event of a stream, as the document tells it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "tells the document what `sse` writes")]
pub struct ServerEvent {
    /// Grows with every event, also across restarts.
    id: Option<String>,
    /// `job` (a job as it is now), `step`, `progress`, `container`, `hook`, `warning`, `apps_changed` (lists
    /// of apps may look different: ask for them again), `resync` (too much was missed: ask for the state anew), or `result` (the last one of a job: the answer or the problem).
    event: String,
    /// JSON; `x-payloads` names its shape for each `event`.
    data: String,
}

/// Where the client left, if it has been here before.
pub fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.trim().parse().ok()
}

/// Everything that happens, for as long as the client listens.
#[utoipa::path(get, path = "", tag = "events", params(Resume),
    responses((status = 200, description = "The events", body = ServerEvent, content_type = "text/event-stream")))]
pub async fn everything(State(http): State<Http>, _: Query<NoKeys>, headers: HeaderMap) -> Result<Response, Failure> {
    let service = http.restock.service.clone();
    let (replay, live) = service.events.listen(last_event_id(&headers));
    let (sender, receiver) = mpsc::channel(BUFFER);
    task::spawn("events", async move {
        let all = |event: &Event| Pass::On(sse(event, with_context(event)));
        tokio::select! {
            () = forward(replay, live, &sender, all) => {}
            () = service.stopping.cancelled() => {}
        }
    });
    Ok(respond(receiver))
}

/// One job's events; the last one, `result`, has the answer or the problem that the request itself would have had.
pub fn job_stream(service: Arc<Service>, id: JobId, after: Option<u64>) -> Response {
    // Asked before listening: the result of a job that runs now is told after this.
    let runs_here = service.jobs.find(&id).is_some();
    let (replay, live) = service.events.listen(Some(after.unwrap_or(0)));
    let is_result = |event: &Arc<Event>| event.job.as_ref() == Some(&id) && event.event == "result";
    let will_hear = runs_here || replay.events.iter().any(is_result);
    let (sender, receiver) = mpsc::channel(BUFFER);
    task::spawn("events of a job", async move {
        let ask = Notify::new();
        if !will_hear {
            ask.notify_one();
        }
        let only = |event: &Event| match event.event {
            "resync" => {
                // The result may be among what was missed.
                ask.notify_one();
                Pass::On(sse(event, with_context(event)))
            }
            _ if event.job.as_ref() != Some(&id) => Pass::Over,
            "result" => Pass::Last(sse(event, result_of(&event.data))),
            _ => Pass::On(sse(event, with_context(event))),
        };
        let own = forward(replay, live, &sender, only);
        let asked = async {
            ask.notified().await;
            ended(&service, &id).await
        };
        tokio::select! {
            () = own => {}
            job = asked => if let Some(job) = job {
                let event = SseEvent::default().event("result").data(result_of(&json!(job)).to_string());
                // A reader that has gone needs no result.
                let _ = sender.send(event).await;
            },
            // The job itself goes on until its grace has passed; the connection need not.
            () = service.stopping.cancelled() => {}
        }
    });
    respond(receiver)
}

/// The end of a job whose `result` is not heard here: it was told before the reader came (back), before this process
/// began to remember, or while the reader was too slow, or the job runs in another process.
async fn ended(service: &Service, id: &JobId) -> Option<Job> {
    let ticket = service.jobs.find(id).map_or_else(|| Ticket::Elsewhere(id.clone()), Ticket::Own);
    let job = service.wait(&ticket).await.ok()??;
    (job.state == JobState::Finished).then_some(job)
}

/// What becomes of an event.
enum Pass {
    Over,
    On(SseEvent),
    Last(SseEvent),
}

/// Passes events on until the last one, or until the reader has gone. One that fell too far behind is told so.
async fn forward(
    replay: Replay,
    mut live: broadcast::Receiver<Arc<Event>>,
    sender: &mpsc::Sender<SseEvent>,
    pass: impl Fn(&Event) -> Pass + Send,
) {
    let again = replay.gap.then(|| Arc::new(resync()));
    for event in again.into_iter().chain(replay.events) {
        if !send(sender, pass(&event)).await {
            return;
        }
    }
    loop {
        let event = match live.recv().await {
            Ok(event) => event,
            Err(broadcast::error::RecvError::Lagged(_)) => Arc::new(resync()),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if !send(sender, pass(&event)).await {
            return;
        }
    }
}

/// Returns whether there is more to come and somebody to read it.
async fn send(sender: &mpsc::Sender<SseEvent>, pass: Pass) -> bool {
    match pass {
        Pass::Over => true,
        Pass::On(event) => sender.send(event).await.is_ok(),
        Pass::Last(event) => {
            // Whether it is still read does not matter any more.
            let _ = sender.send(event).await;
            false
        }
    }
}

fn resync() -> Event {
    Event { id: 0, at: jiff::Timestamp::now(), job: None, event: "resync", data: json!({}) }
}

fn with_context(event: &Event) -> Value {
    let mut data = event.data.clone();
    data["at"] = json!(event.at);
    if let Some(job) = &event.job {
        data["job"] = json!(job);
    }
    data
}

fn result_of(job: &Value) -> Value {
    let Ok(job) = serde_json::from_value::<Job>(job.clone()) else { return job.clone() };
    let check = job.result.as_ref().and_then(|result| result.check.as_ref());
    match (Problem::of_job(&job), check) {
        (Some(problem), _) => json!(problem),
        (None, Some(report)) => json!(CheckAnswer::of(&job.id, report)),
        (None, None) => json!(job.result),
    }
}

fn sse(event: &Event, data: Value) -> SseEvent {
    let sse = SseEvent::default().event(event.event).data(data.to_string());
    if event.id == 0 { sse } else { sse.id(event.id.to_string()) }
}

fn respond(receiver: mpsc::Receiver<SseEvent>) -> Response {
    use futures_util::StreamExt;
    let events = ReceiverStream::new(receiver).map(Ok::<_, Infallible>);
    let headers = [(header::CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))).into_response()
}
