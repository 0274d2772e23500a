//! Secrets of integrations, sealed. The store neither seals nor opens: the key is not its own, and never beside it.

use chrono::{DateTime, Utc};

use super::{
    Store, StoreError,
    database::{Row, Transaction, Value, values},
};

/// Deletes the secrets of an integration.
pub(super) const FORGET: &str = "delete from secrets where integration_id = $1";

const PUT: &str = "insert into secrets (integration_id, name, key_id, sealed, sealed_at) values ($1, $2, $3, $4, $5) \
     on conflict (integration_id, name) do update set key_id = excluded.key_id, \
     sealed = excluded.sealed, sealed_at = excluded.sealed_at";

fn put_values(integration_id: &str, secret: &SealedSecret, now: DateTime<Utc>) -> Vec<Value> {
    values![integration_id, &secret.name, &secret.key_id, hex::encode(&secret.sealed), now]
}

/// Stores a secret, in the place of a former one.
pub(super) async fn put(
    transaction: &mut dyn Transaction,
    integration_id: &str,
    secret: &SealedSecret,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    transaction.change(PUT, put_values(integration_id, secret, now)).await?;
    Ok(())
}

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// What it is: `token`, `password`.
    pub name: String,
    /// Which key it is sealed with.
    pub key_id: String,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

impl Store {
    /// Stores a secret of an integration, in the place of a former one.
    ///
    /// # Errors
    /// When there is no such integration.
    pub async fn put_secret(
        &self,
        integration_id: &str,
        secret: &SealedSecret,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.change(PUT, put_values(integration_id, secret, now)).await?;
        Ok(())
    }

    /// The secrets of an integration, by name.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn secrets(&self, integration_id: &str) -> Result<Vec<SealedSecret>, StoreError> {
        let sql =
            "select name, key_id, sealed from secrets where integration_id = $1 order by name";
        let read = |mut row: Row| {
            let (name, key_id) = (row.text()?, row.text()?);
            let sealed =
                hex::decode(row.text()?).map_err(|_| StoreError::corrupt("a sealed secret"))?;
            Ok(SealedSecret { name, key_id, sealed })
        };
        self.read(sql, values![integration_id], read).await
    }

    /// Forgets the secrets of an integration.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn forget_secrets(&self, integration_id: &str) -> Result<(), StoreError> {
        self.change(FORGET, values![integration_id]).await?;
        Ok(())
    }
}
