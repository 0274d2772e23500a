//! What the service asks about settings and secrets.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use replication::{
    destination::Destination,
    source::{CheckStep as Tried, Source, Span},
};
use secrecy::SecretString;
use service::{
    api::CHECK_DEADLINE,
    host::{CheckStep, Draft, Host, Inspected, Secrets, SettingError},
    integration::{Integration, Origin},
    kept::{
        Bookmarks, Refused, RejectChoice, RejectPage, RejectReason, ReplayPreview, RewindPreview,
        RewindWish, Unreadable,
    },
    store::SealedSecret,
    task::Task,
};
use tokio::{select, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    guard::{Guard, Named},
    kept::{self, refused, unreadable},
    keys::{KEY_FILE_VARIABLE, KeyRing},
};
use crate::{
    commands::{backfill::Backfill, refresh, state_edit::Edits},
    config::{self, PASSWORD, Stored, TOKEN},
    connect::{self, Places},
    failure::Failure,
};

/// How long one side of a connection check may take: it ends, and says so, before the request does that asked for it. What
/// is left is for the look-ups before.
const SIDE_DEADLINE: Duration = CHECK_DEADLINE.saturating_sub(Duration::from_secs(30));

/// The program around the service.
#[derive(Debug)]
pub(crate) struct ServiceHost {
    data_folder: PathBuf,
    keys: Option<KeyRing>,
    guard: Guard,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("KeyRing")
            .field("current", &self.current_id())
            .finish_non_exhaustive()
    }
}

impl ServiceHost {
    /// One whose users' files are in this folder.
    pub(crate) fn new(data_folder: &Path, keys: Option<KeyRing>, guard: Guard) -> Self {
        Self { data_folder: data_folder.to_owned(), keys, guard }
    }

    /// The id of the key that seals, if there is one.
    pub(crate) fn key_id(&self) -> Option<&str> {
        self.keys.as_ref().map(KeyRing::current_id)
    }

    /// A stored integration in the form in which it runs.
    ///
    /// # Errors
    /// When a setting of it can't be taken, or it may not connect where it wants to.
    pub(crate) fn read(&self, stored: &Stored<'_>) -> Result<config::Integration, SettingError> {
        let mut integration = stored.read(&self.data_folder)?;
        if stored.origin == Origin::Api {
            integration.look_up = Some(self.guard.look_up());
        }
        Ok(integration)
    }

    /// The hosts that an integration connects to, where they are to be judged.
    fn named(places: &Places) -> Vec<Named> {
        let named = |pointer, place: &Option<connect::Place>| {
            place.as_ref().map(|place| Named { pointer, host: place.host.clone() })
        };
        let source = named("/settings/source/endpoint", &places.source);
        source.into_iter().chain(named("/settings/destination", &places.destination)).collect()
    }

    /// Judges by their addresses the hosts that an integration connects to.
    ///
    /// # Errors
    /// When one of them is not for the service's users.
    pub(crate) async fn judge(
        &self,
        origin: Origin,
        integration: &config::Integration,
    ) -> Result<(), SettingError> {
        if origin == Origin::File {
            return Ok(());
        }
        let places = connect::places(integration).map_err(|failure| wrong(&failure))?;
        for named in Self::named(&places) {
            self.guard.judge_addresses(&named).await?;
        }
        Ok(())
    }

    /// Opens the secrets of an integration.
    ///
    /// # Errors
    /// The first that can't be opened.
    pub(crate) fn open_all(
        &self,
        integration_id: &str,
        sealed: &[SealedSecret],
    ) -> Result<Secrets, SettingError> {
        let open =
            |sealed: &SealedSecret| Ok((sealed.name.clone(), self.open(integration_id, sealed)?));
        sealed.iter().map(open).collect()
    }

    async fn sides(
        &self,
        draft: &Draft<'_>,
    ) -> Result<(Box<dyn Source>, std::sync::Arc<dyn Destination>), SettingError> {
        let integration = self.read(&stored(draft))?;
        self.judge(draft.origin, &integration).await?;
        let source = connect::source(&integration).map_err(|failure| wrong(&failure))?;
        let target = integration.target().map_err(|failure| wrong(&failure))?;
        let destination = connect::destination(&target).map_err(|failure| wrong(&failure))?;
        Ok((source, destination))
    }
}

