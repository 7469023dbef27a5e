//! The pull of an image by the engine.
//!
//! Over the own wire: bollard ends a pull at the first line of its progress that it does not understand, sees a failure
//! only in `errorDetail` and not in the older `error`, and sends the login in base64 with the standard alphabet, which
//! the engine cannot decode where it contains `+` or `/`: it then pulls anonymously.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::Value;

use super::client::Engine;
use super::error::EngineError;
use crate::domain::image::ImageReference;

/// How long a pull may go without a word.
const SILENCE: Duration = Duration::from_secs(300);

/// One line of a pull's progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullEvent {
    pub layer: Option<String>,
    pub status: String,
    pub current: Option<u64>,
    pub total: Option<u64>,
}

impl Engine {
    /// Pulls what a reference means now, for another platform than the engine's own where one is named; each line of the progress goes to `told`.
    ///
    /// # Errors
    /// Also those that come after the answer has begun: the engine tells them as its last line.
    pub async fn pull(
        &self,
        reference: &ImageReference,
        platform: Option<&str>,
        login: Option<String>,
        mut told: impl FnMut(PullEvent),
    ) -> Result<(), EngineError> {
        let tag = reference.digest().map(|digest| digest.as_str()).or(reference.effective_tag()).unwrap_or_default();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("fromImage", &reference.repository())
            .append_pair("tag", tag)
            .extend_pairs(platform.map(|platform| ("platform", platform)))
            .finish();
        let mut request = hyper::Request::post(format!("/images/create?{query}"));
        if let Some(login) = login {
            request = request.header("X-Registry-Auth", login);
        }
        let wrong = |reason: String| EngineError::Protocol { what: "a pull".into(), reason };
        let request =
            request.body(bollard::body_full(bytes::Bytes::new())).map_err(|error| wrong(error.to_string()))?;
        let silent = |_| EngineError::Timeout { after: SILENCE };
        let response = tokio::time::timeout(SILENCE, self.wire.send(request)).await.map_err(silent)??;
        let status = response.status();
        let mut body = response.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = tokio::time::timeout(SILENCE, body.frame()).await.map_err(silent)? {
            if let Ok(data) = frame.map_err(|error| wrong(error.to_string()))?.into_data() {
                rest.extend_from_slice(&data);
            }
            if !status.is_success() {
                continue;
            }
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = rest.drain(..=end).collect();
                pull_line(&line, &mut told)?;
            }
        }
        if status.is_success() {
            return pull_line(&rest, &mut told);
        }
        let said =
            serde_json::from_slice::<Value>(&rest).ok().and_then(|value| value["message"].as_str().map(str::to_owned));
        Err(EngineError::Status {
            status: status.as_u16(),
            message: said.unwrap_or_else(|| "the pull was refused".into()),
        })
    }
}

fn pull_line(line: &[u8], told: &mut impl FnMut(PullEvent)) -> Result<(), EngineError> {
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return Ok(()) };
    let error = value["errorDetail"]["message"].as_str().or(value["error"].as_str());
    if let Some(message) = error {
        return Err(EngineError::Status { status: 500, message: message.to_owned() });
    }
    let detail = &value["progressDetail"];
    told(PullEvent {
        layer: value["id"].as_str().map(str::to_owned),
        status: value["status"].as_str().unwrap_or_default().to_owned(),
        current: detail["current"].as_u64(),
        total: detail["total"].as_u64().filter(|total| *total > 0),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_the_stream_is_an_error() {
        let mut told = Vec::new();
        pull_line(br#"{"status":"Downloading","id":"a1","progressDetail":{"current":5,"total":10}}"#, &mut |event| {
            told.push(event)
        })
        .unwrap();
        assert_eq!((told[0].layer.as_deref(), told[0].current, told[0].total), (Some("a1"), Some(5), Some(10)));
        let failed =
            pull_line(br#"{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}"#, &mut |_| {});
        assert!(matches!(failed, Err(EngineError::Status { message, .. }) if message == "manifest unknown"));
    }
}
