//! The way back from a standalone container's replacement: after a failure, and after the end of the process.
//!
//! The new container is removed only when the old one is there, or has been made again: until then it is all there is.

use std::time::Instant;

use super::apply::retag;
use super::ending::{Ended, Later, unsettled};
use super::evidence::evidence_of;
use super::jobs::Running;
use super::prove::prove_standalone;
use super::replace::{change_of, connect_all, dismiss, is_ours, note_proven, remove_old, wait_until_gone, write_down};
use crate::adapters::engine::EngineError;
use crate::adapters::store::container_owner;
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, ContainerState};
use crate::domain::image::ImageReference;
use crate::domain::job::{Job, JobResult, Step};
use crate::domain::journal::ContainerJournal;
use crate::error::{Error, Kind};

const FINISHED: &str = "what was begun has been finished";

/// Why the old container does not run again.
enum NotBack {
    /// The engine went away: nothing is decided yet.
    EngineGone,
    Because(String),
}

impl From<EngineError> for NotBack {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unreachable { .. } => Self::EngineGone,
            other => Self::Because(other.to_string()),
        }
    }
}

/// Takes a failed replacement back where that is wanted, and says how it ended.
pub(super) async fn give_up(running: &Running, journal: &mut ContainerJournal, reason: &str, rollback: bool) -> Error {
    if running.restock.engine.info().await.is_err() {
        return unsettled(&journal.name, Later::EngineGone).service(&journal.name);
    }
    let containers = match &journal.fresh_id {
        Some(fresh) => evidence_of(&running.restock.engine, fresh, &journal.name).await,
        None => Vec::new(),
    };
    remember_bad(running, journal).await;
    let changes = vec![change_of(journal)];
    let error = if rollback {
        running.warn(&format!("the update failed, the previous container is brought back: {reason}"));
        running.begin_rollback().await;
        let ended = match take_back(running, journal).await {
            Ok(()) => Ended::TakenBack,
            Err(NotBack::Because(reason)) => Ended::Lost(reason),
            Err(NotBack::EngineGone) => return unsettled(&journal.name, Later::EngineGone).service(&journal.name),
        };
        ended.error(&journal.name, reason, changes)
    } else {
        let error = Ended::LeftAsItIs.error(&journal.name, reason, changes);
        error.hint(format!("the previous container is kept as {}", journal.parked_name))
    };
    error.service(&journal.name).containers(containers)
}

async fn remember_bad(running: &Running, journal: &ContainerJournal) {
    let image = running.restock.engine.image(journal.new_image.as_str()).await.ok().flatten();
    let digests = image.map(|image| image.repo_digests).unwrap_or_default();
    let (owner, service) = (container_owner(&journal.name), ServiceName::new(journal.name.as_str()));
    running.remember_bad(&owner, &service, &journal.reference, &journal.new_image, digests).await;
}

