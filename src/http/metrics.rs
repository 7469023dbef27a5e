//! `/metrics` in the text format of Prometheus.

use std::collections::BTreeSet;
use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode_registry;

use super::keys::NoKeys;
use super::params::Query;
use super::problem::Failure;
use super::state::Http;
use crate::error::{Code, Error};

/// The version of the format that every tool reads.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What there is to count and to measure, in the text format of Prometheus. A scrape waits for nobody.
#[utoipa::path(get, path = "", tag = "service",
    responses((status = 200, description = "The metrics", body = String)))]
pub async fn metrics(State(http): State<Http>, _: Query<NoKeys>) -> Result<Response, Failure> {
    let mut text = String::new();
    encode_registry(&mut text, &http.local()?.observe())
        .map_err(|error| Error::new(Code::Metrics, error.to_string()))?;
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, classic(&text)).into_response())
}

/// OpenMetrics, which the encoder writes, heads a counter without the suffix `_total`; the older format with it.
fn classic(text: &str) -> String {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    let counters: BTreeSet<&str> = types.collect();
    let mut classic = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        // Writing to a `String` cannot fail.
        let _ = match words[..] {
            ["#", word @ ("HELP" | "TYPE"), name, rest] if counters.contains(name) => {
                writeln!(classic, "# {word} {name}_total {rest}")
            }
            _ => writeln!(classic, "{line}"),
        };
    }
    classic
}
