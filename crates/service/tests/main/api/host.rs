//! The program around the service, as far as these tests need one: settings with one address, to which one secret is sent.

use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use service::{
    host::{CheckStep, Draft, Host, Inspected, Secrets, SettingError},
    integration::{Integration, Origin},
    kept::{
        Bookmarks, PreviewedMove, Refused, Reject, RejectChoice, RejectPage, RejectReason,
        RejectStanding, RejectedAgain, ReplayPreview, RewindPreview, RewindWish, StreamState,
        TableReplay, Unreadable,
    },
    store::SealedSecret,
    task::{BookmarkMove, Task},
};
use tokio_util::sync::CancellationToken;

/// It takes `endpoint`, and `command` from a file alone; the secret `token` is sent to the endpoint.
#[derive(Default)]
pub(super) struct Workshop {
    /// The secrets with which connections were tried.
    pub(super) tried: Mutex<Vec<String>>,
}

fn refused(pointer: &str, message: &str) -> Vec<SettingError> {
    vec![SettingError {
        pointer: pointer.to_owned(),
        message: message.to_owned(),
        remedy: "Do it otherwise".to_owned(),
    }]
}

/// Whether there is a destination that can be read.
fn readable(draft: &Draft<'_>) -> Result<(), Unreadable> {
    match draft.settings.get("is_broken") {
        Some(_) => Err(Unreadable {
            message: "The destination is away".to_owned(),
            remedy: "Start it".to_owned(),
        }),
        None => Ok(()),
    }
}

fn reject(number: i64) -> Reject {
    Reject {
        id: format!("r{number}"),
        table: "contact".to_owned(),
        reason_code: "wrong_type".to_owned(),
        reason: "No number".to_owned(),
        sequence: number - 2,
        extracted_at: DateTime::UNIX_EPOCH,
        replayed_at: (number == 4).then_some(DateTime::UNIX_EPOCH),
        record: format!("<email>{number}@example.com</email>"),
    }
}

#[async_trait::async_trait]
impl Host for Workshop {
    fn inspect(&self, draft: &Draft<'_>) -> Result<Inspected, Vec<SettingError>> {
        let settings = draft.settings;
        if settings.contains_key("command") && draft.origin == Origin::Api {
            return Err(refused("/settings/command", "Commands are taken from the file alone"));
        }
        assert!(!settings.contains_key("defect"), "a defect");
        let Some(endpoint) = settings.get("endpoint").and_then(|endpoint| endpoint.as_str()) else {
            return Err(refused("/settings/endpoint", "`endpoint` is missing"));
        };
        if draft.origin == Origin::Api && !draft.secrets.contains_key("token") {
            return Err(refused("/secrets/token", "The token is missing"));
        }
        let schema_name = draft
            .schema_name
            .map_or_else(|| draft.name.to_lowercase().replace(' ', "_"), str::to_owned);
        let is_secret = draft.origin == Origin::Api;
        let secret_places = is_secret.then(|| ("token".to_owned(), endpoint.to_owned()));
        Ok(Inspected {
            schema_name,
            settings: settings.clone(),
            secret_places: secret_places.into_iter().collect(),
            tables: vec!["contact".to_owned()],
            warnings: Vec::new(),
        })
    }

