//! What changes single containers and images: the parts of a standalone container's replacement.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Engine, READ_DEADLINE, present};
use super::error::EngineError;
use crate::domain::image::ImageReference;

/// What a stop may take beyond the container's own grace period.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// How long creating and starting may take on a busy disk.
const CHANGE_DEADLINE: Duration = Duration::from_secs(120);
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
    /// Makes a container, for another platform than the engine's own where one is named; gives its ID.
    pub async fn create(&self, name: &str, body: &Value, platform: Option<&str>) -> Result<String, EngineError> {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("name", name)
            .extend_pairs(platform.map(|platform| ("platform", platform)))
            .finish();
        let path = format!("/containers/create?{query}");
        let made = self.wire.json(Method::POST, &path, Some(body), CHANGE_DEADLINE).await?;
        let id = made["Id"].as_str().map(str::to_owned);
        id.ok_or_else(|| EngineError::Protocol { what: path, reason: "it gave no ID".into() })
    }

    /// Starts a container; one that runs is left alone.
    pub async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.quietly(Method::POST, &format!("/containers/{container}/start"), None, CHANGE_DEADLINE).await
    }

    /// Stops a container by its own signal and `grace` period; a stopped one, or one that is gone, is left alone.
    pub async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        let stopped =
            self.quietly(Method::POST, &format!("/containers/{container}/stop"), None, grace + STOP_MARGIN).await;
        present(stopped).map(drop)
    }

    /// Sets when the engine brings a container back by itself.
    pub async fn set_restart_policy(&self, container: &str, policy: &Value) -> Result<(), EngineError> {
        let body = json!({ "RestartPolicy": policy });
        let path = format!("/containers/{container}/update");
        match self.quietly(Method::POST, &path, Some(&body), READ_DEADLINE).await {
            // Podman before 5 has no such route, and brings nothing back by itself but what its units start.
            Err(EngineError::Status { status: 404, message }) if message.trim() == "Not Found" => {
                tracing::debug!(container, "this engine cannot change a restart policy");
                Ok(())
            }
            other => other,
        }
    }

    /// Connects a container to one more network.
    pub async fn connect(&self, network: &str, container: &str, endpoint: &Value) -> Result<(), EngineError> {
        let body = json!({ "Container": container, "EndpointConfig": endpoint });
        self.quietly(Method::POST, &format!("/networks/{network}/connect"), Some(&body), READ_DEADLINE).await
    }

    async fn quietly(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        deadline: Duration,
    ) -> Result<(), EngineError> {
        match self.wire.json(method, path, body, deadline).await {
            Err(EngineError::Status { status: 304, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

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
