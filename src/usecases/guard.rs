//! Second names for images that run, given before a pull: some engines forget an image as soon as a pull gives its name
//! to another one, and then nothing is left to protect afterwards.

use std::collections::BTreeSet;

use super::attempt::KEEP;
use super::jobs::Running;
use crate::domain::container::Container;
use crate::error::Error;

/// The names that one job has given. They expire like all that protect, if nobody takes them away before.
#[derive(Default)]
#[must_use = "names that were not needed are to be released"]
pub(super) struct Guarded(Vec<String>);

impl Running {
    /// Names the images of `containers` once more, where the engine would lose them.
    pub(super) async fn guard<'a>(
        &self,
        containers: impl IntoIterator<Item = &'a Container>,
    ) -> Result<Guarded, Error> {
        let engine = &self.host.engine;
        // Who reports the manifest that a container runs is new enough.
        let containers = containers.into_iter().filter(|container| container.manifest.is_none());
        let images: BTreeSet<_> = containers.map(|container| &container.image_id).collect();
        if images.is_empty() || !engine.forgets_replaced_images().await? {
            return Ok(Guarded::default());
        }
        let mut guarded = Guarded::default();
        for image in images {
            let id = image.as_str().rsplit(':').next().unwrap_or_default();
            let repository = format!("{KEEP}/pull/{id}");
            match engine.tag(image, &repository, self.handle.id.as_str()).await {
                Ok(()) => guarded.0.push(format!("{repository}:{}", self.handle.id)),
                // It is gone already, which is found out, and said, when it is to be protected.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(guarded)
    }

    /// Takes the names away again: nothing has changed, or what runs now is protected as such.
    pub(super) async fn release(&self, guarded: Guarded) {
        for name in guarded.0 {
            if let Err(error) = self.host.engine.untag(&name).await {
                tracing::warn!(image = name, %error, "a name that protected an image during a pull could not be removed");
            }
        }
    }
}
