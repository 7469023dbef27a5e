//! Everything of the database that a list of apps shows, read when something in it has changed.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::apps::{BadImage, bad_image_of};
use super::connection::Store;
use super::error::{Failure, StoreError};
use super::jobs::{CAN_BE_TAKEN_BACK, COLUMNS, many};
use super::rows::Reason;
use super::skips::{self, Skip};
use crate::domain::image::Digest;
use crate::domain::overview::{LastJob, LastUpdate};

/// What is remembered of apps, by their names' text form.
#[derive(Debug, Default)]
pub struct Remembered {
    version: Version,
    pub last: HashMap<String, LastJob>,
    pub updates: HashMap<String, LastUpdate>,
    pub bad: HashMap<String, Vec<BadImage>>,
    pub skips: HashMap<String, Vec<Skip>>,
    /// What the registry has for a reference in its complete form, and since when.
    first_seen: HashMap<String, (String, Timestamp)>,
}

/// A state of the database.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Version {
    /// Counts what other connections have committed.
    others: i64,
    /// Counts the rows that this one has changed.
    own: u64,
}

impl Remembered {
    /// When the registry was first seen to have `digest` for a reference in its complete form.
    pub fn first_seen(&self, reference: &str, digest: &Digest) -> Option<Timestamp> {
        let (known, at) = self.first_seen.get(reference)?;
        (known == digest.as_str()).then_some(*at)
    }
}

impl Store {
    /// What is remembered of all apps: `known`, if nothing in the database has changed since.
    ///
    /// A row that cannot be understood is left out, with a warning in the log: it must not hide the others.
    pub async fn remembered(&self, known: Option<Arc<Remembered>>) -> Result<Arc<Remembered>, StoreError> {
        self.call(move |connection| {
            // Read first: what is written meanwhile makes the answer out of date at once.
            let version = Version {
                others: connection.pragma_query_value(None, "data_version", |row| row.get(0))?,
                own: connection.total_changes(),
            };
            match known.filter(|known| known.version == version) {
                Some(known) => Ok(known),
                None => Ok(Arc::new(read(connection, version)?)),
            }
        })
        .await
    }
}

fn read(connection: &mut Connection, version: Version) -> Result<Remembered, Failure> {
    // One state of all tables; it writes nothing, so it waits for nobody.
    let connection = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let newest = |which: &str| {
        let query = format!(
            "SELECT {COLUMNS} FROM jobs WHERE rowid IN (SELECT max(rowid) FROM jobs WHERE {which} GROUP BY target)"
        );
        many(&connection, &query, params![])
    };
    let last = newest("target_kind = 'app' AND state = 'finished' AND NOT answer")?;
    let updates = newest(CAN_BE_TAKEN_BACK)?;
    let by_name = |job: &crate::domain::job::Job| job.target.name().to_owned();
    let mut bad = HashMap::<_, Vec<_>>::new();
    for image in rows(&connection, "SELECT * FROM bad_images ORDER BY service, since, image_id", bad_image_of)? {
        bad.entry(image.owner.clone()).or_default().push(image);
    }
    let mut skipped = HashMap::<_, Vec<_>>::new();
    let of_app = |row: &Row<'_>| Ok((row.get::<_, String>("app")?, skips::skip_of(row)?));
    for (app, skip) in rows(&connection, "SELECT * FROM skips ORDER BY service", of_app)? {
        skipped.entry(app).or_default().push(skip);
    }
    let seen = |row: &Row<'_>| {
        let at = row.get::<_, String>("first_seen")?.parse()?;
        Ok((row.get("reference")?, (row.get("digest")?, at)))
    };
    let first_seen = rows(&connection, "SELECT reference, digest, first_seen FROM remote_digests", seen)?;
    Ok(Remembered {
        version,
        last: last.iter().filter_map(|job| Some((by_name(job), LastJob::of(job)?))).collect(),
        updates: updates.into_iter().filter_map(|job| Some((by_name(&job), LastUpdate::of(job)?))).collect(),
        bad,
        skips: skipped,
        first_seen: first_seen.into_iter().collect(),
    })
}

/// Reads what can be understood of a table.
pub(super) fn rows<T>(
    connection: &Connection,
    query: &str,
    read: impl Fn(&Row<'_>) -> Result<T, Reason>,
) -> Result<Vec<T>, Failure> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(value) => found.push(value),
            Err(reason) => tracing::warn!(%reason, "a row of the database is left out"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::ServiceName;

    #[tokio::test]
    async fn the_tables_are_read_again_only_when_something_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (store, other) = (Store::open(dir.path()).unwrap(), Store::open(dir.path()).unwrap());
        let first = store.remembered(None).await.unwrap();
        let again = store.remembered(Some(first.clone())).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let skip = |name: &str| Skip {
            service: ServiceName::new(name),
            digest: format!("sha256:{}", "ab".repeat(32)).parse().unwrap(),
            since: Timestamp::UNIX_EPOCH,
        };
        let app = "web@nas".parse().unwrap();
        let mut known = first;
        for (store_of, name, count) in [(&store, "a", 1), (&other, "b", 2)] {
            store_of.skip(&app, &skip(name)).await.unwrap();
            let next = store.remembered(Some(known.clone())).await.unwrap();
            assert!(!Arc::ptr_eq(&known, &next), "{name}");
            assert_eq!(next.skips["web@nas"].len(), count);
            known = next;
        }
    }
}
