//! Being asked to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT (Ctrl-C) and SIGTERM, from the moment of listening on; none is lost between two waits.
pub struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    /// Listens from now on.
    pub fn listen() -> Self {
        Self { interrupt: handler(SignalKind::interrupt()), terminate: handler(SignalKind::terminate()) }
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            () = received(&mut self.interrupt) => {},
            () = received(&mut self.terminate) => {},
        }
    }
}

/// Goes on when the terminal is closed or the connection to it breaks, as an update of the API goes on when its client
/// goes away.
pub fn outlive_terminal() {
    // A handler of tokio's stays when nobody listens any more: from here on the signal does nothing.
    drop(handler(SignalKind::hangup()));
}

fn handler(kind: SignalKind) -> Option<Signal> {
    let handler = signal(kind);
    if let Err(error) = &handler {
        tracing::warn!(%error, signal = kind.as_raw_value(), "the signal cannot be handled: it ends the process at once");
    }
    handler.ok()
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
