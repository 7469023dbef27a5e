//! What the loop works with: the attempt, and where it takes place.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::failure::Failure;

use crate::adapters::apps_dir::AppDir;
use crate::adapters::command::CommandError;
use crate::adapters::compose::{Compose, Model, ProjectCall, Redactor, readable};
use crate::adapters::lock::ImageLocks;
use crate::adapters::store::{BadImage, StoreError, container_owner};
use crate::domain::app::ServiceName;
use crate::domain::attempt::slot::Slot;
use crate::domain::attempt::{
    Action, Attempt, Cause, Fact, Intent, Reference, Seen, Setback, Side, Stage, ThisRun, Unit,
};
use crate::domain::evidence::FailedContainer;
use crate::domain::hold::BadCause;
use crate::domain::hook::Hook;
use crate::domain::image::ImageId;
use crate::domain::job::{Recreated, Step};
use crate::domain::recreate::join_replacement;
use crate::error::Error;
use crate::usecases::jobs::Running;
use crate::usecases::prove::Patience;
use crate::usecases::recipe::recipe_of;

/// Names that keep old images from being pruned; nothing else lives below it.
pub(crate) const KEEP: &str = "restock.local/keep";

/// An attempt at work.
pub(crate) struct Work<'a> {
    pub running: &'a Running,
    pub attempt: Attempt,
    /// The app whose project follows the references; `None` for a standalone container.
    pub scene: Option<Scene>,
    pub patience: Patience,
    /// The body that makes a container of the slot. It may hold secrets.
    pub recipe: Option<Value>,
    /// The references' locks: released before other jobs are awaited.
    pub locks: Option<ImageLocks>,
    /// Another process has worked on it before.
    pub resumed: bool,
    /// The hooks that come after an update may have run.
    pub hooks_begun: bool,
    pub warnings: Vec<String>,
    pub recreated: Vec<Recreated>,
    /// The containers that did not work.
    pub failed_containers: Vec<FailedContainer>,
    /// The services whose image of the goal's side cannot be had.
    pub(super) lost: BTreeSet<ServiceName>,
    /// Since when obstacles follow each other without an action or a proof between them.
    pub(super) obstructed: Option<Instant>,
    pub(super) run: ThisRun,
    /// The last action, and what was seen before it: the same again means that it had no effect.
    pub(super) last: Option<(Action, Vec<Seen>)>,
}

/// An app's project at work.
pub(crate) struct Scene {
    pub app: AppDir,
    pub compose: Compose,
    pub call: ProjectCall,
    pub model: Model,
    pub redactor: Redactor,
    /// What comes after an update that works.
    pub hooks_after: Vec<Hook>,
}

impl<'a> Work<'a> {
    /// What the loop needs for an attempt that begins.
    pub fn new(running: &'a Running, attempt: Attempt, scene: Option<Scene>, patience: Patience) -> Self {
        Self {
            running,
            attempt,
            scene,
            patience,
            recipe: None,
            locks: None,
            resumed: false,
            hooks_begun: false,
            warnings: Vec::new(),
            recreated: Vec::new(),
            failed_containers: Vec::new(),
            lost: BTreeSet::new(),
            obstructed: None,
            run: ThisRun::default(),
            last: None,
        }
    }

    /// Protects the images that run now and records the attempt: the point of no return, from which nobody can cancel.
    ///
    /// # Errors
    /// Nothing was touched.
    pub async fn begin(&mut self) -> Result<(), Error> {
        self.running.handle.begin_touching()?;
        self.protect().await?;
        let slot = self.attempt.slot();
        // It holds the values of the container's environment, so it is recorded only where going back needs it.
        let recipe = self.recipe.as_ref().filter(|_| slot.is_some_and(|slot| slot.auto_remove));
        let host = &self.running.host;
        host.service.store.begin_attempt(&self.attempt, recipe, &host.service.worker, Step::Apply, self.left()).await?;
        self.running.tell_step(Step::Apply);
        Ok(())
    }

