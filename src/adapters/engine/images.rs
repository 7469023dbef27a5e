//! Images of the engine's store and their names.

use std::collections::BTreeMap;

use bollard::query_parameters::{RemoveImageOptions, RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use hyper::Method;
use serde_json::Value;

use super::client::{CHANGE_DEADLINE, Engine, READ_DEADLINE, present};
use super::error::EngineError;
use super::parse;
use crate::domain::container::LocalImage;
use crate::domain::image::{ImageId, ImageReference};

impl Engine {
    /// The image that `reference` (or an ID) means in the engine's store now; `None` when it means none.
    ///
    /// `manifests=1` lists the manifests behind an index on containerd stores; others ignore it.
    pub async fn image(&self, reference: &str) -> Result<Option<LocalImage>, EngineError> {
        let path = format!("/images/{reference}/json?manifests=1");
        let value = match self.wire.json(Method::GET, &path, None, READ_DEADLINE).await {
            // It cannot be parsed, so nothing has that name.
            Err(EngineError::Status { status: 400, .. }) => None,
            answer => present(answer)?,
        };
        Ok(value.as_ref().and_then(parse::local_image))
    }

    /// Everything about an image, as the engine says it; `None` when there is no such image.
    pub async fn inspect_image(&self, image: &str) -> Result<Option<Value>, EngineError> {
        present(self.wire.json(Method::GET, &format!("/images/{image}/json"), None, READ_DEADLINE).await)
    }

    /// The image that a name means now; `None` when it means none.
    pub async fn meaning(&self, name: &str) -> Result<Option<ImageId>, EngineError> {
        let image = self.inspect_image(name).await?;
        Ok(image.and_then(|image| image["Id"].as_str().map(ImageId::new)))
    }

    /// The complete names that the image has which a name or an ID means. A name with a tag is the only one that is meant:
    /// without it the image keeps the others.
    pub async fn names_of(&self, image: &str) -> Result<Vec<String>, EngineError> {
        let inspected = self.inspect_image(image).await?.unwrap_or_default();
        let names = inspected["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let names = names.filter_map(|name| name.parse::<ImageReference>().ok()).map(|name| name.canonical());
        let asked = image.parse::<ImageReference>().ok().map(|name| name.canonical());
        let names: Vec<_> = names.collect();
        Ok(match asked.filter(|asked| names.contains(asked)) {
            Some(asked) => vec![asked],
            None => names,
        })
    }

    /// As [`Engine::inspect_image`], of an index the image for `platform`, as a descriptor has it; null means the
    /// engine's own.
    pub async fn inspect_image_for(&self, image: &str, platform: &Value) -> Result<Option<Value>, EngineError> {
        if platform.is_null() {
            return self.inspect_image(image).await;
        }
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("platform", &platform.to_string())
            .finish();
        present(self.wire.json(Method::GET, &format!("/images/{image}/json?{query}"), None, READ_DEADLINE).await)
    }

    /// What each of `references` means now, asked once each and all at the same time.
    pub async fn images(
        &self,
        references: impl IntoIterator<Item = String>,
    ) -> Result<BTreeMap<String, Option<LocalImage>>, EngineError> {
        let asked = references.into_iter().map(|reference| async move {
            let image = self.image(&reference).await;
            image.map(|image| (reference, image))
        });
        futures_util::future::try_join_all(asked).await.map(|images| images.into_iter().collect())
    }

    /// What each name in the store means, by its complete form: one request for all.
    pub async fn names(&self) -> Result<BTreeMap<String, ImageId>, EngineError> {
        let images = self.wire.json(Method::GET, "/images/json", None, READ_DEADLINE).await?;
        let names = |image: &Value| {
            let names = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
            // `<none>:<none>` is no name.
            let names = names.filter_map(|name| name.parse::<ImageReference>().ok());
            let id = ImageId::new(image["Id"].as_str()?);
            Some(names.map(|name| (name.canonical(), id.clone())).collect::<Vec<_>>())
        };
        Ok(images.as_array().into_iter().flatten().filter_map(names).flatten().collect())
    }

    /// Gives an image one more name.
    pub async fn tag(&self, image: &ImageId, repository: &str, tag: &str) -> Result<(), EngineError> {
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        self.done(CHANGE_DEADLINE, self.docker().tag_image(image.as_str(), Some(options))).await
    }

    /// Takes a name away from an image; the image itself goes when that was its last name and nothing uses it.
    pub async fn untag(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::default().noprune(true).build();
        let untagged = self.docker().remove_image(name, Some(options), None);
        present(self.done(CHANGE_DEADLINE, untagged).await).map(drop)
    }

    /// Removes an image by its ID, with all its names in registries. The engine refuses while a container uses it.
    pub async fn remove_image(&self, image: &ImageId) -> Result<(), EngineError> {
        let removed = self.docker().remove_image(image.as_str(), None::<RemoveImageOptions>, None);
        present(self.done(CHANGE_DEADLINE, removed).await).map(drop)
    }

    /// All names of images that start with `repository/`, and what they name.
    pub async fn names_below(&self, repository: &str) -> Result<Vec<(String, ImageId)>, EngineError> {
        let images = self.wire.json(Method::GET, "/images/json", None, READ_DEADLINE).await?;
        let prefix = format!("{repository}/");
        let mut below = Vec::new();
        for image in images.as_array().into_iter().flatten() {
            let names = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let id = ImageId::new(image["Id"].as_str().unwrap_or_default());
            below.extend(names.filter(|name| name.starts_with(&prefix)).map(|name| (name.to_owned(), id.clone())));
        }
        Ok(below)
    }
}
