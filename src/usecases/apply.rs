//! Makes containers follow their images, proves them, and takes it back: shared by update, rollback and settling.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::context::Restock;
use super::ending::Later;
use super::evidence::Evidence;
use super::jobs::Running;
use super::prove::{Patience, Unproven, prove};
use super::relay::Relay;
use super::resolve::redactor;
use sha2::{Digest, Sha256};

use crate::adapters::apps_dir::AppDir;
use crate::adapters::command::CommandError;
use crate::adapters::compose::{Compose, Model, ProjectCall, PullProblem, Redactor, Selection, pull_problem, readable};
use crate::adapters::engine::Engine;
use crate::domain::app::ServiceName;
use crate::domain::container::Container;
use crate::domain::evidence::FailedContainer;
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::job::{Recreated, Step};
use crate::domain::journal::Journal;
use crate::domain::plan::Change;
use crate::domain::project::AppSettings;
use crate::domain::proof::{Expectation, ExpectedImage};
use crate::error::Error;

const ENGINE_POLL: Duration = Duration::from_millis(500);

/// Names that keep old images from being pruned; nothing else lives below it.
pub const KEEP: &str = "restock.local/keep";

/// One app's project at work.
pub struct Work<'a> {
    pub running: &'a Running,
    pub app: &'a AppDir,
    pub compose: Compose,
    pub call: ProjectCall,
    pub model: Model,
    pub redactor: Redactor,
    pub journal: Journal,
    pub patience: Patience,
}

/// Why a change did not hold.
pub struct NotApplied {
    pub service: Option<ServiceName>,
    pub reason: String,
    /// The command that failed, if one did.
    pub command: Option<CommandError>,
    /// Nothing can be said of the images before this has passed.
    pub later: Option<Later>,
    /// The containers that did not work.
    pub containers: Vec<FailedContainer>,
    /// It speaks against the images, and not only against how the app is set up.
    pub against_images: bool,
}

/// Which image each service is to run.
pub type Targets = BTreeMap<ServiceName, ExpectedImage>;

impl NotApplied {
    /// A failure that no service and no command can be blamed for.
    pub fn because(reason: impl ToString) -> Self {
        Self {
            service: None,
            reason: reason.to_string(),
            command: None,
            later: None,
            containers: Vec::new(),
            against_images: false,
        }
    }

    fn with(self, evidence: Evidence) -> Self {
        Self { containers: evidence.containers, against_images: evidence.against_images, ..self }
    }

    /// Adds to `error` which service failed, what its command said, and what is left of its containers.
    pub fn blame(&self, mut error: Error, redactor: &Redactor) -> Error {
        if let Some(command) = &self.command {
            error = error.said(command, redactor);
        }
        error.service = self.service.as_ref().map(ToString::to_string);
        error.containers(self.containers.clone())
    }
}

impl<'a> Work<'a> {
    /// Puts together what the work on an app needs.
    pub fn new(
        running: &'a Running,
        app: &'a AppDir,
        compose: Compose,
        call: ProjectCall,
        model: Model,
        journal: Journal,
        settings: &AppSettings,
    ) -> Self {
        let redactor = redactor(app, &model);
        let patience = running.restock.limits.patience(settings);
        Self { running, app, compose, call, model, redactor, journal, patience }
    }

    /// Writes down what is about to be done, and does what must come before it. From here on nobody can cancel it.
    ///
    /// Gives the warnings of [`Self::protect`].
    pub async fn begin(&self) -> Result<Vec<String>, Error> {
        self.running.handle.begin_touching()?;
        let warnings = self.protect().await?;
        self.running.restock.store.write_journal(&self.running.handle.id, Step::Apply, &self.journal).await?;
        self.running.tell_step(Step::Apply);
        warnings.iter().for_each(|warning| self.running.warn(warning));
        Ok(warnings)
    }

