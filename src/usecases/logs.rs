//! The logs of an app's containers.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::context::Restock;
use super::resolve::redactor;
use crate::error::{Error, command_error};

/// How many lines may wait for a slow reader, besides those that were asked for at once.
const BUFFER: usize = 1024;

/// More lines than this are not kept for a reader, however many were asked for of however many services.
const MOST_AT_ONCE: usize = 200_000;

impl Restock {
    /// The last `tail` lines of each container, and with `follow` those to come until the receiver is dropped.
    pub async fn logs(self: &Arc<Self>, name: &str, tail: u32, follow: bool) -> Result<mpsc::Receiver<String>, Error> {
        let app = self.apps.find(name)?;
        let compose = self.compose().await?;
        let all = self.engine.containers().await?;
        let (call, resolved) = self.resolve_call(&app, &all).await?;
        let model = resolved.as_ref().as_ref().map_err(Error::clone)?;
        let redactor = redactor(&app, model);
        let services = model.project.services.len();
        let asked_for = usize::try_from(tail).unwrap_or_default().saturating_mul(services);
        let (sender, receiver) = mpsc::channel(BUFFER + asked_for.min(MOST_AT_ONCE));
        let stop = self.stopping.child_token();
        tokio::spawn(async move {
            let cancel = CancellationToken::new();
            let mut lost = 0_u64;
            let lines = compose.logs(&call, tail, follow, &cancel, |line| {
                if lost > 0
                    && sender.try_send(format!("… {lost} lines are left out: the reader was too slow\n")).is_ok()
                {
                    lost = 0;
                }
                if lost > 0 || sender.try_send(format!("{line}\n")).is_err() {
                    lost += 1;
                    if sender.is_closed() {
                        cancel.cancel();
                    }
                }
            });
            let mut lines = std::pin::pin!(lines);
            let ended = tokio::select! {
                ended = &mut lines => ended,
                () = gone(&sender, &stop) => {
                    cancel.cancel();
                    lines.await
                }
            };
            if let Err(error) = ended
                && !sender.is_closed()
            {
                let error = command_error(&error, &redactor);
                tracing::warn!(app = %app.name, %error, stderr = error.stderr, "logs ended with a failure");
            }
        });
        Ok(receiver)
    }
}

/// Waits until nobody reads any more, or the service stops.
async fn gone(sender: &mpsc::Sender<String>, stop: &CancellationToken) {
    tokio::select! {
        () = sender.closed() => {}
        () = stop.cancelled() => {}
    }
}
