//! Runs the commands of an app's owner around an update: a dump before it, a reindexing after it.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::apply::Work;
use super::jobs::cancelled;
use crate::adapters::command::CommandError;
use crate::adapters::compose::readable;
use crate::domain::hook::Hook;
use crate::domain::job::{Outcome, Step};
use crate::error::{Attempt, Error, Kind};

impl Work<'_> {
    /// Runs what comes before an update, in the containers as they are.
    ///
    /// Nothing of an app that is stopped as a whole can run them; gives a sentence that says so.
    ///
    /// # Errors
    /// The first that fails: nothing has been touched, and nothing may be.
    pub async fn hooks_before(&self, hooks: &[Hook]) -> Result<Option<String>, Error> {
        if hooks.is_empty() {
            return Ok(None);
        }
        if self.journal.running().is_empty() {
            let skipped = "the `before` hooks were not run: the app is stopped";
            self.running.warn(skipped);
            return Ok(Some(skipped.into()));
        }
        self.running.step(Step::HooksBefore).await?;
        for hook in hooks {
            let ran = self.run_hook(hook, "before", self.running.handle.cancelled()).await;
            ran.map_err(|error| self.stopped(hook, &error))?;
        }
        Ok(None)
    }

    /// Runs what comes after an update that works, and gives a sentence for each that failed: the update stays.
    pub async fn hooks_after(&self, hooks: &[Hook]) -> Vec<String> {
        if hooks.is_empty() {
            return Vec::new();
        }
        if self.journal.running().is_empty() {
            return vec!["the `after` hooks were not run: the app is stopped".into()];
        }
        if let Err(error) = self.running.step(Step::HooksAfter).await {
            tracing::error!(%error, "the step could not be written down; the hooks run all the same");
        }
        let mut failed = Vec::new();
        for hook in hooks {
            if let Err(error) = self.run_hook(hook, "after", &CancellationToken::new()).await {
                let said = self.what_hook_said(&error).map(|said| format!(": {said}")).unwrap_or_default();
                let warning = format!("the `after` hook in `{}` {}{said}", hook.service, what_happened(&error));
                self.running.warn(&warning);
                failed.push(warning);
            }
        }
        failed
    }

    async fn run_hook(&self, hook: &Hook, when: &str, cancel: &CancellationToken) -> Result<(), CommandError> {
        tracing::info!(service = %hook.service, when, "running a hook");
        let told = json!({ "hook": when, "service": hook.service });
        self.running.restock.events.tell(Some(&self.running.handle.id), "hook", told);
        self.compose.exec(&self.call, &hook.service, &hook.command, hook.timeout, cancel).await
    }

    /// The command itself is not shown: people write passwords into such lines.
    fn stopped(&self, hook: &Hook, error: &CommandError) -> Error {
        let kind = match error {
            CommandError::Cancelled { .. } => return cancelled(),
            CommandError::Timeout { .. } => Kind::TimedOut,
            _ => Kind::Internal,
        };
        let message = format!("the `before` hook in `{}` {}; nothing was touched", hook.service, what_happened(error));
        let stopped = Error::new(kind, "hook_failed", message)
            .hint("see what the command said, and correct `x-restock.hooks` in the Compose file or what it found")
            .app(&self.app.name)
            .service(&hook.service);
        Error {
            command: Some(format!("docker compose exec -T {}", hook.service)),
            stderr: self.what_hook_said(error),
            attempt: Some(Attempt { outcome: Outcome::Failed, services: Vec::new() }),
            ..stopped
        }
    }

    fn what_hook_said(&self, error: &CommandError) -> Option<String> {
        let said = match error {
            CommandError::Exit { stderr, .. }
            | CommandError::Signal { stderr, .. }
            | CommandError::Timeout { stderr, .. } => self.redactor.clean(&readable(stderr)),
            _ => return None,
        };
        (!said.is_empty()).then_some(said)
    }
}

fn what_happened(error: &CommandError) -> String {
    match error {
        CommandError::Exit { code, .. } => format!("exited with {code}"),
        CommandError::Signal { signal, .. } => format!("was ended by signal {signal}"),
        CommandError::Timeout { after, .. } => format!("did not end within {}", humantime::format_duration(*after)),
        CommandError::Cancelled { .. } => "was cancelled".into(),
        CommandError::NotFound { .. } | CommandError::Spawn { .. } | CommandError::Output { .. } => {
            "could not be run".into()
        }
    }
}
