//! The update of a container that a systemd unit runs: the unit makes it anew when it is restarted, so nobody else may.

use std::time::Instant;

use super::apply::{keep_name_of_container, retag};
use super::ending::{Ended, Later, unsettled};
use super::evidence::evidence_of;
use super::jobs::Running;
use super::prove::prove_standalone;
use super::update_container::report;
use crate::adapters::store::container_owner;
use crate::adapters::systemd::SystemdError;
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, LocalImage};
use crate::domain::evidence::FailedContainer;
use crate::domain::image::{ImageId, ImageReference};
use crate::domain::job::{Job, JobResult, OneOrMany, Outcome, ServiceChange, Step};
use crate::domain::journal::UnitJournal;
use crate::error::{Error, Kind};

/// A unit whose container is to run another image.
pub(super) struct UnitRestart<'a> {
    pub unit: &'a str,
    pub container: &'a Container,
    /// What the container was made from; it means the new image by now.
    pub reference: &'a str,
    /// A failure is taken back.
    pub rollback: bool,
}

impl UnitRestart<'_> {
    /// Restarts the unit, and proves that its container runs `image` and works.
    pub async fn run(self, running: &Running, image: LocalImage, started: Instant) -> Result<JobResult, Error> {
        let restock = &running.restock;
        let old_image = self.container.image_id.clone();
        let old = restock.engine.image(old_image.as_str()).await?;
        let change = ServiceChange {
            service: ServiceName::new(self.container.name.as_str()),
            from: OneOrMany::One(old_image.clone()),
            to: image.id.to_string(),
            tag: self.reference.to_owned(),
            version_from: old.and_then(|old| old.version),
            version_to: image.version,
            source: image.source,
        };
        let mut journal = UnitJournal {
            unit: self.unit.to_owned(),
            name: self.container.name.clone(),
            old_image,
            new_image: image.id,
            change: change.clone(),
            rollback: self.rollback,
            proven: false,
        };
        running.handle.begin_touching()?;
        restock.store.write_journal(&running.handle.id, Step::Apply, &journal).await?;
        running.tell_step(Step::Apply);
        let warning = protect(running, &journal).await?;
        match restart(running, &journal, &journal.new_image).await {
            Ok(()) => {
                note_proven(running, &mut journal).await;
                restock.forget_bad(&container_owner(&journal.name), &change.service).await;
                let mut result = report(running, Outcome::Updated, Some(change), None, started);
                result.warnings.extend(warning);
                Ok(result)
            }
            Err(NotRestarted::Untouched(error)) => Err(untouched(running, &journal, &error).await),
            Err(NotRestarted::Failed(reason)) => Err(give_up(running, &journal, &reason).await),
        }
    }
}

/// Why the unit's container does not run what it should.
enum NotRestarted {
    /// systemd has not even begun.
    Untouched(SystemdError),
    Failed(String),
}

impl NotRestarted {
    fn reason(self) -> String {
        match self {
            Self::Untouched(error) => error.to_string(),
            Self::Failed(reason) => reason,
        }
    }
}

