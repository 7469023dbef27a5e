//! What becomes of the images of before an update.

use std::collections::BTreeSet;

use super::apply::KEEP;
use super::context::Restock;
use crate::adapters::engine::EngineError;
use crate::domain::image::ImageId;

impl Restock {
    /// Takes away protecting names that are older than `keep`, and, where that is asked for, the images behind them that
    /// nothing else names and no container uses; never anything else. A failure changes nothing but the log.
    pub(super) async fn forget_old_images(&self) {
        let names = match self.engine.names_below(KEEP).await {
            Ok(names) => names,
            Err(error) => return tracing::warn!(%error, "protecting tags could not be listed"),
        };
        let mut old = BTreeSet::new();
        for (name, image) in names.into_iter().filter(|(name, _)| self.is_expired(name)) {
            match self.engine.untag(&name).await {
                Ok(()) => {
                    tracing::info!(image = name, "an old image is no longer protected");
                    old.insert(image);
                }
                Err(error) => tracing::warn!(image = name, %error, "a protecting tag could not be removed"),
            }
        }
        if !self.limits.cleanup {
            return;
        }
        for image in old {
            if let Err(error) = self.remove_unused(&image).await {
                tracing::warn!(%image, %error, "an old image could not be removed");
            }
        }
    }

    /// The last part of a protecting name is the job that made it, and a job's ID begins with its time.
    fn is_expired(&self, name: &str) -> bool {
        let job = name.rsplit(':').next().and_then(|tag| tag.split('-').next()?.parse::<ulid::Ulid>().ok());
        job.is_some_and(|job| job.datetime().elapsed().is_ok_and(|age| age > self.limits.keep))
    }

    async fn remove_unused(&self, image: &ImageId) -> Result<(), EngineError> {
        let Some(found) = self.engine.inspect_image(image.as_str()).await? else { return Ok(()) };
        let is_named = found["RepoTags"].as_array().is_some_and(|tags| !tags.is_empty());
        let is_used = self.engine.containers().await?.iter().any(|container| container.image_id == *image);
        if !is_named && !is_used {
            self.engine.remove_image(image).await?;
            tracing::info!(%image, "an old image was removed");
        }
        Ok(())
    }
}
