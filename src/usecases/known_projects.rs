//! What is known of the apps' projects: remembered with the state of their files, also across restarts, and renewed
//! behind the back of those that ask.

mod state;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::context::Host;
use super::mutex::lock_of;
use crate::adapters::apps_dir::{AppDir, Fingerprint};
use crate::adapters::compose::{Model, ProjectCall};
use crate::adapters::store::RememberedProject;
use crate::adapters::task;
use crate::error::{Code, Error, Kind};
use state::Known;
pub(super) use state::{Call, Resolved};
pub use state::{Resolver, Trust};

impl Host {
    /// A project as far as `trust` allows from what is known, else as Compose resolves it.
    pub(super) async fn project(&self, app: &AppDir, call: &Call, trust: Trust) -> Result<Resolved, Error> {
        self.resolver.loaded.get_or_init(|| self.load_projects()).await;
        if trust == Trust::Known
            && let Some(known) = self.resolver.known(call, app)
        {
            return Ok(known);
        }
        let files = match self.apps.fingerprint(app).await {
            Ok(files) => files,
            // One app that hangs is broken; what is done with others goes on.
            Err(error) => return Ok(Arc::new(Err(Error::from(error).app(&app.name)))),
        };
        match self.resolver.recall(call, app, &files, trust) {
            Some(resolved) => Ok(resolved),
            None => self.ask_compose(app, call, trust).await,
        }
    }

    /// Renews what may be out of date of a project whose files are as in `files`, without anybody waiting for it.
    pub(super) fn renew_project(self: &Arc<Self>, app: &AppDir, files: &Fingerprint, call: Call) {
        let is_due = self.resolver.is_due(&call, files);
        if !is_due || !lock_of(&self.resolver.renewing).insert(call.clone()) {
            return;
        }
        let (host, app) = (self.clone(), app.clone());
        task::spawn("renewing a project", async move {
            tokio::select! {
                renewed = host.ask_compose(&app, &call, Trust::Recent) => if let Err(error) = renewed {
                    tracing::debug!(app = %app.name, %error, "a project could not be renewed");
                },
                () = host.service.stopping.cancelled() => {}
            }
            let others = {
                let mut renewing = lock_of(&host.resolver.renewing);
                renewing.remove(&call);
                renewing.len()
            };
            // All together: each transaction is synced.
            if others == 0 {
                host.write_projects().await;
            }
        });
    }

    async fn ask_compose(&self, app: &AppDir, call: &Call, trust: Trust) -> Result<Resolved, Error> {
        let flight = self.resolver.flight(call);
        let _alone = flight.lock().await;
        // Looked at before Compose is: what is edited meanwhile makes the answer out of date at once.
        let files = match self.apps.fingerprint(app).await {
            Ok(files) => files,
            Err(error) => return Ok(Arc::new(Err(Error::from(error).app(&app.name)))),
        };
        if let Some(resolved) = self.resolver.recall(call, app, &files, trust) {
            return Ok(resolved);
        }
        let _child =
            self.resolver.children.acquire().await.map_err(|closed| Error::new(Code::Defect, closed.to_string()))?;
        let compose = self.compose().await?;
        let project_call = ProjectCall::new(&app.path).with_profiles(call.1.iter().cloned());
        let resolved = super::resolve::config(&compose, app, &project_call).await;
        Ok(self.resolver.remember(call, files, resolved))
    }

    /// Starts from what the database remembers.
    async fn load_projects(&self) {
        let remembered = match self.service.store.remembered_projects::<Fingerprint>(&self.name).await {
            Ok(remembered) => remembered,
            Err(error) => return tracing::warn!(%error, "what was known of the projects cannot be read"),
        };
        let mut known = lock_of(&self.resolver.known);
        for RememberedProject { app, profiles, files, outcome, resolved_at } in remembered {
            let age = Timestamp::now().duration_since(resolved_at).unsigned_abs();
            let broken = |reason| Error::new(Code::InvalidComposeFile, reason).app(&app);
            let failures = u32::from(outcome.is_err());
            let resolved = outcome
                .map(|(project, fingerprint)| Model { project, secrets: Vec::new(), fingerprint })
                .map_err(broken);
            let at = Instant::now().checked_sub(age);
            let entry =
                Known { files: Arc::new(files), at, resolved: Arc::new(resolved), failures, has_secrets: false };
            known.entry((app, profiles)).or_insert(entry);
        }
    }

    /// Writes down what the database does not have yet, for the next start; forgets apps that are gone.
    pub(super) async fn write_projects(&self) {
        let unwritten = std::mem::take(&mut *lock_of(&self.resolver.unwritten));
        if unwritten.is_empty() {
            return;
        }
        let names: BTreeSet<_> = match self.apps.list().await {
            Ok(apps) => apps.into_iter().map(|app| app.name).collect(),
            Err(error) => return tracing::debug!(%error, "what is known of the projects is not written down"),
        };
        let projects = {
            let mut known = lock_of(&self.resolver.known);
            known.retain(|(app, _), _| names.contains(app));
            lock_of(&self.resolver.asking).retain(|(app, _), _| names.contains(app));
            let row = |call: &Call| {
                let entry = known.get(call)?;
                Some(RememberedProject {
                    app: call.0.clone(),
                    profiles: call.1.clone(),
                    files: entry.files.as_ref().clone(),
                    outcome: match entry.resolved.as_ref() {
                        Ok(model) => Ok((model.project.clone(), model.fingerprint.clone())),
                        Err(error) if error.kind == Kind::BrokenApp => Err(error.message.clone()),
                        Err(_) => return None,
                    },
                    resolved_at: Timestamp::now(),
                })
            };
            unwritten.iter().filter_map(row).collect()
        };
        if let Err(error) = self.service.store.remember_projects(&self.name, projects, names).await {
            tracing::warn!(%error, "what is known of the projects could not be written down");
        }
    }
}