/// Gives the old image a second name, so that no clean-up takes it. A sentence when it is gone already.
async fn protect(running: &Running, journal: &UnitJournal) -> Result<Option<String>, Error> {
    let keep = keep_name_of_container(&journal.name);
    match running.restock.engine.tag(&journal.old_image, &keep, running.handle.id.as_str()).await {
        Ok(()) => Ok(None),
        Err(error) if error.is_not_found() => {
            let warning = "the former image has been removed from the engine: this update cannot be taken back";
            running.warn(warning);
            Ok(Some(warning.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

async fn restart(running: &Running, journal: &UnitJournal, image: &ImageId) -> Result<(), NotRestarted> {
    tracing::info!(unit = journal.unit, "restarting the unit");
    running.restock.systemd.restart(&journal.unit).await.map_err(|error| {
        if error.touched() { NotRestarted::Failed(error.to_string()) } else { NotRestarted::Untouched(error) }
    })?;
    if running.handle.job().step == Some(Step::Apply)
        && let Err(error) = running.step(Step::Verify).await
    {
        tracing::error!(%error, "the step could not be written down; the update goes on");
    }
    prove(running, journal, image).await.map_err(NotRestarted::Failed)
}

/// Writes down that the container with the new image works: from here on nobody takes the update back.
async fn note_proven(running: &Running, journal: &mut UnitJournal) {
    journal.proven = true;
    if let Err(error) = running.restock.store.write_journal(&running.handle.id, Step::Verify, &*journal).await {
        tracing::error!(%error, "it could not be written down that the new container works; the update goes on");
    }
}

/// The unit's container may have another ID and even another name now.
async fn prove(running: &Running, journal: &UnitJournal, image: &ImageId) -> Result<(), String> {
    let containers = running.restock.engine.containers().await.map_err(|error| error.to_string())?;
    let of_unit = |container: &&Container| container.unit.as_ref() == Some(&journal.unit);
    let named = containers.iter().filter(of_unit).find(|container| container.name == journal.name);
    let found = named.or_else(|| containers.iter().filter(of_unit).find(|container| container.image_id == *image));
    let found = found.ok_or_else(|| format!("the unit {} has no container", journal.unit))?;
    prove_standalone(running, &found.id, &journal.name, image, true).await
}

/// The unit was not restarted: the reference means the old image again, as before, and nothing else has changed.
async fn untouched(running: &Running, journal: &UnitJournal, error: &SystemdError) -> Error {
    let moved_back = retag(&running.restock, &journal.old_image, &journal.change.tag).await;
    let touched = match moved_back {
        Ok(()) => "nothing was touched".to_owned(),
        Err(error) => {
            format!("its image could not be tagged back, so the next start of the unit takes the new one: {error}")
        }
    };
    let (kind, code, hint) = match error {
        SystemdError::NoBus { .. } | SystemdError::NoSystemd { .. } => (
            Kind::Unavailable,
            "systemd_unreachable",
            "name the bus with --dbus; in a container, mount its socket".to_owned(),
        ),
        SystemdError::Denied { unit } => (
            Kind::Conflict,
            "systemd_denied",
            format!(
                "allow org.freedesktop.systemd1.manage-units for {unit} in polkit, or run Restock as the unit's owner"
            ),
        ),
        _ => (Kind::Conflict, "systemd_refused", format!("see `systemctl status {}`", journal.unit)),
    };
    let message = format!("{} was not updated: {error}; {touched}", journal.name);
    Error::new(kind, code, message).hint(hint).service(&journal.name)
}

/// What is left of the unit's container, before the unit is restarted again.
async fn evidence(running: &Running, journal: &UnitJournal) -> Vec<FailedContainer> {
    let engine = &running.restock.engine;
    let containers = engine.containers().await.unwrap_or_default();
    match containers.iter().find(|container| container.unit.as_ref() == Some(&journal.unit)) {
        Some(container) => evidence_of(engine, &container.id, &journal.name).await,
        None => Vec::new(),
    }
}

async fn give_up(running: &Running, journal: &UnitJournal, reason: &str) -> Error {
    if running.restock.engine.info().await.is_err() {
        return unsettled(&journal.name, Later::EngineGone).service(&journal.name);
    }
    let containers = evidence(running, journal).await;
    remember_bad(running, journal).await;
    let ended = if journal.rollback {
        running.warn(&format!("the update failed, the previous image is brought back: {reason}"));
        take_back(running, journal).await.map_or_else(Ended::Lost, |()| Ended::TakenBack)
    } else {
        Ended::LeftAsItIs
    };
    let error = ended.error(&journal.name, reason, vec![journal.change.clone()]).service(&journal.name);
    let error = error.containers(containers);
    error.hint(format!("see `systemctl status {}`", journal.unit))
}

async fn remember_bad(running: &Running, journal: &UnitJournal) {
    let image = running.restock.engine.image(journal.new_image.as_str()).await.ok().flatten();
    let digests = image.map(|image| image.repo_digests).unwrap_or_default();
    let (owner, change) = (container_owner(&journal.name), &journal.change);
    running.remember_bad(&owner, &change.service, &change.tag, &journal.new_image, digests).await;
}

async fn take_back(running: &Running, journal: &UnitJournal) -> Result<(), String> {
    running.begin_rollback().await;
    retag(&running.restock, &journal.old_image, &journal.change.tag).await?;
    restart(running, journal, &journal.old_image).await.map_err(NotRestarted::reason)
}

/// Finishes or takes back the restart that a process left in the middle.
pub(super) async fn settle_unit(running: &Running, was: &Job, journal: &UnitJournal) -> Result<JobResult, Error> {
    let started = Instant::now();
    let reference = journal.change.tag.parse::<ImageReference>();
    let reference = reference.map_or_else(|_| journal.change.tag.clone(), |reference| reference.canonical());
    let _lock = running.image_locks(&[reference].into()).await?;
    // An engine that is away now says nothing of the container.
    running.restock.engine.info().await?;
    if was.step != Some(Step::RollBack) {
        // One that has proved itself has been in use since, and whatever became of it was its owner's doing.
        let works = journal.proven || prove(running, journal, &journal.new_image).await.is_ok();
        if !works && running.restock.engine.info().await.is_err() {
            return Err(unsettled(&journal.name, Later::EngineGone));
        }
        if works {
            let changes = vec![journal.change.clone()];
            return Ok(running.interrupted(changes, "what was begun has been finished", started));
        }
        remember_bad(running, journal).await;
    }
    take_back(running, journal).await.map_err(|reason| {
        let message = format!("the interrupted update of `{}` could not be taken back: {reason}", journal.name);
        Error::new(Kind::Internal, "rollback_failed", message).service(&journal.name)
    })?;
    Ok(running.interrupted(Vec::new(), "what was begun has been taken back", started))
}
