//! Answers that are written once and served to many: to those that have them already as 304.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Code, Error};

/// What fits into one packet is not compressed, in bytes.
const SMALL: usize = 1024;

/// How many answers are kept at once: to those who reach this machine by several names.
const MOST: usize = 4;

/// Answers as they were last written, and what each was written from; the newest first.
pub struct Kept<K>(Mutex<Vec<(K, Written)>>);

/// The bytes of an answer.
#[derive(Clone)]
pub struct Written {
    body: Bytes,
    /// The same compressed, once somebody wants that.
    gzip: Arc<OnceLock<Option<Bytes>>>,
    /// Of the bytes, so that two services, and one before and after a restart, agree.
    etag: String,
    at: Instant,
}

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq> Kept<K> {
    /// The answer, if it was written from the same and less than `age` ago.
    pub fn current(&self, from: &K, age: Duration) -> Option<Written> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, written) = kept.iter().find(|(known, _)| known == from)?;
        (written.at.elapsed() < age).then(|| written.clone())
    }

    /// Writes the answer.
    pub fn write(&self, from: K, value: &impl Serialize) -> Result<Written, Error> {
        let body = serde_json::to_vec(value).map_err(|error| Error::new(Code::Json, error.to_string()))?;
        let etag = format!("\"{:.32}\"", format!("{:x}", Sha256::digest(&body)));
        let written = Written { body: body.into(), gzip: Arc::default(), etag, at: Instant::now() };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != from);
        kept.truncate(MOST - 1);
        kept.insert(0, (from, written.clone()));
        Ok(written)
    }
}

impl Written {
    /// The answer to a request with these headers.
    pub fn answer(self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut known = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        let compressed = takes_gzip(headers).then(|| self.compressed()).flatten();
        // Other bytes have another tag; whoever has either has what there is.
        let compressed_tag = format!("{}-gzip\"", self.etag.trim_end_matches('"'));
        let etag = if compressed.is_some() { &compressed_tag } else { &self.etag };
        let kept =
            [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, "no-cache"), (header::VARY, "accept-encoding")];
        if known.any(|tag| tag == "*" || tag == self.etag || tag == compressed_tag) {
            return (StatusCode::NOT_MODIFIED, kept).into_response();
        }
        let json = [(header::CONTENT_TYPE, "application/json")];
        match compressed {
            Some(body) => (kept, json, [(header::CONTENT_ENCODING, "gzip")], body).into_response(),
            None => (kept, json, self.body).into_response(),
        }
    }

    /// The answer compressed, which is done once for all; `None` where that is not worth it.
    fn compressed(&self) -> Option<Bytes> {
        let compress = || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&self.body).ok()?;
            encoder.finish().ok().map(Bytes::from)
        };
        if self.body.len() < SMALL { None } else { self.gzip.get_or_init(compress).clone() }
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()) == Some(0.0);
        matches!(name.trim().to_ascii_lowercase().as_str(), "gzip" | "x-gzip" | "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_for_those_who_take_it() {
        for (accepted, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("deflate, br", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, accepted.parse().unwrap())]);
            assert_eq!(takes_gzip(&headers), takes, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
