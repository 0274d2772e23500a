//! Idempotency keys: what was answered to a request that is sent again.
//!
//! A key is written before the request is worked on, and its answer after. One whose answer is missing is being worked
//! on, or the process ended in between: then nobody knows what came of it, and the key is refused rather than the work
//! done twice.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Store, StoreError, database::values, first};

/// What was answered to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers that count, as names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What becomes of a request with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is to be worked on.
    New,
    /// The same is being worked on, or was when the process ended.
    Pending,
    /// It was answered.
    Answered(Reply),
    /// The key was used for another request.
    Differs,
}

impl Store {
    /// Asks whether a user's request is to be worked on. The digest covers all that makes it what it is. Keys that are
    /// older than an age are forgotten.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn admit(
        &self,
        user_id: &str,
        key: &str,
        request_digest: &str,
        age: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<Admission, StoreError> {
        let mut transaction = self.database.begin().await?;
        let old = "delete from idempotency_keys where created_at <= $1";
        transaction.change(old, values![now - age]).await?;
        let insert = "insert into idempotency_keys (user_id, idempotency_key, request_digest, created_at) \
                      values ($1, $2, $3, $4) on conflict do nothing";
        let values = values![user_id, key, request_digest, now];
        if transaction.change(insert, values).await? == 1 {
            transaction.commit().await?;
            return Ok(Admission::New);
        }
        let sql = "select request_digest, status, headers, body from idempotency_keys \
                   where user_id = $1 and idempotency_key = $2";
        let found = first(transaction.as_mut(), sql, values![user_id, key]).await?;
        transaction.commit().await?;
        // It was withdrawn this very moment.
        let Some(mut row) = found else { return Ok(Admission::Pending) };
        if row.text()? != request_digest {
            return Ok(Admission::Differs);
        }
        let Some(status) = row.optional_integer()? else { return Ok(Admission::Pending) };
        let status = u16::try_from(status).map_err(|_| StoreError::corrupt("a status"))?;
        Ok(Admission::Answered(Reply { status, headers: row.json()?, body: row.text()? }))
    }

    /// Records what was answered.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn record_reply(
        &self,
        user_id: &str,
        key: &str,
        reply: &Reply,
    ) -> Result<(), StoreError> {
        let update = "update idempotency_keys set status = $1, headers = $2, body = $3 \
                      where user_id = $4 and idempotency_key = $5";
        let headers = serde_json::json!(reply.headers).to_string();
        let values = values![i64::from(reply.status), headers, &reply.body, user_id, key];
        self.change(update, values).await?;
        Ok(())
    }

    /// Gives a key free again, whose request changed nothing.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn withdraw_key(&self, user_id: &str, key: &str) -> Result<(), StoreError> {
        let delete = "delete from idempotency_keys where user_id = $1 and idempotency_key = $2 and status is null";
        self.change(delete, values![user_id, key]).await?;
        Ok(())
    }
}
