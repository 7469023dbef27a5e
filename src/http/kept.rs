//! Answers that are written once and served to many: to those that have them already as 304.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Code, Error};

/// An answer as it was last written, and what it was written from.
pub struct Kept<K>(Mutex<Option<(K, Written)>>);

/// The bytes of an answer.
#[derive(Clone)]
pub struct Written {
    body: Bytes,
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
        let (known, written) = kept.as_ref()?;
        (known == from && written.at.elapsed() < age).then(|| written.clone())
    }

    /// Writes the answer.
    pub fn write(&self, from: K, value: &impl Serialize) -> Result<Written, Error> {
        let body = serde_json::to_vec(value).map_err(|error| Error::new(Code::Json, error.to_string()))?;
        let etag = format!("\"{:.32}\"", format!("{:x}", Sha256::digest(&body)));
        let written = Written { body: body.into(), etag, at: Instant::now() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((from, written.clone()));
        Ok(written)
    }
}

impl Written {
    /// The answer to a request with these headers.
    pub fn answer(self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut known = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        let kept = [(header::ETAG, self.etag.as_str()), (header::CACHE_CONTROL, "no-cache")];
        if known.any(|tag| tag == "*" || tag == self.etag) {
            return (StatusCode::NOT_MODIFIED, kept).into_response();
        }
        (kept, [(header::CONTENT_TYPE, "application/json")], self.body).into_response()
    }
}
