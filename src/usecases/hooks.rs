//! Runs the commands of an app's owner around an update: a dump before it, a reindexing after it.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::attempt::{Scene, Work};
use super::jobs::{Running, cancelled};
use crate::adapters::command::CommandError;
use crate::adapters::compose::readable;
use crate::domain::attempt::ProjectFact;
use crate::domain::hook::Hook;
use crate::domain::job::{Outcome, Step};
use crate::error::{Attempt, Code, Error, Kind};

impl Work<'_> {
    /// Runs what comes after an update that works, and warns of each that failed: the update stays.
    pub(super) async fn run_hooks_after(&mut self) {
        let Some(scene) = self.scene.as_ref().filter(|scene| !scene.hooks_after.is_empty()) else { return };
        if self.attempt.project().is_some_and(|project| project.running().is_empty()) {
            self.warnings.push("the `after` hooks were not run: the app is stopped".to_owned());
            return;
        }
        if self.hooks_begun {
            let warning = "some of the hooks that come after an update may not have run";
            self.warnings.push(warning.to_owned());
            return;
        }
        if let Err(error) = self.running.step(Step::HooksAfter).await {
            tracing::error!(%error, "the step could not be written down; the hooks run all the same");
        }
        for hook in &scene.hooks_after {
            if let Err(error) = scene.run_hook(self.running, hook, "after", &CancellationToken::new()).await {
                let said = scene.what_hook_said(&error).map(|said| format!(": {said}")).unwrap_or_default();
                let warning = format!("the `after` hook in `{}` {}{said}", hook.service, what_happened(&error));
                self.running.warn(&warning);
                self.warnings.push(warning);
            }
        }
    }
}

impl Scene {
    /// Runs what comes before an update, in the containers as they are.
    ///
    /// Nothing of an app that is stopped as a whole can run them; gives a sentence that says so.
    ///
    /// # Errors
    /// The first that fails: nothing has been touched, and nothing may be.
    pub(super) async fn hooks_before(
        &self,
        running: &Running,
        project: &ProjectFact,
        hooks: &[Hook],
    ) -> Result<Option<String>, Error> {
        if hooks.is_empty() {
            return Ok(None);
        }
        if project.running().is_empty() {
            let skipped = "the `before` hooks were not run: the app is stopped";
            running.warn(skipped);
            return Ok(Some(skipped.to_owned()));
        }
        running.step(Step::HooksBefore).await?;
        for hook in hooks {
            let ran = self.run_hook(running, hook, "before", running.handle.cancelled()).await;
            ran.map_err(|error| self.stopped(hook, &error))?;
        }
        Ok(None)
    }

    async fn run_hook(
        &self,
        running: &Running,
        hook: &Hook,
        when: &str,
        cancel: &CancellationToken,
    ) -> Result<(), CommandError> {
        tracing::info!(service = %hook.service, when, "running a hook");
        let told = json!({ "hook": when, "service": hook.service });
        running.host.service.events.tell(Some(&running.handle.id), "hook", told);
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
        let stopped = Error::new(Code::HookFailed, message)
            .hint("see what the command said, and correct `x-restock.hooks` in the Compose file or what it found")
            .app(&self.app.name)
            .service(&hook.service);
        Error {
            command: Some(format!("docker compose exec -T {}", hook.service)),
            stderr: self.what_hook_said(error),
            kind,
            attempt: Some(Attempt { outcome: Outcome::Failed, services: Vec::new(), warnings: Vec::new() }),
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