    /// Gives the images that run now a second name each, so that no clean-up takes them while they may be needed.
    pub async fn protect(&mut self) -> Result<(), Error> {
        let engine = &self.running.host.engine;
        for reference in self.attempt.references() {
            for (n, image) in reference.change.from.iter().enumerate() {
                let name = self.keep_name(&reference.change.service);
                let job = self.attempt.job.as_str();
                let tag = if n == 0 { job.to_owned() } else { format!("{job}-{n}") };
                match engine.tag(image, &name, &tag).await {
                    Ok(()) => {}
                    Err(error) if error.is_not_found() => {
                        let warning = format!(
                            "the image that {} runs has been removed from the engine: this update cannot be taken back",
                            self.shown(&reference.change.service)
                        );
                        self.running.warn(&warning);
                        self.warnings.push(warning);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn keep_name(&self, service: &ServiceName) -> String {
        match self.attempt.project() {
            Some(project) => {
                format!("{KEEP}/{}/{}", path_component(project.name.as_str()), path_component(service.as_str()))
            }
            None => format!("{KEEP}/container/{}", path_component(service.as_str())),
        }
    }

    /// What is held and what is forgotten, in the same transaction as the stage that is entered.
    pub(super) fn remembered(&self, stage: &Stage) -> (Vec<BadImage>, Vec<ServiceName>) {
        let targets = || self.attempt.references().map(|reference| reference.change.service.clone()).collect();
        match (stage, self.attempt.intent) {
            (Stage::Back { why }, Intent::Update) => (self.held(why), Vec::new()),
            // New has proved itself, whatever was thought of an earlier one.
            (Stage::Proven { side: Side::New, .. }, Intent::Update) => (Vec::new(), targets()),
            // The version that was to be left runs again.
            (Stage::Proven { side: Side::Old, .. }, Intent::Rollback) => (Vec::new(), targets()),
            _ => (Vec::new(), Vec::new()),
        }
    }

    /// What a setback says of the new images.
    pub(super) fn held(&self, setback: &Setback) -> Vec<BadImage> {
        if self.attempt.intent != Intent::Update {
            return Vec::new();
        }
        let blamed = |reference: &&Reference| match &setback.cause {
            Cause::Image(services) => services.contains(&reference.change.service),
            Cause::Setup => true,
            Cause::DiedTwice => self.attempt.exposed,
            _ => false,
        };
        // Only an app has a set-up that its owner can change.
        let config = self.scene.as_ref().map(|scene| scene.model.fingerprint.clone());
        let (cause, config) = match (&setback.cause, config) {
            (Cause::Setup, Some(config)) => (BadCause::Setup, Some(config)),
            _ => (BadCause::Failed, None),
        };
        let references = self.attempt.references().filter(blamed);
        let bad = |reference: &Reference| BadImage {
            config: config.clone(),
            ..self.bad(cause, reference, &reference.change.to, &reference.change.to_digests)
        };
        references.map(bad).collect()
    }

    /// The version that a rollback leaves: schedules do not come back to it by themselves.
    pub(super) fn left(&self) -> Vec<BadImage> {
        if self.attempt.intent != Intent::Rollback {
            return Vec::new();
        }
        let left = |reference: &Reference| {
            Some(self.bad(BadCause::RolledBack, reference, reference.change.from.first()?, &reference.from_digests))
        };
        self.attempt.references().filter_map(left).collect()
    }

    fn bad(&self, cause: BadCause, reference: &Reference, image: &ImageId, digests: &[String]) -> BadImage {
        BadImage {
            owner: self.owner(),
            service: reference.change.service.clone(),
            reference: reference.change.reference.clone(),
            image_id: image.clone(),
            digests: digests.to_vec(),
            job: self.attempt.job.clone(),
            since: Timestamp::now(),
            cause,
            config: None,
        }
    }

    /// In whose name images are remembered.
    pub(super) fn owner(&self) -> String {
        match &self.scene {
            Some(scene) => scene.app.id().to_string(),
            None => container_owner(&self.running.host.name, self.name()),
        }
    }

    /// What the app or the container is called.
    pub(in crate::usecases) fn name(&self) -> &str {
        if let Some(scene) = &self.scene {
            return scene.app.name.as_str();
        }
        let slot = self.attempt.slot().map(|slot| slot.name.as_str());
        slot.or(self.attempt.unit().map(|unit| unit.name.as_str())).unwrap_or_default()
    }

    /// The unit, where the attempt is about one.
    pub(super) fn unit(&self) -> Option<&Unit> {
        self.attempt.unit()
    }

    /// A service as sentences have it.
    pub(super) fn shown(&self, service: &ServiceName) -> String {
        if self.scene.is_some() { format!("`{service}`") } else { service.to_string() }
    }

    /// A text without the app's secrets.
    pub(super) fn clean(&self, text: &str) -> String {
        self.scene.as_ref().map_or_else(|| text.to_owned(), |scene| scene.redactor.clean(text))
    }

    pub(super) fn is_target(&self, service: &ServiceName) -> bool {
        self.attempt.references().any(|reference| reference.change.service == *service)
    }

    /// A setback that is the container's, where the attempt is about one.
    pub(super) fn of_container(&self, mut setback: Setback) -> Setback {
        if self.scene.is_none() {
            setback.service = Some(ServiceName::new(self.name()));
        }
        setback
    }

    /// The command that failed, and what it printed last.
    pub(super) fn command_and_output(&self, error: &CommandError) -> Option<(String, Option<String>)> {
        let (command, stderr) = match error {
            CommandError::Exit { command, stderr, .. }
            | CommandError::Signal { command, stderr, .. }
            | CommandError::Timeout { command, stderr, .. } => (command, Some(self.clean(&readable(stderr)))),
            CommandError::Cancelled { command } | CommandError::Output { command, .. } => (command, None),
            CommandError::NotFound { program } | CommandError::Spawn { program, .. } => (program, None),
        };
        Some((command.clone(), stderr.filter(|said| !said.is_empty())))
    }

    /// How the attempt is called in sentences.
    pub(super) fn what(&self) -> &'static str {
        if self.attempt.intent == Intent::Rollback { "rollback" } else { "update" }
    }

    /// Publishes that containers are now looked at. A way back stays one.
    pub(super) async fn begin_proof(&self) {
        let was_applying = self.running.handle.job().step == Some(Step::Apply);
        if was_applying && let Err(error) = self.running.step(Step::Verify).await {
            tracing::error!(%error, "the step is not recorded; the proof goes on");
        }
    }

    /// Records a container that was made. Without the record it is known by its name and image.
    pub(super) async fn record_made(&mut self, side: Side, id: String) -> Result<(), Failure> {
        let host = &self.running.host;
        match host.service.store.record_made(&self.attempt.job, &host.service.worker, side, &id).await {
            Ok(()) => {}
            Err(error @ StoreError::Taken { .. }) => return Err(error.into()),
            Err(error) => tracing::error!(%error, container = id, "the new container is not recorded"),
        }
        for fact in &mut self.attempt.facts {
            if let Fact::Slot(slot) = fact {
                slot.made(side, id.clone());
            }
        }
        Ok(())
    }

    /// Returns whether an action is about to be done again although nothing has changed since.
    pub(super) fn repeats(&self, action: &Action, seen: &[Seen]) -> bool {
        self.last.as_ref().is_some_and(|(last, then)| last == action && then == seen)
    }

    /// Warns about an action that tidies up and failed: it never changes the verdict.
    pub(super) fn could_not_tidy(&mut self, action: &Action, failure: &str) {
        let warning = match (action, self.attempt.slot()) {
            (Action::Remove(side), Some(slot)) => {
                format!("the container {} could not be removed, remove it by hand: {failure}", slot.aside(*side))
            }
            _ => format!("after the {}, `{}` failed: {failure}", self.what(), action.word()),
        };
        self.warn(warning);
    }

    /// Publishes a warning, and keeps it for the answer.
    pub(super) fn warn(&mut self, warning: String) {
        self.running.warn(&warning);
        self.warnings.push(warning);
    }

    /// The body that makes a container of the slot: as it was planned or recorded, else read off the old container.
    pub(super) async fn body(&self, slot: &Slot) -> Result<Value, Failure> {
        if let Some(body) = &self.recipe {
            return Ok(body.clone());
        }
        let engine = &self.running.host.engine;
        let mut inspected = engine.inspect(&slot.old_id).await?;
        if let Some((old, new)) = &slot.follows {
            join_replacement(&mut inspected, old, new);
        }
        let own_platform = &inspected["ImageManifestDescriptor"]["platform"];
        let image = engine.inspect_image_for(slot.old_image.as_str(), own_platform).await?;
        let image = image.ok_or_else(|| Failure::Missing(format!("the image of {} is gone", slot.name)))?;
        let reference = self.attempt.references().next().map(|reference| reference.change.reference.clone());
        Ok(recipe_of(engine, &inspected, &image, &reference.unwrap_or_default()).await?.body)
    }
}

/// The letters of a project's, service's or container's name that a repository's name may have.
fn path_component(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let letters: String =
        name.chars().map(|c| c.to_ascii_lowercase()).map(|c| if plain(c) || c == '-' { c } else { '-' }).collect();
    let trimmed = letters.trim_matches('-');
    if trimmed == name {
        return letters;
    }
    // `db_main`, `db.main` and `db-main` are three services.
    let hash: String = Sha256::digest(name).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}{hash}", if trimmed.is_empty() { String::new() } else { format!("{trimmed}-") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::image::ImageReference;

    #[test]
    fn names_that_differ_are_protected_under_names_that_differ() {
        let names = ["db_main", "db.main", "db-main", "DB-main", "-db-main", "db--main"];
        let kept: BTreeSet<_> = names.iter().map(|name| path_component(name)).collect();
        assert_eq!((kept.len(), path_component("db-main").as_str()), (names.len(), "db-main"));
    }

    #[test]
    fn protecting_names_are_valid_references() {
        for name in ["web", "Web.App_2", "--", "a..b", "ä", "my_app_", "a___b", "x."] {
            let reference = format!("{KEEP}/{}/{}:01J", path_component(name), path_component(name));
            assert!(reference.parse::<ImageReference>().is_ok(), "{reference}");
        }
    }
}
