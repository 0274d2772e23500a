//! Users, and the tokens by which programs act for them. Of a token only a digest is stored: it is long and random, so a
//! plain one can't be reversed. Of a password the store takes the finished hash.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{
    Store, StoreError,
    database::{Row, Transaction, values},
    first, new_id,
};
use crate::name::closed_names;

/// How tokens begin, so that people and scanners know one when they see it.
const TOKEN_PREFIX: &str = "backstitch_";

/// How exactly the last use of a token is known: writing down every use would cost more than it tells.
pub(super) const USE_GRAIN: TimeDelta = TimeDelta::minutes(1);

closed_names! {
    /// What a user may do.
    Role {
        /// Everything.
        Administrator = "administrator",
        /// Everything but users, tokens of others and the service itself.
        Member = "member",
        /// Look.
        Viewer = "viewer",
    }
}

closed_names! {
    /// What a token may do of what its user may.
    Scope {
        /// Look.
        Read = "read",
        /// All of it.
        Write = "write",
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// What the user may do.
    pub role: Role,
}

/// A user, as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The user.
    pub user: User,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when it can't be used any more.
    pub disabled_at: Option<DateTime<Utc>>,
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// The id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A token that was just made. The text can't be had again.
#[derive(Debug)]
pub struct NewToken {
    /// The id.
    pub id: String,
    /// The token itself.
    pub text: SecretString,
}

impl Store {
    /// Makes a user, with the hash of a password.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn create_user(
        &self,
        name: &str,
        role: Role,
        password_hash: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<User, StoreError> {
        let id = new_id();
        let insert = "insert into users (id, name, role, password_hash, created_at) values ($1, $2, $3, $4, $5) \
                      on conflict do nothing";
        let values = values![&id, name, role.name(), password_hash.expose_secret(), now];
        if self.change(insert, values).await? == 0 {
            return Err(StoreError::Taken { what: "a user", name: name.to_owned() });
        }
        Ok(User { id, name: name.to_owned(), role })
    }

    /// A user and the hash of the password, by name; none if there is no such user, or not any more.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn user_to_sign_in(
        &self,
        name: &str,
    ) -> Result<Option<(User, SecretString)>, StoreError> {
        let sql = "select id, name, role, password_hash from users where name = $1 and disabled_at is null";
        let read = |mut row: Row| {
            let user = user(&mut row)?;
            Ok((user, SecretString::from(row.text()?)))
        };
        Ok(self.read(sql, values![name], read).await?.into_iter().next())
    }

    /// All users by name, those that are disabled too.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let sql = "select id, name, role, created_at, disabled_at from users order by name";
        self.read(sql, values![], record).await
    }

    /// A user by its id, also if it is disabled.
    ///
    /// # Errors
    /// When there is none.
    pub async fn user(&self, id: &str) -> Result<UserRecord, StoreError> {
        let sql = "select id, name, role, created_at, disabled_at from users where id = $1";
        let found = self.read(sql, values![id], record).await?;
        found.into_iter().next().ok_or_else(|| no_user(id))
    }

    /// Gives a user another role.
    ///
    /// # Errors
    /// When there is none, or nobody would be an administrator any more.
    pub async fn set_role(&self, id: &str, role: Role) -> Result<(), StoreError> {
        let mut transaction = self.database.begin().await?;
        let lock = "update users set role = role where disabled_at is null";
        transaction.change(lock, values![]).await?;
        let update = "update users set role = $1 where id = $2 and disabled_at is null";
        if transaction.change(update, values![role.name(), id]).await? == 0 {
            return Err(no_user(id));
        }
        keep_an_administrator(transaction.as_mut(), id).await?;
        transaction.commit().await
    }

    /// Gives a user another password, by its hash, and ends the sessions that the old one began.
    ///
    /// # Errors
    /// When there is none.
    pub async fn set_password(
        &self,
        id: &str,
        password_hash: &SecretString,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.begin().await?;
        let update = "update users set password_hash = $1 where id = $2 and disabled_at is null";
        if transaction.change(update, values![password_hash.expose_secret(), id]).await? == 0 {
            return Err(no_user(id));
        }
        transaction.change(END_SESSIONS, values![id]).await?;
        transaction.commit().await
    }

    /// Disables a user, and with it all its tokens and sessions.
    ///
    /// # Errors
    /// When there is none, or nobody would be an administrator any more.
    pub async fn disable_user(&self, id: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut transaction = self.database.begin().await?;
        let lock = "update users set role = role where disabled_at is null";
        transaction.change(lock, values![]).await?;
        let update = "update users set disabled_at = coalesce(disabled_at, $1) where id = $2";
        if transaction.change(update, values![now, id]).await? == 0 {
            return Err(no_user(id));
        }
        keep_an_administrator(transaction.as_mut(), id).await?;
        transaction.change(END_SESSIONS, values![id]).await?;
        transaction.commit().await
    }

    /// Makes a token for a user.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn create_token(
        &self,
        user_id: &str,
        name: &str,
        scope: Scope,
        expires_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<NewToken, StoreError> {
        let mut transaction = self.database.begin().await?;
        let owner = "select id from users where id = $1 and disabled_at is null";
        if first(transaction.as_mut(), owner, values![user_id]).await?.is_none() {
            return Err(StoreError::NotFound { what: "user", name: user_id.to_owned() });
        }
        let id = new_id();
        let text = format!("{TOKEN_PREFIX}{}", hex::encode(rand::random::<[u8; 32]>()));
        let insert = "insert into api_tokens (id, user_id, name, token_hash, scope, created_at, expires_at) \
                      values ($1, $2, $3, $4, $5, $6, $7)";
        let values = values![&id, user_id, name, digest(&text), scope.name(), now, expires_at];
        transaction.change(insert, values).await?;
        transaction.commit().await?;
        Ok(NewToken { id, text: text.into() })
    }

    /// Whose a token is and what it may do; none if it is unknown, revoked, expired, or its user is disabled.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn authenticate(
        &self,
        token: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<Option<(User, Scope)>, StoreError> {
        let sql = "select u.id, u.name, u.role, t.id, t.scope, t.last_used_at from api_tokens t \
                   join users u on u.id = t.user_id where t.token_hash = $1 and t.revoked_at is null \
                   and u.disabled_at is null and (t.expires_at is null or t.expires_at > $2)";
        let hash = digest(token.expose_secret());
        let read = |mut row: Row| {
            let user = user(&mut row)?;
            Ok((user, row.text()?, row.named(Scope::named)?, row.optional_instant()?))
        };
        let found = self.read(sql, values![hash, now], read).await?;
        let Some((user, id, scope, last_used_at)) = found.into_iter().next() else {
            return Ok(None);
        };
        if last_used_at.is_none_or(|last| now - last >= USE_GRAIN) {
            let used = "update api_tokens set last_used_at = $1 where id = $2";
            self.change(used, values![now, id]).await?;
        }
        Ok(Some((user, scope)))
    }

    /// The tokens of a user that are not revoked, by name.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn tokens(&self, user_id: &str) -> Result<Vec<ApiToken>, StoreError> {
        let sql = "select id, name, scope, expires_at, last_used_at from api_tokens \
                   where user_id = $1 and revoked_at is null order by name, id";
        let read = |mut row: Row| {
            Ok(ApiToken {
                id: row.text()?,
                name: row.text()?,
                scope: row.named(Scope::named)?,
                expires_at: row.optional_instant()?,
                last_used_at: row.optional_instant()?,
            })
        };
        self.read(sql, values![user_id], read).await
    }

    /// The user to whom a token belongs, by the token's id.
    ///
    /// # Errors
    /// When there is no such token.
    pub async fn token_owner(&self, id: &str) -> Result<String, StoreError> {
        let sql = "select user_id from api_tokens where id = $1 and revoked_at is null";
        let found = self.read(sql, values![id], |mut row: Row| row.text()).await?;
        let missing = || StoreError::NotFound { what: "token", name: id.to_owned() };
        found.into_iter().next().ok_or_else(missing)
    }

    /// Revokes a token at once.
    ///
    /// # Errors
    /// When there is none.
    pub async fn revoke_token(&self, id: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let update = "update api_tokens set revoked_at = coalesce(revoked_at, $1) where id = $2";
        if self.change(update, values![now, id]).await? == 0 {
            return Err(StoreError::NotFound { what: "token", name: id.to_owned() });
        }
        Ok(())
    }
}

/// Ends all sessions of a user.
const END_SESSIONS: &str = "delete from sessions where user_id = $1";

fn no_user(id: &str) -> StoreError {
    StoreError::NotFound { what: "user", name: id.to_owned() }
}

/// Fails where a change of a user left nobody who may do everything.
async fn keep_an_administrator(
    transaction: &mut dyn Transaction,
    id: &str,
) -> Result<(), StoreError> {
    let left = "select id from users where role = 'administrator' and disabled_at is null limit 1";
    if first(transaction, left, values![]).await?.is_some() {
        return Ok(());
    }
    let name = first(transaction, "select name from users where id = $1", values![id]).await?;
    let name = name.map_or_else(|| Ok(id.to_owned()), |mut row| row.text())?;
    Err(StoreError::LastAdministrator { name })
}

fn record(mut row: Row) -> Result<UserRecord, StoreError> {
    let user = user(&mut row)?;
    Ok(UserRecord { user, created_at: row.instant()?, disabled_at: row.optional_instant()? })
}

pub(super) fn user(row: &mut Row) -> Result<User, StoreError> {
    Ok(User { id: row.text()?, name: row.text()?, role: row.named(Role::named)? })
}

pub(super) fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}
