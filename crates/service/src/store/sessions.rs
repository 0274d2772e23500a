//! Sessions of people: what a browser's cookie stands for. Only a digest of it is stored.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Store, StoreError,
    accounts::{USE_GRAIN, User, digest, user},
    database::{Row, values},
};

/// When sessions end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// After so long without use.
    pub idle: TimeDelta,
    /// After so long in any case.
    pub absolute: TimeDelta,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { idle: TimeDelta::hours(12), absolute: TimeDelta::days(14) }
    }
}

impl Store {
    /// Begins a session of a user, and forgets those that have ended. The text can't be had again.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn begin_session(
        &self,
        user_id: &str,
        limits: SessionLimits,
        now: DateTime<Utc>,
    ) -> Result<SecretString, StoreError> {
        let ended = "delete from sessions where expires_at <= $1 or used_at <= $2";
        let mut transaction = self.database.begin().await?;
        transaction.change(ended, values![now, now - limits.idle]).await?;
        let text = hex::encode(rand::random::<[u8; 32]>());
        let insert = "insert into sessions (token_hash, user_id, created_at, used_at, expires_at) \
                      values ($1, $2, $3, $4, $5)";
        let values = values![digest(&text), user_id, now, now, now + limits.absolute];
        transaction.change(insert, values).await?;
        transaction.commit().await?;
        Ok(text.into())
    }

    /// Whose session it is; none if it is unknown, has ended, or its user is disabled.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn session(
        &self,
        session: &SecretString,
        limits: SessionLimits,
        now: DateTime<Utc>,
    ) -> Result<Option<User>, StoreError> {
        let sql = "select u.id, u.name, u.role, s.used_at from sessions s join users u on u.id = s.user_id \
                   where s.token_hash = $1 and s.expires_at > $2 and s.used_at > $3 and u.disabled_at is null";
        let hash = digest(session.expose_secret());
        let read = |mut row: Row| Ok((user(&mut row)?, row.instant()?));
        let found = self.read(sql, values![&hash, now, now - limits.idle], read).await?;
        let Some((user, used_at)) = found.into_iter().next() else { return Ok(None) };
        if now - used_at >= USE_GRAIN {
            let used = "update sessions set used_at = $1 where token_hash = $2";
            self.change(used, values![now, hash]).await?;
        }
        Ok(Some(user))
    }

    /// Ends a session; one that there isn't has ended already.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn end_session(&self, session: &SecretString) -> Result<(), StoreError> {
        let end = "delete from sessions where token_hash = $1";
        self.change(end, values![digest(session.expose_secret())]).await?;
        Ok(())
    }
}
