//! Images that somebody does not want: schedules leave them alone until the registry has another.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::connection::Store;
use super::error::{Failure, StoreError};
use super::rows::Reason;
use crate::domain::app::ServiceName;
use crate::domain::host::AppId;
use crate::domain::image::Digest;

/// One skipped image of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    pub service: ServiceName,
    pub digest: Digest,
    pub since: Timestamp,
}

impl Store {
    /// Skips an image of a service, in place of one that was skipped before.
    pub async fn skip(&self, app: &AppId, skip: &Skip) -> Result<(), StoreError> {
        let (app, skip) = (app.to_string(), skip.clone());
        self.call(move |connection| {
            connection.execute(
                "INSERT OR REPLACE INTO skips (app, service, digest, since) VALUES (?1, ?2, ?3, ?4)",
                params![app.as_str(), skip.service.as_str(), skip.digest.as_str(), skip.since.to_string()],
            )?;
            Ok(())
        })
        .await
    }

    /// What is skipped of an app, by service.
    pub async fn skips(&self, app: &AppId) -> Result<Vec<Skip>, StoreError> {
        let app = app.to_string();
        self.call(move |connection| {
            let query = "SELECT service, digest, since FROM skips WHERE app = ?1 ORDER BY service";
            let mut statement = connection.prepare_cached(query)?;
            let mut rows = statement.query([app.as_str()])?;
            let mut skips = Vec::new();
            while let Some(row) = rows.next()? {
                skips.push(skip_of(row).map_err(|reason| Failure::row(format!("a skip of {app}"), reason))?);
            }
            Ok(skips)
        })
        .await
    }

    /// Skips no image of a service any more.
    pub async fn forget_skip(&self, app: &AppId, service: &ServiceName) -> Result<(), StoreError> {
        let (app, service) = (app.to_string(), service.clone());
        self.call(move |connection| {
            let delete = "DELETE FROM skips WHERE app = ?1 AND service = ?2";
            connection.execute(delete, [app.as_str(), service.as_str()])?;
            Ok(())
        })
        .await
    }
}

pub(super) fn skip_of(row: &Row<'_>) -> Result<Skip, Reason> {
    Ok(Skip {
        service: ServiceName::new(row.get::<_, String>("service")?),
        digest: row.get::<_, String>("digest")?.parse()?,
        since: row.get::<_, String>("since")?.parse()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_later_skip_replaces_the_former() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let app: AppId = "web".parse().unwrap();
        let skip = |n: u8| Skip {
            service: ServiceName::new("db"),
            digest: format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap(),
            since: Timestamp::from_second(n.into()).unwrap(),
        };
        store.skip(&app, &skip(1)).await.unwrap();
        store.skip(&app, &skip(2)).await.unwrap();
        assert_eq!(store.skips(&app).await.unwrap(), [skip(2)]);
        store.forget_skip(&app, &ServiceName::new("db")).await.unwrap();
        assert_eq!(store.skips(&app).await.unwrap(), []);
    }
}