pub(super) fn stored<'d>(draft: &Draft<'d>) -> Stored<'d> {
    Stored {
        name: draft.name,
        schema_name: draft.schema_name,
        origin: draft.origin,
        settings: draft.settings,
        start_date: None,
        secrets: draft.secrets,
    }
}

/// A failure of what is found only when the settings are put to use.
fn wrong(failure: &Failure) -> SettingError {
    SettingError {
        pointer: "/settings".to_owned(),
        message: failure.sentence(),
        remedy: failure.remedy().to_owned(),
    }
}

#[async_trait]
impl Host for ServiceHost {
    fn inspect(&self, draft: &Draft<'_>) -> Result<Inspected, Vec<SettingError>> {
        let one = |error: SettingError| vec![error];
        let source = draft.settings.get("source").and_then(|source| source.as_object());
        if source.is_some_and(|source| source.contains_key("start_date")) {
            return Err(one(SettingError {
                pointer: "/settings/source/start_date".to_owned(),
                message: "`start_date` is no setting of the source".to_owned(),
                remedy: "Give the integration's `start_date` beside the settings".to_owned(),
            }));
        }
        let integration = self.read(&stored(draft)).map_err(one)?;
        let places = connect::places(&integration).map_err(|failure| one(wrong(&failure)))?;
        if draft.origin == Origin::Api {
            let judged = Self::named(&places).into_iter().map(|named| self.guard.judge(&named));
            let refused: Vec<SettingError> = judged.filter_map(Result::err).collect();
            if !refused.is_empty() {
                return Err(refused);
            }
        }
        let mut secret_places = BTreeMap::new();
        if let Some(place) = places.source {
            secret_places.insert(TOKEN.to_owned(), place.address);
        }
        if let Some(place) = places.destination {
            secret_places.insert(PASSWORD.to_owned(), place.address);
        }
        let tables = integration.selection.iter();
        Ok(Inspected {
            schema_name: integration.schema.to_string(),
            settings: draft.settings.clone(),
            secret_places,
            tables: tables.map(|selected| selected.stream().name().to_owned()).collect(),
            warnings: integration.warnings,
        })
    }

    async fn check(&self, draft: &Draft<'_>, stop: &CancellationToken) -> Vec<CheckStep> {
        let (source, destination) = match self.sides(draft).await {
            Ok(sides) => sides,
            Err(error) => return vec![failed("settings", "Settings", error.message, error.remedy)],
        };
        let source = one_side("source", source.check(), stop);
        let destination = one_side("destination", destination.check(), stop);
        let (mut steps, others) = tokio::join!(source, destination);
        steps.extend(others);
        steps
    }

    fn admit(&self, draft: &Draft<'_>, task: &Task) -> Result<(), SettingError> {
        let integration = self.read(&stored(draft))?;
        let admitted = match task {
            Task::Backfill { from, before, tables } => {
                Backfill::new(Span { from: *from, before: *before }, tables, &integration).map(drop)
            }
            Task::Audit { tables, .. } => connect::rereadable(&integration)
                .and_then(|_| refresh::named_or_all(tables, &integration))
                .map(drop),
            Task::Replay { .. } => connect::decoder(Some(&integration)).map(drop),
            // Whether the bookmarks can move so, its preview has found out.
            Task::Rewind { .. } => Ok(()),
        };
        admitted.map_err(|failure| wrong(&failure))
    }

    async fn reject_reasons(
        &self,
        draft: &Draft<'_>,
        table: Option<&str>,
    ) -> Result<Vec<RejectReason>, Unreadable> {
        self.look(draft, |destination| kept::reasons(destination, table), unreadable).await
    }

    async fn rejects(
        &self,
        draft: &Draft<'_>,
        choice: &RejectChoice,
    ) -> Result<RejectPage, Unreadable> {
        self.look(draft, |destination| kept::rejects(destination, choice), unreadable).await
    }

    async fn bookmarks(&self, draft: &Draft<'_>) -> Result<Bookmarks, Unreadable> {
        let read = |destination| kept::bookmarks(destination, Utc::now());
        self.look(draft, read, unreadable).await
    }

