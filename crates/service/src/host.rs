//! What the service asks of the program that it is part of, which knows sources, destinations and their settings.
//!
//! The service itself keeps an integration's settings as a JSON object that it does not look into, and its secrets apart.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::{
    integration::{Integration, Origin},
    kept::{
        Bookmarks, Refused, RejectChoice, RejectPage, RejectReason, ReplayPreview, RewindPreview,
        RewindWish, Unreadable,
    },
    task::Task,
};

/// The secrets of an integration by their name in the settings, opened.
pub type Secrets = BTreeMap<String, SecretString>;

/// An integration as somebody wants it to be.
#[derive(Debug)]
pub struct Draft<'d> {
    /// Its name.
    pub name: &'d str,
    /// The schema that it is to fill; derived from the name if it isn't given.
    pub schema_name: Option<&'d str>,
    /// Who declares it: settings that reach into the host are only taken from a file on it.
    pub origin: Origin,
    /// The settings of source and destination.
    pub settings: &'d Map<String, Value>,
    /// The secrets that are given with it.
    pub secrets: &'d Secrets,
}

/// An integration that can be saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// The schema.
    pub schema_name: String,
    /// The settings in their full form, without secrets.
    pub settings: Map<String, Value>,
    /// Where each secret is sent to, by its name: when that changes, the secret has to be given anew.
    pub secret_places: BTreeMap<String, String>,
    /// The tables that it fills.
    pub tables: Vec<String>,
    /// What its owner should know though it is valid.
    pub warnings: Vec<String>,
}

/// A setting that can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingError {
    /// Where it stands, as a JSON pointer: `/settings/source/endpoint`.
    pub pointer: String,
    /// What is wrong; never the value of a secret.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// One step of a connection check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckStep {
    /// The side: `source` or `destination`.
    pub side: String,
    /// What was tried.
    pub name: String,
    /// Whether it went well.
    pub is_ok: bool,
    /// What was found, or what went wrong.
    pub message: String,
    /// What to do about it, if it went wrong.
    pub remedy: Option<String>,
}

/// The program around the service.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Looks at an integration that is to be saved, without connecting to anything.
    ///
    /// # Errors
    /// The settings that can't be taken; at least one.
    fn inspect(&self, draft: &Draft<'_>) -> Result<Inspected, Vec<SettingError>>;

    /// Tries the source and the destination of an integration that [`Host::inspect`] takes, saved or not. It ends early
    /// when `stop` is cancelled; it has a deadline of its own.
    async fn check(&self, draft: &Draft<'_>, stop: &CancellationToken) -> Vec<CheckStep>;

    /// Looks at whether an integration can do a task.
    ///
    /// # Errors
    /// Why it can't: the source can't be asked again, or there is no such table.
    fn admit(&self, draft: &Draft<'_>, task: &Task) -> Result<(), SettingError>;

    /// Why rows are rejected that wait to be replayed, the commonest reason first, of one table if it is named.
    ///
    /// # Errors
    /// When the destination can't be read.
    async fn reject_reasons(
        &self,
        draft: &Draft<'_>,
        table: Option<&str>,
    ) -> Result<Vec<RejectReason>, Unreadable>;

    /// Rejected rows, in the order in which they were read.
    ///
    /// # Errors
    /// When the destination can't be read.
    async fn rejects(
        &self,
        draft: &Draft<'_>,
        choice: &RejectChoice,
    ) -> Result<RejectPage, Unreadable>;

    /// How far each stream is, and who holds the schema.
    ///
    /// # Errors
    /// When the destination can't be read.
    async fn bookmarks(&self, draft: &Draft<'_>) -> Result<Bookmarks, Unreadable>;

    /// What it would mean to replay rejected rows that wait; the choice's place and limit count for nothing.
    ///
    /// # Errors
    /// When the destination can't be read.
    async fn preview_replay(
        &self,
        draft: &Draft<'_>,
        choice: &RejectChoice,
    ) -> Result<ReplayPreview, Unreadable>;

    /// What it would mean to move bookmarks.
    ///
    /// # Errors
    /// When the destination can't be read, or a bookmark can't move so.
    async fn preview_rewind(
        &self,
        draft: &Draft<'_>,
        wish: &RewindWish,
    ) -> Result<RewindPreview, Refused>;

    /// What a changed start date would do to an integration, in sentences for who is to confirm it.
    async fn reset_consequences(
        &self,
        integration: &Integration,
        start_date: DateTime<Utc>,
    ) -> Vec<String>;

    /// Seals a secret of an integration for the store.
    ///
    /// # Errors
    /// When there is no key.
    fn seal(
        &self,
        integration_id: &str,
        name: &str,
        secret: &SecretString,
    ) -> Result<crate::store::SealedSecret, SettingError>;

    /// Opens a secret that [`Host::seal`] sealed.
    ///
    /// # Errors
    /// When the key is another, or the sealed bytes were changed.
    fn open(
        &self,
        integration_id: &str,
        sealed: &crate::store::SealedSecret,
    ) -> Result<SecretString, SettingError>;
}
