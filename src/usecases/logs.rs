//! The logs of an app's containers.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::context::{Host, MOST_READERS};
use super::known_projects::Trust;
use super::resolve::{Reading, redactor};
use crate::adapters::task;
use crate::error::{Code, Error, command_error};

/// How many bytes of lines may wait for one slow reader.
const WAITING: usize = 8 << 20;
/// What a line takes besides its text, about.
const LINE: usize = 64;

/// A line of a log, and its part of what may wait for the reader.
pub struct LogLine {
    pub text: String,
    _waiting: OwnedSemaphorePermit,
}

impl LogLine {
    /// A line, if there is room for one more.
    fn new(text: String, room: &Arc<Semaphore>) -> Option<Self> {
        let size = u32::try_from(text.len() + LINE).ok()?;
        let _waiting = room.clone().try_acquire_many_owned(size).ok()?;
        Some(Self { text, _waiting })
    }
}

impl Host {
    /// The last `tail` lines of each container, and with `follow` those to come until the receiver is dropped. What a reader
    /// is too slow for is left out, and the next line says how much that was.
    ///
    /// # Errors
    /// `too_many_readers` when there are [`MOST_READERS`].
    pub async fn logs(
        self: &Arc<Self>,
        name: &str,
        tail: u32,
        follow: bool,
    ) -> Result<mpsc::UnboundedReceiver<LogLine>, Error> {
        let app = self.apps.find(name).await?;
        let reader = self.service.log_readers.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{MOST_READERS} logs are being read already");
            Error::new(Code::TooManyReaders, message).hint("close one of them").retry_after(10)
        })?;
        let compose = self.compose().await?;
        let all = self.engine.containers().await?;
        let Reading { call, resolved, .. } = self.resolve_call(&app, &all, Trust::Recent).await?;
        let model = resolved.as_ref().as_ref().map_err(Error::clone)?;
        let redactor = redactor(&app, model).await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(WAITING));
        let stop = self.service.stopping.child_token();
        task::spawn("logs", async move {
            let _reader = reader;
            let cancel = CancellationToken::new();
            let mut lost = 0_u64;
            let lines = compose.logs(&call, tail, follow, &cancel, |line| {
                let told = |text| LogLine::new(text, &room).is_some_and(|line| sender.send(line).is_ok());
                if lost > 0 && told(format!("… {lost} lines are left out: the reader was too slow\n")) {
                    lost = 0;
                }
                if lost > 0 || !told(format!("{line}\n")) {
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
async fn gone(sender: &mpsc::UnboundedSender<LogLine>, stop: &CancellationToken) {
    tokio::select! {
        () = sender.closed() => {}
        () = stop.cancelled() => {}
    }
}
