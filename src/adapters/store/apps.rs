//! What is remembered of an app: the images it follows, and those that did not work.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::connection::Store;
use super::error::{Failure, StoreError};
use super::rows::{Reason, json, read_word, word};
use crate::domain::app::ServiceName;
use crate::domain::hold::BadCause;
use crate::domain::host::{AppId, HostName};
use crate::domain::image::ImageId;
use crate::domain::job::JobId;

/// An image that a service or a standalone container was updated to and that failed. Schedules leave it alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadImage {
    /// The app's name with its host, or what [`container_owner`] makes of a standalone container's.
    pub owner: String,
    pub service: ServiceName,
    /// The reference it was pulled by.
    pub reference: String,
    pub image_id: ImageId,
    /// `repository@digest`, by which a registry's answer is recognised as the same image.
    pub digests: Vec<String>,
    /// The update that failed.
    pub job: JobId,
    pub since: Timestamp,
    pub cause: BadCause,
    /// With [`BadCause::Setup`], what the app was set up as.
    pub config: Option<String>,
}

/// Writes what is known of an image that failed, inside whatever transaction the caller has.
pub(super) fn insert_bad(connection: &Connection, bad: &BadImage) -> Result<(), Failure> {
    connection.execute(
        "INSERT OR REPLACE INTO bad_images (app, service, image_id, reference, digests, job, since, cause, config)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            bad.owner,
            bad.service.as_str(),
            bad.image_id.as_str(),
            bad.reference,
            json(&bad.digests)?,
            bad.job.as_str(),
            bad.since.to_string(),
            word(&bad.cause)?,
            bad.config,
        ],
    )?;
    Ok(())
}

/// A standalone container of a host as the owner of an image: no app can have this name.
pub fn container_owner(host: &HostName, name: &str) -> String {
    host.qualify(&format!("container/{name}"))
}

impl Store {
    /// Replaces what is known of the image references of `app`: the next update locks them before it has read the
    /// Compose file.
    pub async fn remember_references(&self, app: &AppId, references: &BTreeSet<String>) -> Result<(), StoreError> {
        let (app, references) = (app.to_string(), references.clone());
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM app_references WHERE app = ?1", [&app])?;
            for reference in &references {
                let insert = "INSERT INTO app_references (app, reference) VALUES (?1, ?2)";
                transaction.execute(insert, [&app, reference])?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// The image references that `app` had when they were last remembered; none for an app that is new.
    pub async fn references(&self, app: &AppId) -> Result<BTreeSet<String>, StoreError> {
        let app = app.to_string();
        self.call(move |connection| {
            let mut statement = connection.prepare_cached("SELECT reference FROM app_references WHERE app = ?1")?;
            let references = statement.query_map([app], |row| row.get(0))?;
            Ok(references.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Records that a rollback makes `reference` (in its complete form) mean `image` on `host`, which may be older than
    /// what others run there that follow it.
    pub async fn record_moved_back(&self, host: &HostName, reference: &str, image: &ImageId) -> Result<(), StoreError> {
        let (host, reference, image) = (host.clone(), reference.to_owned(), image.clone());
        self.call(move |connection| {
            let insert = "INSERT OR REPLACE INTO moved_back (host, reference, image_id) VALUES (?1, ?2, ?3)";
            connection.execute(insert, [host.as_str(), reference.as_str(), image.as_str()])?;
            Ok(())
        })
        .await
    }

    /// The references that a rollback has given a meaning on `host`, and that meaning. One may mean something else by now.
    pub async fn moved_back(&self, host: &HostName) -> Result<BTreeMap<String, ImageId>, StoreError> {
        let host = host.clone();
        self.call(move |connection| {
            let query = "SELECT reference, image_id FROM moved_back WHERE host = ?1";
            let mut statement = connection.prepare_cached(query)?;
            let rows = statement
                .query_map([host.as_str()], |row| Ok((row.get(0)?, ImageId::new(row.get::<_, String>(1)?))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Remembers an image that failed. The same image again replaces what is known of it.
    pub async fn remember_bad(&self, bad: &BadImage) -> Result<(), StoreError> {
        let bad = bad.clone();
        self.call(move |connection| insert_bad(connection, &bad)).await
    }

    /// The images that failed for an owner.
    ///
    /// # Errors
    /// Also when one of them cannot be understood: without it a schedule would apply an image that is known to fail.
    pub async fn bad_images(&self, owner: &str) -> Result<Vec<BadImage>, StoreError> {
        let owner = owner.to_owned();
        self.call(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT app, service, image_id, reference, digests, job, since, cause, config FROM bad_images
                 WHERE app = ?1 ORDER BY service, since, image_id",
            )?;
            let mut rows = statement.query([&owner])?;
            let mut images = Vec::new();
            while let Some(row) = rows.next()? {
                let read = bad_image_of(row);
                images.push(read.map_err(|reason| Failure::row(format!("a bad image of {owner}"), reason))?);
            }
            Ok(images)
        })
        .await
    }
}

pub(super) fn bad_image_of(row: &Row<'_>) -> Result<BadImage, Reason> {
    Ok(BadImage {
        owner: row.get("app")?,
        service: ServiceName::new(row.get::<_, String>("service")?),
        reference: row.get("reference")?,
        image_id: ImageId::new(row.get::<_, String>("image_id")?),
        digests: serde_json::from_str(&row.get::<_, String>("digests")?)?,
        job: row.get::<_, String>("job")?.parse()?,
        since: row.get::<_, String>("since")?.parse()?,
        cause: read_word(row, "cause")?,
        config: row.get("config")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppId {
        name.parse().unwrap()
    }

    fn bad(service: &str, image: &str) -> BadImage {
        BadImage {
            owner: "a".into(),
            service: ServiceName::new(service),
            reference: "nginx:1".into(),
            image_id: ImageId::new(image),
            digests: vec!["nginx@sha256:1".into(), "mirror/nginx@sha256:1".into()],
            job: JobId::new(ulid::Ulid(7)),
            since: "2025-03-01T10:00:00Z".parse().unwrap(),
            cause: BadCause::Setup,
            config: Some("abc".into()),
        }
    }

    #[tokio::test]
    async fn references_are_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(store.references(&app("a")).await.unwrap(), set(&[]));
        store.remember_references(&app("a"), &set(&["x", "y"])).await.unwrap();
        store.remember_references(&app("b"), &set(&["x"])).await.unwrap();
        store.remember_references(&app("a"), &set(&["y", "z"])).await.unwrap();
        assert_eq!(store.references(&app("a")).await.unwrap(), set(&["y", "z"]));
        assert_eq!(store.references(&app("b")).await.unwrap(), set(&["x"]));
    }

    #[tokio::test]
    async fn bad_images_are_remembered_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for image in [bad("web", "1"), bad("web", "2"), bad("db", "1")] {
            store.remember_bad(&image).await.unwrap();
            store.remember_bad(&image).await.unwrap();
        }
        assert_eq!(store.bad_images("a").await.unwrap(), [bad("db", "1"), bad("web", "1"), bad("web", "2")]);
        assert_eq!(store.bad_images("b").await.unwrap(), []);
    }
}