    async fn check(&self, draft: &Draft<'_>, _: &CancellationToken) -> Vec<CheckStep> {
        let secrets: &Secrets = draft.secrets;
        let token = secrets.get("token").map_or("none", |token| token.expose_secret());
        self.tried.lock().unwrap().push(token.to_owned());
        let step = |side: &str, is_ok: bool, remedy: Option<&str>| CheckStep {
            side: side.to_owned(),
            name: "connect".to_owned(),
            is_ok,
            message: "It answered".to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let is_ok = draft.settings.get("is_broken").is_none();
        let remedy = (!is_ok).then_some("Start it");
        vec![step("source", true, None), step("destination", is_ok, remedy)]
    }

    fn admit(&self, draft: &Draft<'_>, task: &Task) -> Result<(), SettingError> {
        assert!(draft.secrets.contains_key("token"));
        let tables = match task {
            Task::Backfill { tables, .. } | Task::Audit { tables, .. } => tables.clone(),
            Task::Replay { table, .. } => table.iter().cloned().collect(),
            Task::Rewind { moves, .. } => moves.iter().map(|one| one.stream.clone()).collect(),
        };
        match tables.iter().find(|table| *table != "contact") {
            Some(_) => Err(refused("/tables", "There is no such table").remove(0)),
            None => Ok(()),
        }
    }

    async fn reject_reasons(
        &self,
        draft: &Draft<'_>,
        table: Option<&str>,
    ) -> Result<Vec<RejectReason>, Unreadable> {
        readable(draft)?;
        let all = (1..=3).map(reject);
        let chosen = all.filter(|reject| table.is_none_or(|table| reject.table == table));
        let (rows, at) = (chosen.count() as u64, DateTime::UNIX_EPOCH);
        Ok(vec![RejectReason {
            table: "contact".to_owned(),
            reason_code: "wrong_type".to_owned(),
            reason: "No number".to_owned(),
            rows,
            first_rejected_at: at,
            last_rejected_at: at,
        }])
    }

    async fn rejects(
        &self,
        draft: &Draft<'_>,
        choice: &RejectChoice,
    ) -> Result<RejectPage, Unreadable> {
        readable(draft)?;
        let is_wanted = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        // The fourth was replayed.
        let mut rejects: Vec<Reject> = (1..=4).map(reject).collect();
        let is_replayed = choice.standing.map(|standing| standing == RejectStanding::Replayed);
        rejects.retain(|reject| {
            is_replayed.is_none_or(|is_replayed| reject.replayed_at.is_some() == is_replayed)
                && is_wanted(&choice.table, &reject.table)
                && is_wanted(&choice.reason_code, &reject.reason_code)
                && is_wanted(&choice.id, &reject.id)
                && choice.after.as_ref().is_none_or(|(after, _)| reject.sequence > *after)
        });
        let limit = usize::try_from(choice.limit).unwrap();
        let has_more = rejects.len() > limit;
        rejects.truncate(limit);
        Ok(RejectPage { rejects, has_more })
    }

    async fn bookmarks(&self, draft: &Draft<'_>) -> Result<Bookmarks, Unreadable> {
        readable(draft)?;
        let streams = vec![StreamState {
            stream: "contact".to_owned(),
            bookmark: Some("2026-01-01T00:00:00Z".to_owned()),
            backfill: Vec::new(),
            state: None,
            updated_at: None,
        }];
        Ok(Bookmarks { streams, ..Bookmarks::default() })
    }

    async fn preview_replay(
        &self,
        draft: &Draft<'_>,
        choice: &RejectChoice,
    ) -> Result<ReplayPreview, Unreadable> {
        readable(draft)?;
        let found = if choice.reason_code.as_deref().unwrap_or("wrong_type") == "wrong_type" {
            3
        } else {
            0
        };
        let again = RejectedAgain {
            reason_code: "wrong_type".to_owned(),
            reason: "No number".to_owned(),
            rows: 1,
        };
        let table = TableReplay {
            table: "contact".to_owned(),
            found,
            readable: 2,
            rejected_again: vec![again],
            ..TableReplay::default()
        };
        let tables = if found > 0 { vec![table] } else { Vec::new() };
        Ok(ReplayPreview { tables, is_whole: true })
    }

    /// The bookmark is where `bookmark` of the settings has it.
    async fn preview_rewind(
        &self,
        draft: &Draft<'_>,
        wish: &RewindWish,
    ) -> Result<RewindPreview, Refused> {
        readable(draft)?;
        let from = draft.settings.get("bookmark").and_then(|bookmark| bookmark.as_str());
        let from: DateTime<Utc> = from.unwrap_or("2026-01-08T00:00:00Z").parse().unwrap();
        let back = wish.rewind.iter().map(|(stream, back)| {
            assert_eq!(back, "7d");
            (stream, Some(from - TimeDelta::days(7)))
        });
        let set = wish.set.iter().map(|(stream, to)| (stream, Some(*to)));
        let moves = set.chain(back).chain(wish.remove.iter().map(|stream| (stream, None)));
        let moves = moves.map(|(stream, to)| {
            if stream != "contact" {
                return Err(Refused::Setting(refused("", "There is no such bookmark").remove(0)));
            }
            let change = BookmarkMove { stream: stream.clone(), from, to };
            Ok(PreviewedMove { change, rows_again_at_most: 5, skips: false })
        });
        Ok(RewindPreview {
            moves: moves.collect::<Result<_, _>>()?,
            tap_state: wish.remove_tap_state.then(|| json!({ "page": 3 })),
            consequences: vec!["It moves".to_owned()],
        })
    }

    async fn reset_consequences(&self, _: &Integration, from: DateTime<Utc>) -> Vec<String> {
        vec![format!("Everything since {from} is read again")]
    }

    fn seal(
        &self,
        id: &str,
        name: &str,
        secret: &SecretString,
    ) -> Result<SealedSecret, SettingError> {
        let sealed = secret.expose_secret().bytes().map(|byte| byte ^ 0x55).collect();
        let key_id = format!("key of {id}");
        Ok(SealedSecret { name: name.to_owned(), key_id, sealed })
    }

    fn open(&self, id: &str, sealed: &SealedSecret) -> Result<SecretString, SettingError> {
        assert_eq!(sealed.key_id, format!("key of {id}"));
        let opened = sealed.sealed.iter().map(|byte| byte ^ 0x55).collect();
        Ok(String::from_utf8(opened).unwrap().into())
    }
}
