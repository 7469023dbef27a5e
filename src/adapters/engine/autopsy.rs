//! What is left of a container that did not work: its end, and its last words.

use std::time::Duration;

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use serde_json::Value;

use super::client::{Engine, present};
use super::error::EngineError;
use super::parse;
use crate::domain::container::Vitals;
use crate::domain::evidence::{LINES, last_lines};

/// How long the engine may take to hand out a few lines.
const LOG_DEADLINE: Duration = Duration::from_secs(5);
/// A line can be of any length; more than this is not held in memory.
const LOG_READ: usize = 1 << 20;

/// How a container ended, or how it is if it has not.
#[derive(Debug, Clone)]
pub struct Autopsy {
    pub vitals: Vitals,
    pub oom_killed: bool,
}

impl Engine {
    /// Looks at a container for the reason of a failure; `None` when there is no such container.
    pub async fn autopsy(&self, container: &str) -> Result<Option<Autopsy>, EngineError> {
        let inspected = present(self.inspect(container).await)?;
        let oom_killed = |value: &Value| value["State"]["OOMKilled"] == true;
        Ok(inspected.map(|value| Autopsy { vitals: parse::vitals(&value), oom_killed: oom_killed(&value) }))
    }

    /// The last lines that a container wrote, on both of its outputs; none where its log cannot be read.
    pub async fn last_words(&self, container: &str) -> Vec<String> {
        let lines = LINES.to_string();
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines).build();
        let mut log = self.docker().logs(container, Some(options));
        let mut said: Vec<u8> = Vec::new();
        let reading = async {
            while let Some(part) = log.next().await {
                match part {
                    Ok(part) => said.extend(part.into_bytes()),
                    Err(error) => {
                        tracing::debug!(%error, container, "a log could not be read");
                        break;
                    }
                }
                if said.len() > 2 * LOG_READ {
                    said.drain(..said.len() - LOG_READ);
                }
            }
        };
        // What has come by then is better than nothing.
        let _ = tokio::time::timeout(LOG_DEADLINE, reading).await;
        last_lines(&String::from_utf8_lossy(&said))
    }
}
