//! The warnings and errors of a Restock, for tests that wait for one.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::{Dispatch, Level};

/// What is logged where [`Log::dispatch`] is the default.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn dispatch(&self) -> Dispatch {
        let log = self.clone();
        tracing_subscriber::fmt().with_max_level(Level::WARN).with_writer(move || log.clone()).into()
    }

    pub fn says(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap()).contains(text)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