    async fn preview_replay(
        &self,
        draft: &Draft<'_>,
        choice: &RejectChoice,
    ) -> Result<ReplayPreview, Unreadable> {
        let settings =
            |SettingError { message, remedy, .. }: SettingError| Unreadable { message, remedy };
        let integration = self.read(&stored(draft)).map_err(settings)?;
        let decoder =
            connect::decoder(Some(&integration)).map_err(|failure| unreadable(&failure))?;
        let read = |destination| kept::preview_replay(destination, decoder, choice);
        self.look(draft, read, unreadable).await
    }

    async fn preview_rewind(
        &self,
        draft: &Draft<'_>,
        wish: &RewindWish,
    ) -> Result<RewindPreview, Refused> {
        let edits = Edits::wished(wish).map_err(|failure| refused(&failure))?;
        let read = |destination| kept::preview_rewind(destination, edits, wish.remove_tap_state);
        self.look(draft, read, refused).await
    }

    async fn reset_consequences(
        &self,
        integration: &Integration,
        start_date: DateTime<Utc>,
    ) -> Vec<String> {
        let (from, to) = (integration.start_date, start_date);
        let text = |date: DateTime<Utc>| date.format("%Y-%m-%d %H:%M UTC").to_string();
        let instead =
            if to == from { String::new() } else { format!(" instead of {}", text(from)) };
        let mut sentences = vec![
            format!("The next run reads all tables again, from {}{instead}.", text(to)),
            "That may take as long as a first run; new rows come only after the old ones.".to_owned(),
            "Rows that come again and differ are updated, and count as usage like any other.".to_owned(),
            "Nothing is deleted: rows that the source can't give any more stay, such as activities of more than 30 days ago."
                .to_owned(),
        ];
        if to > from {
            sentences.push(format!("Rows from before {} stay as they are.", text(to)));
        }
        sentences
    }

    fn seal(
        &self,
        integration_id: &str,
        name: &str,
        secret: &SecretString,
    ) -> Result<SealedSecret, SettingError> {
        self.keys.as_ref().ok_or_else(|| no_key(name))?.seal(integration_id, name, secret)
    }

    fn open(
        &self,
        integration_id: &str,
        sealed: &SealedSecret,
    ) -> Result<SecretString, SettingError> {
        self.keys.as_ref().ok_or_else(|| no_key(&sealed.name))?.open(integration_id, sealed)
    }
}

fn no_key(name: &str) -> SettingError {
    SettingError {
        pointer: format!("/secrets/{name}"),
        message: "The service has no key to seal and open secrets with".to_owned(),
        remedy: format!(
            "Make one on its host with `backstitch key new FILE`, name it in `{KEY_FILE_VARIABLE}`, and start the \
             service again"
        ),
    }
}

/// The steps of one side, or what kept them from ending.
async fn one_side(
    side: &str,
    check: impl Future<Output = Vec<Tried>>,
    stop: &CancellationToken,
) -> Vec<CheckStep> {
    let tried = select! {
        () = stop.cancelled() => Err("The check was stopped"),
        tried = timeout(SIDE_DEADLINE, check) => tried.map_err(|_| "The check took too long"),
    };
    match tried {
        Ok(tried) => tried.into_iter().map(|step| shown(side, step)).collect(),
        Err(why) => {
            vec![failed(side, "Connection", why.to_owned(), "Try again".to_owned())]
        }
    }
}

fn shown(side: &str, step: Tried) -> CheckStep {
    let name = step.name.to_string();
    match step.result {
        Ok(found) => {
            CheckStep { side: side.to_owned(), name, is_ok: true, message: found, remedy: None }
        }
        Err(failure) => failed(side, &name, failure.message, failure.remedy),
    }
}

fn failed(side: &str, name: &str, message: String, remedy: String) -> CheckStep {
    CheckStep {
        side: side.to_owned(),
        name: name.to_owned(),
        is_ok: false,
        message,
        remedy: Some(remedy),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_check_that_takes_too_long_says_so_itself() {
        let stop = CancellationToken::new();
        let hangs = pending::<Vec<Tried>>();
        let steps = timeout(CHECK_DEADLINE, one_side("source", hangs, &stop)).await;
        let messages: Vec<String> = steps.into_iter().flatten().map(|step| step.message).collect();
        assert_eq!(messages, ["The check took too long"]);
    }
}
