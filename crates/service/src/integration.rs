//! Integrations: an account, the schema it fills, and when it runs.

use chrono::{DateTime, Utc};
use schedule::Schedule;
use serde_json::{Map, Value};

use crate::name::closed_names;

/// An integration.
#[derive(Debug, Clone, PartialEq)]
pub struct Integration {
    /// Its id.
    pub id: String,
    /// Its name, as people read it.
    pub name: String,
    /// The schema that it fills; never changed.
    pub schema_name: String,
    /// Where it was declared.
    pub origin: Origin,
    /// The settings of its source and destination, without secrets.
    pub settings: Map<String, Value>,
    /// When it runs by itself, if it does.
    pub schedule: Option<Schedule>,
    /// Why its schedule can't be read, if it can't: then no run starts by itself until it is set anew.
    pub schedule_fault: Option<String>,
    /// From when to read what has no bookmark.
    pub start_date: DateTime<Utc>,
    /// Since when the next run is to read all tables again, because the start date was changed.
    pub reset_requested_at: Option<DateTime<Utc>>,
    /// Raised by every edit.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last edited, paused or resumed.
    pub updated_at: DateTime<Utc>,
    /// Since when it is paused, and by whom.
    pub paused: Option<(DateTime<Utc>, PausedBy)>,
    /// When it was deleted. Its runs and figures stay.
    pub deleted_at: Option<DateTime<Utc>>,
    /// Up to when slots have been decided about.
    pub decided_until: DateTime<Utc>,
    /// Since when the file that declared it doesn't any more.
    pub undeclared_at: Option<DateTime<Utc>>,
}

/// What a new integration is made of.
#[derive(Debug, Clone)]
pub struct NewIntegration {
    /// Its name.
    pub name: String,
    /// The schema that it fills.
    pub schema_name: String,
    /// Where it is declared.
    pub origin: Origin,
    /// The settings of its source and destination, without secrets.
    pub settings: Map<String, Value>,
    /// When it runs by itself, if it does.
    pub schedule: Option<Schedule>,
    /// From when to read what has no bookmark.
    pub start_date: DateTime<Utc>,
}

/// An edit: what is given is changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IntegrationEdit {
    /// A new name. The schema keeps its own.
    pub name: Option<String>,
    /// New settings, all of them.
    pub settings: Option<Map<String, Value>>,
    /// A new schedule, or none.
    pub schedule: Option<Option<Schedule>>,
    /// A start date from which all is read again: a reset, also where it is the one that it has.
    pub start_date: Option<DateTime<Utc>>,
}

closed_names! {
    /// Where an integration is declared.
    Origin {
        /// In a file on the host; read-only elsewhere.
        File = "file",
        /// By the API.
        Api = "api",
    }
}

closed_names! {
    /// Who paused an integration.
    PausedBy {
        /// A user.
        User = "user",
        /// The service, for a reason of its own.
        System = "system",
    }
}