    /// Gives the images that run now a second name each, so that no clean-up takes them while they may be needed.
    ///
    /// Gives a sentence for each image that is gone already and so cannot be protected.
    pub async fn protect(&self) -> Result<Vec<String>, Error> {
        let engine = &self.running.restock.engine;
        let mut gone = Vec::new();
        for change in &self.journal.changes {
            for (n, image) in change.from.iter().enumerate() {
                let name = keep_name(&self.journal, &change.service);
                let tag = keep_tag(self.running.handle.id.as_str(), n);
                match engine.tag(image, &name, &tag).await {
                    Ok(()) => {}
                    Err(error) if error.is_not_found() => gone.push(format!(
                        "the image that `{}` runs has been removed from the engine: this update cannot be taken back",
                        change.service
                    )),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(gone)
    }

    /// [`Self::apply_once`], and once more when the engine went away meanwhile and has come back: that is no fault of
    /// the images.
    ///
    /// Besides `targets`, the services `also` have to work.
    pub async fn apply(
        &self,
        before: &[Container],
        targets: &Targets,
        also: &BTreeSet<ServiceName>,
    ) -> Result<Vec<Recreated>, NotApplied> {
        let reason = match self.apply_once(before, targets, also).await {
            Err(reason) if reason.later.is_none() && self.engine_went_away(&reason).await => reason,
            other => return other,
        };
        self.running.warn("the engine went away in the middle; it is waited for");
        let engine = &self.running.restock.engine;
        let until = Instant::now() + self.running.restock.limits.engine_return;
        while engine.info().await.is_err() {
            if Instant::now() >= until {
                return Err(NotApplied { later: Some(Later::EngineGone), ..reason });
            }
            tokio::time::sleep(ENGINE_POLL).await;
        }
        let found = engine.project_containers(&self.journal.project).await.map_err(NotApplied::because)?;
        super::settle::clean_leftovers(engine, &found).await.map_err(NotApplied::because)?;
        self.apply_once(before, targets, also).await
    }

    async fn engine_went_away(&self, reason: &NotApplied) -> bool {
        let said = match &reason.command {
            Some(CommandError::Exit { stderr, .. }) => pull_problem(stderr) == PullProblem::EngineGone,
            _ => false,
        };
        said || self.running.restock.engine.info().await.is_err()
    }

    /// Runs Compose so that containers follow the images their references mean now, and proves `targets`.
    ///
    /// Gives the services that Compose recreated or restarted although their image is the same.
    async fn apply_once(
        &self,
        before: &[Container],
        targets: &Targets,
        also: &BTreeSet<ServiceName>,
    ) -> Result<Vec<Recreated>, NotApplied> {
        let touched = match self.follow(targets).await {
            Ok(touched) => touched,
            Err(reason) => {
                let expected = self.expectations(targets, also);
                return Err(reason.with(self.evidence(&expected, None).await));
            }
        };
        self.begin_proof().await;
        let engine = &self.running.restock.engine;
        let after = engine.project_containers(&self.journal.project).await.map_err(NotApplied::because)?;
        let recreated = self.also_touched(before, &after, &touched, targets);
        let others = recreated.iter().map(|recreated| &recreated.service).chain(also).cloned().collect();
        let expected = self.expectations(targets, &others);
        let proven = prove(engine, &self.journal.project, &expected, self.patience).await;
        let after = match proven {
            Ok(after) => after,
            Err(unproven) => {
                let evidence = self.evidence(&expected, Some(&unproven.service)).await;
                return Err(self.not_proven(unproven).with(evidence));
            }
        };
        Ok(self.also_touched(before, &after, &touched, targets))
    }

    /// A healthcheck may say more than it should: its words go through the same sieve as those of Compose.
    fn not_proven(&self, unproven: Unproven) -> NotApplied {
        let reason = format!("`{}` does not work: {}", unproven.service, self.redactor.clean(&unproven.reason));
        NotApplied { service: Some(unproven.service), ..NotApplied::because(reason) }
    }

    /// Notes that containers are now looked at. A rollback stays one: killed in its proof it must not go forward again.
    async fn begin_proof(&self) {
        if self.running.handle.job().step == Some(Step::Apply)
            && let Err(error) = self.running.step(Step::Verify).await
        {
            tracing::error!(%error, "the step could not be written down; the proof goes on");
        }
    }

    /// Runs `up -d` for what was up and `create` for what was not; gives the names of the containers Compose touched.
    async fn follow(&self, targets: &Targets) -> Result<BTreeSet<String>, NotApplied> {
        let mut relay = Relay::new(&self.running.restock.events, &self.running.handle.id, self.redactor.clone());
        let (up, create) = self.selections(targets);
        let mut outcome = Ok(());
        if let Some(selection) = up {
            outcome =
                self.compose.up(&self.call, &selection, self.running.lock_for_child(), |line| relay.line(line)).await;
        }
        if let (Ok(()), Some(selection)) = (&outcome, create) {
            outcome = self
                .compose
                .create(&self.call, &selection, self.running.lock_for_child(), |line| relay.line(line))
                .await;
        }
        outcome.map_err(|error| self.command_failed(error))?;
        Ok(relay.touched)
    }

    fn command_failed(&self, error: CommandError) -> NotApplied {
        let said = match &error {
            CommandError::Exit { stderr, .. } => self.redactor.clean(&readable(stderr)),
            other => other.to_string(),
        };
        let reason = said.lines().last().unwrap_or("docker compose failed").to_owned();
        let later = matches!(error, CommandError::Timeout { .. }).then_some(Later::ComposeGoesOn);
        NotApplied { command: Some(error), later, ..NotApplied::because(reason) }
    }

    /// What is started and what is only created. Stopped services never flash up, not even for a moment, so `up` is
    /// told the services by name as soon as one of the project's is not to run; otherwise it gets the whole project.
    fn selections(&self, targets: &Targets) -> (Option<Selection>, Option<Selection>) {
        let project = &self.model.project;
        let wanted = |name: &ServiceName| self.journal.selected.as_ref().is_none_or(|selected| selected.contains(name));
        let running = self.journal.running();
        let one_shots = project.one_shots();
        let up: Vec<_> = project
            .services
            .keys()
            .filter(|name| wanted(name) && !running.is_empty() && (running.contains(name) || one_shots.contains(name)))
            .cloned()
            .collect();
        let changed: BTreeSet<_> = targets.keys().cloned().collect();
        let create: Vec<_> = project
            .with_dependents(&changed)
            .into_iter()
            .filter(|name| wanted(name) && !up.contains(name) && self.journal.before.contains_key(name))
            .collect();
        let selection = |services: Vec<ServiceName>| match services.len() {
            0 => None,
            n if n == project.services.len() => Some(Selection::Project),
            _ => Some(Selection::Only(services)),
        };
        (selection(up), selection(create))
    }

    fn expectations(&self, targets: &Targets, others: &BTreeSet<ServiceName>) -> BTreeMap<ServiceName, Expectation> {
        let one_shots = self.model.project.one_shots();
        let services: BTreeSet<_> = targets.keys().chain(others).collect();
        let expectation = |service: &ServiceName| Expectation {
            image: targets.get(service).cloned(),
            up: self.journal.before.get(service).is_some_and(|before| before.running),
            completes: one_shots.contains(service),
        };
        services.into_iter().map(|service| (service.clone(), expectation(service))).collect()
    }

    /// Gives the references their old images back, runs Compose again, and proves it.
    ///
    /// A service whose old image is gone holds up no other; it is the error, once the others run again.
    pub async fn take_back(&self) -> Result<(), NotApplied> {
        let engine = &self.running.restock.engine;
        let mut targets = Targets::new();
        let mut lost = None;
        for change in &self.journal.changes {
            let Some(old) = change.from.first() else { continue };
            match restore(&self.running.restock, old, &change.reference).await {
                Ok(image) => {
                    targets.insert(change.service.clone(), image);
                }
                Err(reason) => {
                    let service = Some(change.service.clone());
                    lost = lost.or(Some(NotApplied { service, ..NotApplied::because(reason) }));
                }
            }
        }
        if targets.is_empty()
            && let Some(lost) = lost
        {
            let later = engine.info().await.is_err().then_some(Later::EngineGone);
            return Err(NotApplied { later, ..lost });
        }
        let before = engine.project_containers(&self.journal.project).await.unwrap_or_default();
        super::settle::clean_leftovers(engine, &before).await.map_err(NotApplied::because)?;
        self.apply(&before, &targets, &self.disturbed(&before)).await?;
        lost.map_or(Ok(()), Err)
    }

    /// The new images of the journal, as the proof expects them.
    pub fn targets(&self) -> Targets {
        let expected = |change: &Change| ExpectedImage { id: change.to.clone(), manifest: change.to_manifest.clone() };
        self.journal.changes.iter().map(|change| (change.service.clone(), expected(change))).collect()
    }
}

/// Makes `reference` mean `image` again, and remembers that for those who follow it as well and may be further on. A
/// reference with a digest cannot be moved.
pub async fn retag(restock: &Restock, image: &ImageId, reference: &str) -> Result<(), String> {
    let parsed: ImageReference = reference.parse().map_err(|error| format!("`{reference}`: {error}"))?;
    if parsed.digest().is_some() {
        return Err(format!("`{reference}` is pinned by its digest: edit the Compose file to go back"));
    }
    let tag = parsed.effective_tag().unwrap_or_default();
    // Before it is done: until then the note means nothing.
    if let Err(error) = restock.store.note_moved_back(&parsed.canonical(), image).await {
        tracing::error!(%error, "it could not be noted that {reference} is moved back");
    }
    restock.engine.tag(image, &parsed.repository(), tag).await.map_err(|error| error.to_string())
}

/// Makes `reference` mean `image` again, and tells what the proof is to expect.
async fn restore(restock: &Restock, image: &ImageId, reference: &str) -> Result<ExpectedImage, String> {
    retag(restock, image, reference).await?;
    identity(&restock.engine, image).await
}

async fn identity(engine: &Engine, image: &ImageId) -> Result<ExpectedImage, String> {
    let found = engine.image(image.as_str()).await.map_err(|error| error.to_string())?;
    found.map(|image| ExpectedImage::of(&image)).ok_or_else(|| format!("the image {image} is gone"))
}

/// Names of projects and services, in the letters that a repository may have.
fn keep_name(journal: &Journal, service: &ServiceName) -> String {
    format!("{KEEP}/{}/{}", path_component(journal.project.as_str()), path_component(service.as_str()))
}

/// The name that protects what a standalone container runs.
pub fn keep_name_of_container(name: &str) -> String {
    format!("{KEEP}/container/{}", path_component(name))
}

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

fn keep_tag(job: &str, n: usize) -> String {
    if n == 0 { job.to_owned() } else { format!("{job}-{n}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_are_protected_under_names_that_differ() {
        let names = ["db_main", "db.main", "db-main", "DB-main", "-db-main", "db--main"];
        let kept: BTreeSet<_> = names.iter().map(|name| path_component(name)).collect();
        assert_eq!((kept.len(), path_component("db-main").as_str()), (names.len(), "db-main"));
    }

    #[test]
    fn protecting_names_are_valid_references() {
        for name in ["web", "Web.App_2", "--", "a..b", "ä", "my_app_", "a___b", "x."] {
            let of_service = format!("{KEEP}/{}/{}", path_component(name), path_component(name));
            for reference in [of_service, keep_name_of_container(name)] {
                assert!(format!("{reference}:01J").parse::<ImageReference>().is_ok(), "{reference}");
            }
        }
    }
}
