//! The one door to tasks, and to threads that may block.
//!
//! What a request starts keeps the request's span and ID, so that everything it logs, and the job it begins, is found by
//! the ID. What goes on by itself has a span of its own. A task that panics is logged with its name.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

tokio::task_local! {
    /// The ID of the request that this task works for.
    static REQUEST: Arc<str>;
}

/// Runs `work` for the request `id`, and with it everything that it spawns here.
pub async fn for_request<T>(id: Arc<str>, work: impl Future<Output = T>) -> T {
    REQUEST.scope(id, work).await
}

/// Returns the ID of the request that this task works for; `None` for what no request has asked for.
pub fn request() -> Option<Arc<str>> {
    REQUEST.try_with(Arc::clone).ok()
}

/// Starts a task that belongs to whoever starts it: it keeps the span, and the request where there is one.
pub fn spawn<F>(name: &'static str, work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let work = watched(name, work).in_current_span();
    start(match request() {
        Some(id) => REQUEST.scope(id, work).left_future(),
        None => work.right_future(),
    })
}

/// Starts a task that goes on by itself, in a span of its own and for no request.
pub fn background<F>(name: &'static str, work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    // A span of the level `error` is there whatever the log is filtered by.
    start(watched(name, work).instrument(tracing::error_span!(parent: None, "task", task = name)))
}

/// Runs `work` on a thread that may block. It runs to its end also when nobody waits for it any more.
#[expect(clippy::disallowed_methods, reason = "this is the one door to threads that may block")]
pub fn blocking<T: Send + 'static>(name: &'static str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || {
        let _span = span.entered();
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| broke_off(name, panic))
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the one door to tasks")]
fn start<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(work)
}

async fn watched<F: Future>(name: &'static str, work: F) -> F::Output {
    // What a panic leaves half done is dropped with the work; nobody looks at it again.
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| broke_off(name, panic))
}

/// Logs a panic, and lets it go on to whoever waits for the task.
fn broke_off(name: &'static str, panic: Box<dyn Any + Send>) -> ! {
    tracing::error!(task = name, panic = words(panic.as_ref()), "a task panicked");
    resume_unwind(panic)
}

/// The message of a panic.
pub fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_request_starts_belongs_to_it_and_what_goes_on_by_itself_does_not() {
        let seen = for_request("r1".into(), async {
            let own = spawn("own", async { spawn("below", async { request() }).await.unwrap() });
            let background = background("background", async { request() });
            (own.await.unwrap(), background.await.unwrap())
        });
        assert_eq!(seen.await, (Some("r1".into()), None));
        assert_eq!(spawn("without", async { request() }).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_panic_reaches_whoever_waits() {
        assert!(spawn("task", async { panic!("on purpose") }).await.unwrap_err().is_panic());
        assert!(blocking("thread", || panic!("on purpose")).await.unwrap_err().is_panic());
    }
}
