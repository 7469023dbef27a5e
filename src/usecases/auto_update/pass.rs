//! One pass: every marked container is looked at, each registry asked once, and what is newer and not held back applied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::hold::Memories;
use super::mark::{Marked, Marks};
use super::options::{Finding, PassOptions, Scope};
use crate::domain::container::LocalImage;
use crate::domain::freshness::Status;
use crate::domain::host::Subject;
use crate::domain::image::{ImageReference, ReferenceError};
use crate::domain::job::{JobResult, Kind, Outcome, Step};
use crate::domain::plan::runs;
use crate::domain::report::{PassReport, Report, Updated};
use crate::error::Error;
use crate::usecases::context::Host;
use crate::usecases::freshness::{Ask, asked_of};
use crate::usecases::jobs::{Running, Ticket, Wish};

impl Host {
    /// Starts a pass, or joins the one that is running if that one was asked to do the same. Any other pass is waited
    /// for, also one of another process, which does not say what it was asked to do.
    pub async fn start_pass(self: &Arc<Self>, options: PassOptions) -> Result<Ticket, Error> {
        let wish = Wish::Pass(options.clone());
        let start = || self.start_any_pass(options.clone(), Arc::default());
        self.service.start_or_join(start, |running| *running == wish).await
    }

    /// Starts a pass, or joins the one that is running, whatever that one was asked to do; `began` tells whether it is
    /// the caller's own.
    pub async fn start_any_pass(
        self: &Arc<Self>,
        options: PassOptions,
        began: Arc<AtomicBool>,
    ) -> Result<Ticket, Error> {
        let asked = Some(Wish::Pass(options.clone()));
        self.start_job_with(Kind::AutoUpdate, self.target(Subject::All), asked, move |running| async move {
            began.store(true, Ordering::Release);
            pass(&running, &options).await
        })
        .await
    }

    /// What a pass would do: nothing is pulled, nothing stopped, nobody kept waiting by a lock.
    pub async fn dry_pass(&self, scope: &Scope) -> Result<PassReport, Error> {
        let marks = self.marks(scope).await?;
        let verdicts = self.judge(&marks).await?;
        let mut report = first_report(&marks, &verdicts);
        for (report, verdict) in report.reports.iter_mut().zip(&verdicts) {
            if matches!(verdict, Finding::Newer(_)) {
                report.updated = Updated::Pending;
            }
        }
        Ok(report)
    }

    /// Asks for each reference once, and tells each container what that means for it.
    async fn judge(&self, marks: &Marks) -> Result<Vec<Finding>, Error> {
        let asked = asked_of(marks.marked.iter().filter_map(|marked| marked.followed(&marks.snapshot.origins)));
        self.service.freshness.learn(&asked, Ask::Force).await;
        let local: BTreeSet<_> =
            marks.marked.iter().filter(|marked| marked.local).map(|marked| marked.image.clone()).collect();
        let images = self.engine.images(local).await?;
        let moved_back = self.service.store.moved_back(&self.name).await?;
        let mut memories = Memories::new();
        let mut verdicts = Vec::with_capacity(marks.marked.len());
        for marked in &marks.marked {
            let container = &marked.container;
            if marked.local {
                if let Some(reason) = not_a_name(&marked.image) {
                    verdicts.push(Finding::Unknown(reason));
                    continue;
                }
                let image = images.get(&marked.image).and_then(Option::as_ref);
                let newer = image.filter(|image| !runs(container, image, marked.platform.as_deref()));
                // What another app went back to is here, and is not newer.
                let moved_back = |image: &&LocalImage| {
                    let reference = marked.reference().map(|reference| reference.canonical());
                    reference.and_then(|reference| moved_back.get(&reference)) == Some(&image.id)
                };
                let newer = newer.filter(|image| !moved_back(image));
                verdicts.push(match newer {
                    Some(image) => {
                        let memory = self.memory_of(marks, marked, &mut memories).await?;
                        let held = self.held_back_here(memory, &marked.known_as(), image);
                        held.map_or(Finding::Newer(None), Finding::Held)
                    }
                    None => Finding::Fresh,
                });
                continue;
            }
            let found =
                self.service.freshness.find(container, &marked.image, &marks.snapshot.origins, Ask::Force).await;
            let reference = marked.reference();
            let failure = reference.as_ref().and_then(|reference| self.service.freshness.known(reference)?.failure);
            verdicts.push(match (found.status, failure, &found.remote_digest, reference) {
                (Status::Skipped, ..) => Finding::Fresh,
                (_, Some(failure), ..) => Finding::Unknown(failure),
                (Status::Outdated, None, Some(digest), Some(reference)) => {
                    let memory = self.memory_of(marks, marked, &mut memories).await?;
                    let held = self.held_back(memory, &marked.known_as(), &reference, digest).await?;
                    held.map_or_else(|| Finding::Newer(Some(digest.clone())), Finding::Held)
                }
                (Status::Error, ..) => Finding::Unknown(found.message.unwrap_or_default()),
                _ => Finding::Fresh,
            });
        }
        Ok(verdicts)
    }
}

/// Why `image` cannot be the name of an image on any engine: a variable in it may have lost its value.
fn not_a_name(image: &str) -> Option<String> {
    let error = image.parse::<ImageReference>().err()?;
    let is_id = matches!(error, ReferenceError::LooksLikeId(_));
    (!is_id).then(|| format!("{error}; correct `image` in the Compose file"))
}

async fn pass(running: &Running, options: &PassOptions) -> Result<JobResult, Error> {
    let started = Instant::now();
    let host = &running.host;
    running.step(Step::Snapshot).await?;
    let marks = host.marks(&options.scope).await?;
    // Registries' and jobs' failures are told where they happen.
    marks.errors.iter().for_each(|error| tracing::warn!("auto-update: {error}"));
    running.step(Step::Plan).await?;
    let verdicts = running.unless_cancelled(host.judge(&marks)).await?;
    host.announce_waiting(&marks, &verdicts).await?;
    let mut report = first_report(&marks, &verdicts);
    super::apply::apply(running, options, &marks, &verdicts, &mut report).await?;
    host.forget_old_images().await;
    let outcome = if report.any(Updated::Failed) {
        Outcome::Failed
    } else if report.any(Updated::RolledBack) {
        Outcome::RolledBack
    } else if report.any(Updated::True) {
        Outcome::Updated
    } else {
        Outcome::Unchanged
    };
    Ok(JobResult {
        updated: report.any(Updated::True),
        report: Some(report),
        ..JobResult::of(running.handle.id.clone(), outcome, started.elapsed())
    })
}

/// The report before anything is done.
fn first_report(marks: &Marks, verdicts: &[Finding]) -> PassReport {
    let mut errors = marks.errors.clone();
    let mut reports = Vec::with_capacity(verdicts.len());
    for (marked, verdict) in marks.marked.iter().zip(verdicts) {
        if let Finding::Unknown(reason) = verdict {
            errors.push(format!("{}: {reason}", marked.container.name));
        }
        reports.push(report_of(marked, verdict));
    }
    PassReport { reports, errors }
}

fn report_of(marked: &Marked, verdict: &Finding) -> Report {
    Report {
        container_id: marked.container.id.clone(),
        container_name: marked.container.name.clone(),
        image_name: marked.image.clone(),
        policy: marked.policy,
        unit: marked.unit.clone(),
        updated: if matches!(verdict, Finding::Unknown(_)) { Updated::Failed } else { Updated::False },
        held_back: match verdict {
            Finding::Held(held) => Some(held.clone()),
            _ => None,
        },
    }
}
