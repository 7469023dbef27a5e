//! Counts the requests that were made: for `/metrics`, and for tests that prove how few there are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What a request to a registry or a token server was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// The first contact with a host, `GET /v2/`.
    Ping,
    /// The question for a digest.
    ManifestHead,
    /// The same question where `HEAD` is not answered, or a manifest's content. May count as a pull.
    ManifestGet,
    /// The configuration of an image.
    Blob,
    /// A token.
    Token,
}

impl RequestKind {
    /// A stable name for labels of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::ManifestHead => "manifest_head",
            Self::ManifestGet => "manifest_get",
            Self::Blob => "blob",
            Self::Token => "token",
        }
    }
}

/// How many requests of one kind one host answered in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestCount {
    /// Host and port.
    pub host: String,
    pub kind: RequestKind,
    /// The HTTP status; none where no answer came.
    pub status: Option<u16>,
    pub requests: u64,
}

/// Host, kind and status, which is also the order in which they are listed.
type Key = (String, RequestKind, Option<u16>);

/// The counters since the client was made.
#[derive(Debug, Default)]
pub struct RegistryStats {
    counts: Mutex<BTreeMap<Key, u64>>,
}

impl RegistryStats {
    /// All counters, sorted by host, kind and status.
    pub fn counts(&self) -> Vec<RequestCount> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|((host, kind, status), requests)| RequestCount {
                host: host.clone(),
                kind: *kind,
                status: *status,
                requests: *requests,
            })
            .collect()
    }

    pub(super) fn count(&self, host: &str, kind: RequestKind, status: Option<u16>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((host.to_owned(), kind, status)).or_default() += 1;
    }
}
