//! What registries were last known to have, and which policies people have set.

use jiff::Timestamp;
use rusqlite::params;

use super::connection::Store;
use super::error::{Failure, StoreError};
use crate::domain::host::Target;
use crate::domain::image::Digest;

/// A registry's last good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedDigest {
    /// The reference in its complete form.
    pub reference: String,
    pub digest: Digest,
    /// When the registry was first seen to have this digest: the image's age, as far as it can be known.
    pub first_seen: Timestamp,
    pub checked_at: Timestamp,
}

impl Store {
    /// Remembers answers, all in one transaction. A digest that was known keeps the time when it was first seen.
    pub async fn remember_digests(&self, answers: Vec<(String, Digest, Timestamp)>) -> Result<(), StoreError> {
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            for (reference, digest, at) in &answers {
                transaction
                    .prepare_cached(
                        "INSERT INTO remote_digests (reference, digest, first_seen, checked_at) VALUES (?1, ?2, ?3, ?3)
                     ON CONFLICT (reference) DO UPDATE SET
                        first_seen = CASE digest WHEN excluded.digest THEN first_seen ELSE excluded.first_seen END,
                        digest = excluded.digest, checked_at = excluded.checked_at",
                    )?
                    .execute(params![reference, digest.as_str(), at.to_string()])?;
                transaction.execute("DELETE FROM failed_checks WHERE reference = ?1", [reference])?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Remembers for which references a registry gave no answer, why, and when it was asked.
    pub async fn remember_failures(&self, failures: Vec<(String, String, Timestamp)>) -> Result<(), StoreError> {
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            for (reference, reason, at) in &failures {
                let write = "INSERT OR REPLACE INTO failed_checks (reference, reason, asked_at) VALUES (?1, ?2, ?3)";
                transaction.execute(write, params![reference, reason, at.to_string()])?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// The references whose last question got no answer, why, and when that was.
    pub async fn remembered_failures(&self) -> Result<Vec<(String, String, Timestamp)>, StoreError> {
        self.call(|connection| {
            let mut statement = connection.prepare_cached("SELECT reference, reason, asked_at FROM failed_checks")?;
            let mut rows = statement.query([])?;
            let mut failures = Vec::new();
            while let Some(row) = rows.next()? {
                let at = row.get::<_, String>(2)?.parse();
                let at = at.map_err(|error: jiff::Error| Failure::row("a failed check", error))?;
                failures.push((row.get(0)?, row.get(1)?, at));
            }
            Ok(failures)
        })
        .await
    }

    /// When the registry was first seen to have `digest` for a reference in its complete form; `None` when it has
    /// another now, or was never asked.
    pub async fn first_seen(&self, reference: &str, digest: &Digest) -> Result<Option<Timestamp>, StoreError> {
        let (reference, digest) = (reference.to_owned(), digest.to_string());
        self.call(move |connection| {
            use rusqlite::OptionalExtension;
            let query = "SELECT first_seen FROM remote_digests WHERE reference = ?1 AND digest = ?2";
            let text = connection.query_row(query, [&reference, &digest], |row| row.get::<_, String>(0)).optional()?;
            let time = text.map(|text| text.parse()).transpose();
            time.map_err(|error: jiff::Error| Failure::row("a remembered digest", error))
        })
        .await
    }

    /// Every answer that is remembered.
    pub async fn remembered_digests(&self) -> Result<Vec<RememberedDigest>, StoreError> {
        self.call(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT reference, digest, first_seen, checked_at FROM remote_digests")?;
            let mut rows = statement.query([])?;
            let mut digests = Vec::new();
            while let Some(row) = rows.next()? {
                let texts = (
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                );
                digests.push(parse(texts).map_err(|reason| Failure::row("a remembered digest", reason))?);
            }
            Ok(digests)
        })
        .await
    }

    /// The policy that somebody has set for a target, in the words of the API.
    pub async fn toggle(&self, target: &Target) -> Result<Option<String>, StoreError> {
        let target = target.clone();
        self.call(move |connection| {
            use rusqlite::OptionalExtension;
            let query = "SELECT policy FROM toggles WHERE target_kind = ?1 AND target = ?2";
            Ok(connection.query_row(query, [target.kind(), target.name()], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Every policy that somebody has set for targets of one kind, by the target's name.
    pub async fn toggles(&self, kind: &'static str) -> Result<Vec<(String, String)>, StoreError> {
        self.call(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT target, policy FROM toggles WHERE target_kind = ?1")?;
            let rows = statement.query_map([kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Sets a target's policy; `None` unsets it.
    pub async fn set_toggle(&self, target: &Target, policy: Option<&str>) -> Result<(), StoreError> {
        let (target, policy) = (target.clone(), policy.map(str::to_owned));
        self.call(move |connection| {
            match policy {
                Some(policy) => connection.execute(
                    "INSERT OR REPLACE INTO toggles (target_kind, target, policy) VALUES (?1, ?2, ?3)",
                    params![target.kind(), target.name(), policy],
                )?,
                None => connection.execute(
                    "DELETE FROM toggles WHERE target_kind = ?1 AND target = ?2",
                    [target.kind(), target.name()],
                )?,
            };
            Ok(())
        })
        .await
    }
}

fn parse(
    (reference, digest, first_seen, checked_at): (String, String, String, String),
) -> Result<RememberedDigest, super::rows::Reason> {
    Ok(RememberedDigest {
        reference,
        digest: digest.parse()?,
        first_seen: first_seen.parse()?,
        checked_at: checked_at.parse()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host::Subject;

    #[tokio::test]
    async fn a_digest_keeps_the_time_it_was_first_seen_until_another_comes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32)).parse::<Digest>().unwrap();
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        for (n, seconds) in [(1, 10), (1, 20), (2, 30), (2, 40)] {
            store.remember_digests(vec![("web".into(), digest(n), at(seconds))]).await.unwrap();
        }
        let known = store.remembered_digests().await.unwrap();
        assert_eq!((known[0].digest.clone(), known[0].first_seen, known[0].checked_at), (digest(2), at(30), at(40)));
    }

    #[tokio::test]
    async fn toggles_are_set_and_unset() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let web = Target::local(Subject::App("web".into()));
        store.set_toggle(&web, Some("registry")).await.unwrap();
        assert_eq!(store.toggle(&web).await.unwrap().as_deref(), Some("registry"));
        assert_eq!(store.toggle(&Target::local(Subject::Container("web".into()))).await.unwrap(), None);
        assert_eq!(store.toggles("app").await.unwrap(), [("web".to_owned(), "registry".to_owned())]);
        store.set_toggle(&web, None).await.unwrap();
        assert_eq!(store.toggle(&web).await.unwrap(), None);
    }
}
