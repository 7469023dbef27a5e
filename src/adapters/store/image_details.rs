//! What images in registries say of themselves; an image never changes, so each is asked about once.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::connection::Store;
use super::error::StoreError;
use super::remembered::rows;
use super::rows::Reason;
use crate::domain::check::ImageDetails;
use crate::domain::image::Digest;

/// What an image says of itself, by the digest that a registry has for it and by its platform.
pub type RememberedDetails = (Digest, String, ImageDetails);

impl Store {
    /// Remembers what was found out of images, and forgets those that no registry is known to have any more.
    pub async fn remember_details(&self, found: Vec<RememberedDetails>) -> Result<(), StoreError> {
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            transaction
                .execute("DELETE FROM image_details WHERE digest NOT IN (SELECT digest FROM remote_digests)", [])?;
            for (digest, platform, details) in &found {
                transaction.execute(
                    "INSERT OR REPLACE INTO image_details (digest, platform, version, created, size, url)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        digest.as_str(),
                        platform,
                        details.version,
                        details.created.map(|at| at.to_string()),
                        details.size.and_then(|size| i64::try_from(size).ok()),
                        details.url,
                    ],
                )?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Everything that is remembered of images.
    pub async fn remembered_details(&self) -> Result<Vec<RememberedDetails>, StoreError> {
        self.call(|connection| rows(connection, "SELECT * FROM image_details", details_of)).await
    }
}

fn details_of(row: &Row<'_>) -> Result<RememberedDetails, Reason> {
    let details = ImageDetails {
        version: row.get("version")?,
        created: row.get::<_, Option<String>>("created")?.map(|at| at.parse::<Timestamp>()).transpose()?,
        size: row.get::<_, Option<i64>>("size")?.and_then(|size| u64::try_from(size).ok()),
        url: row.get("url")?,
    };
    Ok((row.get::<_, String>("digest")?.parse()?, row.get("platform")?, details))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn details_are_kept_as_long_as_a_registry_has_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32)).parse::<Digest>().unwrap();
        let details = ImageDetails {
            version: Some("1.2".into()),
            created: Some(Timestamp::from_second(7).unwrap()),
            size: Some(42),
            url: None,
        };
        let of = |n: u8| (digest(n), "linux/amd64".to_owned(), details.clone());
        let now_has = async |n: u8| {
            store.remember_digests(vec![("web".into(), digest(n), Timestamp::UNIX_EPOCH)]).await.unwrap();
        };
        now_has(1).await;
        store.remember_details(vec![of(1)]).await.unwrap();
        assert_eq!(store.remembered_details().await.unwrap(), [of(1)]);
        now_has(2).await;
        store.remember_details(vec![of(2)]).await.unwrap();
        assert_eq!(store.remembered_details().await.unwrap(), [of(2)]);
    }
}