/// Brings the old container back, from wherever the replacement got to.
async fn take_back(running: &Running, journal: &mut ContainerJournal) -> Result<(), NotBack> {
    let engine = &running.restock.engine;
    let moved_back = retag(&running.restock, &journal.old_image, &journal.reference).await;
    let old = engine.inspect(&journal.old_id).await;
    let (id, name) = match old {
        // The engine is about to remove it.
        Ok(old) if journal.auto_remove && journal.running && old["State"]["Running"] == false => {
            wait_until_gone(engine, &journal.old_id).await?;
            make_old_again(running, journal, moved_back).await?
        }
        Ok(old) => {
            if let Err(reason) = moved_back {
                tracing::error!(image = journal.reference, reason, "it still means the image that does not work");
            }
            let name = old["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
            (journal.old_id.clone(), name)
        }
        Err(error) if error.is_not_found() => make_old_again(running, journal, moved_back).await?,
        Err(error) => return Err(error.into()),
    };
    for container in engine.containers().await? {
        if container.id != id && is_ours(&container, journal) {
            dismiss(engine, &container.id, journal).await?;
        }
    }
    if name != journal.name {
        engine.rename(&id, &journal.name).await?;
    }
    if id == journal.old_id && !journal.auto_remove {
        engine.set_restart_policy(&id, &journal.restart_policy).await?;
    }
    if journal.running {
        engine.start(&id).await?;
    }
    if let Err(reason) = prove_standalone(running, &id, &journal.name, &journal.old_image, journal.running).await {
        return Err(match engine.info().await {
            Ok(_) => NotBack::Because(reason),
            Err(_) => NotBack::EngineGone,
        });
    }
    running.restock.reattach(&id).await;
    Ok(())
}

/// The engine has removed the old container, which had been started with `--rm`: another is made from the old image,
/// beside the new one. Gives its ID and name.
async fn make_old_again(
    running: &Running,
    journal: &mut ContainerJournal,
    moved_back: Result<(), String>,
) -> Result<(String, String), NotBack> {
    let engine = &running.restock.engine;
    if let Some(made) = engine.containers().await?.into_iter().find(|container| is_made_again(container, journal)) {
        return Ok((made.id, made.name));
    }
    let because = |reason: String| NotBack::Because(format!("{reason}; the new container is left as it is"));
    let Some(body) = &journal.body else {
        return Err(because("the former container has been removed, and how it was made is not written down".into()));
    };
    moved_back.map_err(because)?;
    let id = engine.create(&journal.parked_name, body, journal.platform.as_deref()).await?;
    journal.made_again = Some(id.clone());
    // It can be recognised without, and must not be given up for this.
    if let Err(error) = write_down(running, journal, Step::RollBack).await {
        tracing::error!(error, "the container that was made again could not be written down; the rollback goes on");
    }
    connect_all(engine, &id, journal).await?;
    Ok((id, journal.parked_name.clone()))
}

/// Whether it is the old container, made again by this job: nothing else that runs the old image can have these names.
fn is_made_again(container: &Container, journal: &ContainerJournal) -> bool {
    let named = [&journal.name, &journal.parked_name].contains(&&container.name);
    let replaced = journal.fresh_id.as_ref().is_some_and(|fresh| *fresh != container.id);
    journal.made_again.as_ref() == Some(&container.id)
        || (journal.auto_remove && named && replaced && container.image_id == journal.old_image)
}

/// Finishes or takes back the replacement that a process left in the middle.
pub(super) async fn settle_container(
    running: &Running,
    was: &Job,
    journal: &mut ContainerJournal,
) -> Result<JobResult, Error> {
    let started = Instant::now();
    let restock = &running.restock;
    let reference = journal.reference.parse::<ImageReference>();
    let reference = reference.map_or_else(|_| journal.reference.clone(), |reference| reference.canonical());
    let lock = running.image_locks(&[reference].into()).await?;
    let containers = restock.engine.containers().await?;
    let fresh = containers.iter().find(|container| is_fresh(container, journal));
    let finished = match fresh {
        // It has been in use since, and whatever became of it was its owner's doing.
        _ if journal.proven => Some(FINISHED),
        Some(fresh) => is_finished(running, was, fresh, &containers, journal).await?,
        None => None,
    };
    if let Some(what) = finished {
        let mut result = running.interrupted(vec![change_of(journal)], what, started);
        result.warnings.extend(remove_old(running, journal).await);
        drop(lock);
        let old = [(journal.old_id.clone(), journal.name.clone())];
        result.warnings.extend(restock.take_along(old.into()).await);
        return Ok(result);
    }
    // One that never ran has not been tried.
    if fresh.is_some_and(|fresh| fresh.state != ContainerState::Created) {
        remember_bad(running, journal).await;
    }
    running.begin_rollback().await;
    match take_back(running, journal).await {
        Ok(()) => Ok(running.interrupted(Vec::new(), "what was begun has been taken back", started)),
        Err(NotBack::EngineGone) => Err(unsettled(&journal.name, Later::EngineGone)),
        Err(NotBack::Because(reason)) => {
            let message = format!("the interrupted update of `{}` could not be taken back: {reason}", journal.name);
            Err(Error::new(Kind::Internal, "rollback_failed", message).service(&journal.name))
        }
    }
}

/// Whether it is the new container, and has taken the old one's name.
fn is_fresh(container: &Container, journal: &ContainerJournal) -> bool {
    container.name == journal.name && is_ours(container, journal) && !is_made_again(container, journal)
}

/// What to report of a replacement that is not taken back: it proves itself now, or nothing else is left.
async fn is_finished(
    running: &Running,
    was: &Job,
    fresh: &Container,
    containers: &[Container],
    journal: &mut ContainerJournal,
) -> Result<Option<&'static str>, Error> {
    let way_back = journal.body.is_some() || containers.iter().any(|container| container.id == journal.old_id);
    if !way_back {
        return Ok(Some("the former container is gone, so the new one is left as it is"));
    }
    if was.step == Some(Step::RollBack) || fresh.state.is_up() != journal.running {
        return Ok(None);
    }
    match prove_standalone(running, &fresh.id, &journal.name, &journal.new_image, journal.running).await {
        Ok(()) => {
            note_proven(running, journal).await;
            Ok(Some(FINISHED))
        }
        Err(_) if running.restock.engine.info().await.is_err() => Err(unsettled(&journal.name, Later::EngineGone)),
        Err(_) => Ok(None),
    }
}
