//! When something runs next by itself: written by the service, read by the commands and after a restart.

use jiff::Timestamp;
use rusqlite::params;

use super::connection::Store;
use super::error::{Failure, StoreError};
use super::rows::Reason;
use crate::domain::host::AppId;

/// One schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// The app whose own schedule it is; `None` for the service's.
    pub app: Option<AppId>,
    pub cron: String,
    pub timezone: String,
    pub next: Timestamp,
}

impl Store {
    /// Replaces everything that is known of schedules.
    pub async fn write_schedules(&self, schedules: Vec<ScheduleRow>) -> Result<(), StoreError> {
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM schedules", [])?;
            for row in &schedules {
                let app = row.app.as_ref().map(ToString::to_string).unwrap_or_default();
                transaction.execute(
                    "INSERT INTO schedules (app, cron, timezone, next) VALUES (?1, ?2, ?3, ?4)",
                    params![app, row.cron, row.timezone, row.next.to_string()],
                )?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// The schedules, the service's own first.
    pub async fn schedules(&self) -> Result<Vec<ScheduleRow>, StoreError> {
        self.call(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT app, cron, timezone, next FROM schedules ORDER BY app")?;
            let mut rows = statement.query([])?;
            let mut schedules = Vec::new();
            while let Some(row) = rows.next()? {
                let texts = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                schedules.push(parse(texts).map_err(|reason| Failure::row("a schedule", reason))?);
            }
            Ok(schedules)
        })
        .await
    }
}

fn parse((app, cron, timezone, next): (String, String, String, String)) -> Result<ScheduleRow, Reason> {
    let app = if app.is_empty() { None } else { Some(app.parse()?) };
    Ok(ScheduleRow { app, cron, timezone, next: next.parse()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn schedules_are_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let row = |app: Option<&str>| ScheduleRow {
            app: app.map(|app| app.parse().unwrap()),
            cron: "0 4 * * *".into(),
            timezone: "UTC".into(),
            next: Timestamp::from_second(60).unwrap(),
        };
        store.write_schedules(vec![row(Some("web")), row(None)]).await.unwrap();
        assert_eq!(store.schedules().await.unwrap(), [row(None), row(Some("web"))]);
        store.write_schedules(vec![row(None)]).await.unwrap();
        assert_eq!(store.schedules().await.unwrap(), [row(None)]);
    }
}
