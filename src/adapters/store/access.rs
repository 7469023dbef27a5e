//! Passwords and sessions; neither a password nor a cookie is kept as it is.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::connection::Store;
use super::error::{Failure, StoreError};

impl Store {
    /// The hash of a user's password, as it was when the service last ran.
    pub async fn password_hash(&self, user: &str) -> Result<Option<String>, StoreError> {
        let user = user.to_owned();
        self.call(move |connection| {
            let query = "SELECT hash FROM passwords WHERE user = ?1";
            Ok(connection.query_row(query, [user], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Replaces all passwords by one, and ends every session: those were begun with another password.
    pub async fn replace_password(&self, user: &str, hash: &str) -> Result<(), StoreError> {
        let (user, hash) = (user.to_owned(), hash.to_owned());
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM passwords", [])?;
            transaction.execute("DELETE FROM sessions", [])?;
            transaction.execute("INSERT INTO passwords (user, hash) VALUES (?1, ?2)", [user, hash])?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Begins a session, and forgets those that have ended by themselves.
    pub async fn begin_session(&self, token: &str, user: &str, expires: Timestamp) -> Result<(), StoreError> {
        let (token, user) = (token.to_owned(), user.to_owned());
        self.call(move |connection| {
            let now = Timestamp::now().to_string();
            connection.execute("DELETE FROM sessions WHERE expires < ?1", [now])?;
            let insert = "INSERT INTO sessions (token, user, expires) VALUES (?1, ?2, ?3)";
            connection.execute(insert, params![token, user, expires.to_string()])?;
            Ok(())
        })
        .await
    }

    /// Whose session it is and when it ends.
    pub async fn session(&self, token: &str) -> Result<Option<(String, Timestamp)>, StoreError> {
        let token = token.to_owned();
        let found = self.call(move |connection| {
            let query = "SELECT user, expires FROM sessions WHERE token = ?1";
            let row =
                connection.query_row(query, [token], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).optional()?;
            let parsed = row.map(|(user, expires)| expires.parse().map(|expires| (user, expires)));
            parsed.transpose().map_err(|reason: jiff::Error| Failure::row("a session", reason))
        });
        found.await
    }

    /// Ends a session; one that is not there has ended already.
    pub async fn end_session(&self, token: &str) -> Result<(), StoreError> {
        let token = token.to_owned();
        self.call(move |connection| {
            connection.execute("DELETE FROM sessions WHERE token = ?1", [token])?;
            Ok(())
        })
        .await
    }
}
