//! What is otherwise after a change than it was before it, besides the images that were to change.

use super::attempt::Work;
use crate::domain::plan::by_service;

impl Work<'_> {
    /// Sentences about what a successful change of an app has left otherwise than a person may expect.
    pub(super) async fn differences(&self) -> Vec<String> {
        let mut told: Vec<_> = self.unproven().into_iter().collect();
        told.extend(self.lost_replicas().await);
        told
    }

    /// Names the changed services that do not run, if there are any: they have been made again, and nobody has seen them
    /// work.
    fn unproven(&self) -> Option<String> {
        let running = self.attempt.project()?.running();
        let changed = self.attempt.references().map(|reference| &reference.change.service);
        let names: Vec<_> = changed.filter(|name| !running.contains(name)).map(|name| format!("`{name}`")).collect();
        let names = (!names.is_empty()).then(|| names.join(", "))?;
        Some(format!("not started, as it did not run before, and so not proved to work: {names}"))
    }

    /// A sentence for each service of which fewer containers run than before: somebody had made more by hand than the
    /// file asks for.
    async fn lost_replicas(&self) -> Vec<String> {
        let Some(project) = self.attempt.project() else { return Vec::new() };
        let many: Vec<_> = project.before.iter().filter(|(_, was)| was.replicas > 1).collect();
        if many.is_empty() {
            return Vec::new();
        }
        let Ok(after) = self.running.host.engine.project_containers(&project.name).await else { return Vec::new() };
        let after = by_service(&after);
        let fewer = many.into_iter().filter_map(|(service, was)| {
            let (had, has) = (was.replicas, after.get(service).map_or(0, Vec::len));
            let why = "as its file says: what `--scale` gave it is gone";
            (has < had).then(|| format!("`{service}` has {has} instead of {had} containers, {why}"))
        });
        fewer.collect()
    }

    /// Names the services that did not work before this either; empty when there is none.
    pub(super) fn ailing_before(&self) -> String {
        let before = self.attempt.project().into_iter().flat_map(|project| &project.before);
        let names: Vec<_> = before.filter(|(_, was)| was.unhealthy).map(|(name, _)| format!("`{name}`")).collect();
        if names.is_empty() { String::new() } else { format!("; before this {} did not work either", names.join(", ")) }
    }
}
