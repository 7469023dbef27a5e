//! Tells people of newer images that nobody applies for them: no policy marks them, or something holds them back.

use super::mark::Marks;
use super::options::Finding;
use crate::domain::freshness::Status;
use crate::domain::hold::{HeldBack, HoldReason};
use crate::domain::host::Subject;
use crate::domain::job::ServiceChange;
use crate::domain::notice::Event;
use crate::domain::plan::by_service;
use crate::error::Error;
use crate::usecases::check_app::pending_change;
use crate::usecases::context::Host;
use crate::usecases::freshness::Ask;
use crate::usecases::policies::policy_of;

impl Host {
    /// Announces what waits, each image once. What a pass applies is told when it is done.
    pub(super) async fn announce_waiting(&self, marks: &Marks, verdicts: &[Finding]) -> Result<(), Error> {
        if self.service.notifying.who_wants(Event::Found).is_empty() {
            return Ok(());
        }
        let (running, toggles) = (self.service.running_jobs().await?, self.toggles().await?);
        for (name, app) in &marks.apps {
            let applied = |service: &_| {
                let mut marked = marks.marked.iter().zip(verdicts);
                marked.any(|(marked, verdict)| {
                    matches!(verdict, Finding::Newer(_)) && marked.is_of(name) && marked.service_name() == Some(service)
                })
            };
            let mut status = self.status_of(app, &marks.snapshot.origins, &running, Ask::IfStale).await;
            let remembered = self.service.remembered().await?;
            self.tell_holds(app, &policy_of(app, &toggles), &remembered, &mut status);
            let containers = by_service(&app.containers);
            let waiting: Vec<ServiceChange> = status
                .services
                .into_iter()
                .filter(|found| found.finding.status == Status::Outdated && waits(found.held_back.as_ref()))
                .filter(|found| !applied(&found.service))
                .map(|found| pending_change(containers.get(&found.service), found))
                .collect();
            self.service.announce_found(self.target(Subject::App(name.to_string())), waiting).await;
        }
        Ok(())
    }
}

/// What somebody skipped, or what failed here, is known already.
fn waits(held: Option<&HeldBack>) -> bool {
    held.is_none_or(|held| matches!(held.reason, HoldReason::MinAge | HoldReason::Window))
}
