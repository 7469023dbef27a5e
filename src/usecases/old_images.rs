//! What becomes of the images of before an update.

use std::collections::BTreeSet;

use super::attempt::KEEP;
use super::context::Host;
use crate::adapters::engine::EngineError;
use crate::adapters::store::StoreError;
use crate::domain::image::ImageId;
use crate::domain::job::Kind;

impl Host {
    /// Takes away protecting names that are older than `keep`, and, where that is asked for, the images behind them that
    /// nothing else names and no container uses; never anything else. A failure changes nothing but the log.
    pub(super) async fn forget_old_images(&self) {
        let names = match self.engine.names_below(KEEP).await {
            Ok(names) => names,
            Err(error) => return tracing::warn!(%error, "protecting tags could not be listed"),
        };
        // After the list: what has been protected since is not in it.
        let in_use = match self.jobs_in_use().await {
            Ok(in_use) => in_use,
            Err(error) => return tracing::warn!(%error, "the jobs that protect images could not be read"),
        };
        let mut old = BTreeSet::new();
        for (name, image) in names.into_iter().filter(|(name, _)| self.is_expired(name, &in_use)) {
            match self.engine.untag(&name).await {
                Ok(()) => {
                    tracing::info!(image = name, "an old image is no longer protected");
                    old.insert(image);
                }
                Err(error) => tracing::warn!(image = name, %error, "a protecting tag could not be removed"),
            }
        }
        if !self.service.limits.cleanup {
            return;
        }
        for image in old {
            if let Err(error) = self.remove_unused(&image).await {
                tracing::warn!(%image, %error, "an old image could not be removed");
            }
        }
    }

    /// The jobs that have not ended, and the updates that rollbacks among them go back over: whatever a clock says, their
    /// images may be needed any moment.
    async fn jobs_in_use(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut in_use = BTreeSet::new();
        for job in self.service.store.running().await? {
            if let (Kind::Rollback, Ok(app)) = (job.kind, job.target.name().parse())
                && let Ok(Some((update, _))) = self.service.store.last_update(&app).await
            {
                in_use.insert(update.id.to_string());
            }
            in_use.insert(job.id.to_string());
        }
        Ok(in_use)
    }

    /// The last part of a protecting name is the job that made it, and a job's ID begins with its time.
    fn is_expired(&self, name: &str, in_use: &BTreeSet<String>) -> bool {
        let job = name.rsplit(':').next().and_then(|tag| tag.split('-').next()?.parse::<ulid::Ulid>().ok());
        job.filter(|job| !in_use.contains(&job.to_string()))
            .is_some_and(|job| job.datetime().elapsed().is_ok_and(|age| age > self.service.limits.keep))
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
