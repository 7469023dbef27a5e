//! Messages that wait to be delivered, and which pending updates have been told.

use jiff::Timestamp;
use rusqlite::params;

use super::connection::Store;
use super::error::{Failure, StoreError};
use super::rows::json;
use crate::domain::host::Target;
use crate::domain::job::ServiceChange;
use crate::domain::notice::Notice;

/// A message on its way to one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub id: String,
    pub receiver: String,
    pub notice: Notice,
    pub since: Timestamp,
    /// How often it has been tried in vain.
    pub tries: u32,
}

impl Store {
    /// Puts a message into the queue of each receiver.
    pub async fn queue_notice(&self, notice: &Notice, receivers: Vec<String>) -> Result<(), StoreError> {
        let notice = notice.clone();
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            queue(&transaction, &notice, &receivers)?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Queues a message about found updates, but only about those that nobody has been told of yet. Gives whether there
    /// was one. What was told and the queue change together, so nothing is told twice and nothing forgotten.
    pub async fn queue_found(&self, mut notice: Notice, receivers: Vec<String>) -> Result<bool, StoreError> {
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            let mut fresh = Vec::new();
            for change in std::mem::take(&mut notice.services) {
                if note_announced(&transaction, &notice.target, &change)? {
                    fresh.push(change);
                }
            }
            let any = !fresh.is_empty();
            if any {
                notice.services = fresh;
                queue(&transaction, &notice, &receivers)?;
            }
            transaction.commit()?;
            Ok(any)
        })
        .await
    }

    /// The messages for these receivers that are due, those first that were tried least, then the oldest. Each is taken
    /// for a while: nobody else tries it meanwhile, and if this process dies it is due again afterwards.
    pub async fn take_due_notices(
        &self,
        receivers: Vec<String>,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            let mut due = Vec::new();
            {
                let query =
                    "SELECT id, receiver, notice, since, tries FROM notices WHERE next <= ?1 ORDER BY tries, id";
                let mut statement = transaction.prepare_cached(query)?;
                let mut rows = statement.query([now.as_second()])?;
                while let Some(row) = rows.next()? {
                    let (id, receiver): (String, String) = (row.get(0)?, row.get(1)?);
                    if !receivers.contains(&receiver) {
                        continue;
                    }
                    let (notice, since): (String, String) = (row.get(2)?, row.get(3)?);
                    let wrong = |reason| Failure::row(format!("the notice {id}"), reason);
                    let notice = serde_json::from_str(&notice).map_err(|error| wrong(error.to_string()))?;
                    let since = since.parse().map_err(|error: jiff::Error| wrong(error.to_string()))?;
                    due.push(Waiting { id, receiver, notice, since, tries: row.get(4)? });
                }
            }
            for waiting in &due {
                let take = "UPDATE notices SET next = ?2 WHERE id = ?1";
                transaction.prepare_cached(take)?.execute(params![waiting.id, until.as_second()])?;
            }
            transaction.commit()?;
            Ok(due)
        })
        .await
    }

    /// Takes a message out of the queue: it has been delivered, or given up.
    pub async fn forget_notice(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.call(move |connection| {
            connection.execute("DELETE FROM notices WHERE id = ?1", [id])?;
            Ok(())
        })
        .await
    }

    /// Notes when the next try may be, and whether there was one in vain.
    pub async fn postpone_notice(&self, id: &str, next: Timestamp, tried: bool) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.call(move |connection| {
            let postpone = "UPDATE notices SET tries = tries + ?3, next = ?2 WHERE id = ?1";
            connection.execute(postpone, params![id, next.as_second(), tried])?;
            Ok(())
        })
        .await
    }

    /// How many messages wait for each receiver, also for those that are no longer in the configuration.
    pub async fn waiting_notices(&self) -> Result<Vec<(String, u32)>, StoreError> {
        self.call(|connection| {
            let query = "SELECT receiver, count(*) FROM notices GROUP BY receiver ORDER BY receiver";
            let mut statement = connection.prepare_cached(query)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Forgets what has waited since before `since`, whoever it was for, and gives how much that was.
    pub async fn drop_old_notices(&self, since: Timestamp) -> Result<usize, StoreError> {
        self.call(
            move |connection| Ok(connection.execute("DELETE FROM notices WHERE since < ?1", [since.to_string()])?),
        )
        .await
    }
}

fn queue(connection: &rusqlite::Connection, notice: &Notice, receivers: &[String]) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO notices (id, receiver, notice, since, tries, next) VALUES (?1, ?2, ?3, ?4, 0, 0)",
    )?;
    for receiver in receivers {
        let id = ulid::Ulid::new().to_string();
        insert.execute(params![id, receiver, json(notice)?, notice.at.to_string()])?;
    }
    Ok(())
}

/// Returns whether nobody has been told of this image yet; from now on somebody has.
fn note_announced(connection: &rusqlite::Connection, target: &Target, change: &ServiceChange) -> Result<bool, Failure> {
    let changed = connection
        .prepare_cached(
            "INSERT INTO announced (target_kind, target, service, digest) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (target_kind, target, service) DO UPDATE SET digest = excluded.digest
             WHERE digest <> excluded.digest",
        )?
        .execute(params![target.kind(), target.name(), change.service.as_str(), change.to])?;
    Ok(changed > 0)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;
    use crate::domain::notice::Event;

    fn found(to: &str) -> Notice {
        let mut notice = Notice::sample(Event::Found, Timestamp::UNIX_EPOCH);
        notice.services[0].to = to.into();
        notice
    }

    async fn due(store: &Store, second: i64) -> Vec<Waiting> {
        let at = Timestamp::from_second(second).unwrap();
        store.take_due_notices(vec!["phone".into()], at, at + 60.seconds()).await.unwrap()
    }

    #[tokio::test]
    async fn a_message_is_taken_by_one_and_comes_back_until_it_is_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let notice = Notice::sample(Event::Updated, Timestamp::UNIX_EPOCH);
        store.queue_notice(&notice, vec!["phone".into(), "gone".into()]).await.unwrap();
        let taken = due(&store, 100).await;
        assert_eq!((taken.len(), &taken[0].notice, taken[0].tries), (1, &notice, 0));
        assert!(due(&Store::open(dir.path()).unwrap(), 159).await.is_empty());
        assert_eq!(due(&store, 160).await.len(), 1);
        store.postpone_notice(&taken[0].id, Timestamp::from_second(500).unwrap(), true).await.unwrap();
        assert!(due(&store, 499).await.is_empty());
        assert_eq!(due(&store, 500).await[0].tries, 1);
        store.forget_notice(&taken[0].id).await.unwrap();
        assert_eq!(store.waiting_notices().await.unwrap(), [("gone".to_owned(), 1)]);
        assert_eq!(store.drop_old_notices(Timestamp::UNIX_EPOCH + 1.second()).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_image_is_announced_once_and_the_next_one_again() {
        let dir = tempfile::tempdir().unwrap();
        for (to, told) in [("sha256:a", true), ("sha256:a", false), ("sha256:b", true), ("sha256:b", false)] {
            // As after a restart.
            let store = Store::open(dir.path()).unwrap();
            assert_eq!(store.queue_found(found(to), vec!["phone".into()]).await.unwrap(), told, "{to}");
        }
        assert_eq!(Store::open(dir.path()).unwrap().waiting_notices().await.unwrap(), [("phone".to_owned(), 2)]);
    }
}
