//! Sessions and the cursors that live in them.

use std::collections::HashMap;

use crate::chance::{Chance, Subject};
use crate::config::Permissions;
use crate::fault::Fault;
use crate::instant::UtcInstant;
use crate::schema::Operation;
use crate::settings::{CursorScope, Settings, StaleCode};

/// More sessions than this are never kept; the one unused for longest goes first.
const SESSION_LIMIT: usize = 4_096;

/// An activity query that NEXT continues: the rows that FIRST found, and how far it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cursor {
    rows: Vec<u32>,
    position: usize,
    pages: u32,
}

impl Cursor {
    pub(crate) fn new(rows: Vec<u32>) -> Self {
        Self { rows, position: 0, pages: 0 }
    }

    /// How many pages were read.
    pub(crate) fn pages(&self) -> u32 {
        self.pages
    }

    /// The next rows, none after the last.
    pub(crate) fn next_page(&mut self, size: u32) -> Vec<u32> {
        let end = self.rows.len().min(self.position + size as usize);
        let page = self.rows[self.position..end].to_vec();
        self.position = end;
        self.pages += 1;
        page
    }
}

#[derive(Debug)]
struct Session {
    permissions: Permissions,
    last_used: UtcInstant,
    calls: u64,
    cursors: HashMap<Operation, Cursor>,
}

/// The sessions that are open.
#[derive(Debug)]
pub(crate) struct Sessions {
    seed: u64,
    opened: u64,
    open: HashMap<String, Session>,
}

impl Sessions {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, opened: 0, open: HashMap::new() }
    }

    /// How many sessions were ever opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// Opens a session; older ones stay as they are.
    pub(crate) fn open(&mut self, permissions: Permissions, now: UtcInstant) -> String {
        if self.open.len() >= SESSION_LIMIT {
            let oldest = self
                .open
                .iter()
                .min_by_key(|(_, session)| session.last_used)
                .map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                self.open.remove(&oldest);
            }
        }
        self.opened += 1;
        let mut chance = Chance::of(self.seed, Subject::Session, self.opened);
        let (high, low) = (chance.bits(), chance.bits());
        let id = format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        );
        let session = Session { permissions, last_used: now, calls: 0, cursors: HashMap::new() };
        self.open.insert(id.clone(), session);
        id
    }

    /// Uses a session for one call; the idle clock starts anew.
    ///
    /// # Errors
    ///
    /// The stale-session fault if there is no such session, it was idle too long, or it has served all
    /// the calls it may; it is gone then.
    pub(crate) fn use_once(
        &mut self,
        id: Option<&str>,
        now: UtcInstant,
        settings: &Settings,
    ) -> Result<Permissions, Fault> {
        let stale = || stale_fault(settings);
        let id = id.ok_or_else(stale)?;
        let session = self.open.get_mut(id).ok_or_else(stale)?;
        let idle_nanos = i64::from(settings.session_idle_seconds) * 1_000_000_000;
        let is_idle = now.since(session.last_used) > idle_nanos;
        let is_spent =
            settings.session_max_calls > 0 && session.calls >= settings.session_max_calls;
        if is_idle || is_spent {
            self.open.remove(id);
            return Err(stale());
        }
        session.calls += 1;
        session.last_used = now;
        Ok(session.permissions)
    }

    /// Ends a session, whether by logout or by failure.
    pub(crate) fn close(&mut self, id: &str) {
        self.open.remove(id);
    }

    /// Opens a query in a session, in place of the one that was open.
    pub(crate) fn open_cursor(
        &mut self,
        id: &str,
        operation: Operation,
        scope: CursorScope,
        cursor: Cursor,
    ) {
        if let Some(session) = self.open.get_mut(id) {
            if scope == CursorScope::Session {
                session.cursors.clear();
            }
            session.cursors.insert(operation, cursor);
        }
    }

    /// The query that is open for a function in a session.
    pub(crate) fn cursor(&mut self, id: &str, operation: Operation) -> Option<&mut Cursor> {
        self.open.get_mut(id)?.cursors.get_mut(&operation)
    }
}

/// The fault for a session that has died.
pub(crate) fn stale_fault(settings: &Settings) -> Fault {
    Fault::new(match settings.stale_session_code {
        StaleCode::InvalidSession => 103,
        StaleCode::InvalidRequest => 107,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { session_idle_seconds: 1_200, ..Settings::default() }
    }

    fn now() -> UtcInstant {
        crate::default_now().into()
    }

    #[test]
    fn ids_look_like_lower_case_uuids_and_differ() {
        let mut sessions = Sessions::new(1);
        let first = sessions.open(Permissions::READ, now());
        let second = sessions.open(Permissions::READ, now());
        assert_ne!(first, second);
        let groups: Vec<usize> = first.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert!(first.chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c)));
    }

    #[test]
    fn a_session_dies_of_idleness_and_each_use_restarts_the_clock() {
        let mut sessions = Sessions::new(1);
        let id = sessions.open(Permissions::READ, now());
        let mut later =
            |seconds| sessions.use_once(Some(&id), now().plus_seconds(seconds), &settings());
        assert!(later(1_200).is_ok());
        assert!(later(2_400).is_ok());
        assert_eq!(later(3_601).unwrap_err().code(), 103);
        assert_eq!(later(3_602).unwrap_err().code(), 103);
    }

    #[test]
    fn a_session_dies_after_its_calls_with_the_chosen_code() {
        let mut sessions = Sessions::new(1);
        let id = sessions.open(Permissions::READ, now());
        let settings = Settings {
            session_max_calls: 2,
            stale_session_code: StaleCode::InvalidRequest,
            ..settings()
        };
        let mut used = || sessions.use_once(Some(&id), now(), &settings);
        assert!(used().is_ok());
        assert!(used().is_ok());
        assert_eq!(used().unwrap_err().code(), 107);
    }

    #[test]
    fn cursors_belong_to_session_and_function() {
        let mut sessions = Sessions::new(1);
        let (first, second) =
            (sessions.open(Permissions::READ, now()), sessions.open(Permissions::READ, now()));
        let (inbound, outbound) =
            (Operation::ReadRecentInboundActivities, Operation::ReadRecentOutboundActivities);
        let cursor = || Cursor::new(vec![1, 2, 3]);
        sessions.open_cursor(&first, inbound, CursorScope::Function, cursor());
        assert!(sessions.cursor(&second, inbound).is_none());
        assert!(sessions.cursor(&first, outbound).is_none());
        assert_eq!(sessions.cursor(&first, inbound).unwrap().next_page(2), [1, 2]);
        sessions.open_cursor(&first, outbound, CursorScope::Function, cursor());
        assert_eq!(sessions.cursor(&first, inbound).unwrap().next_page(2), [3]);
        assert!(sessions.cursor(&first, inbound).unwrap().next_page(2).is_empty());
        sessions.open_cursor(&first, outbound, CursorScope::Session, cursor());
        assert!(sessions.cursor(&first, inbound).is_none());
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let mut sessions = Sessions::new(1);
        let first = sessions.open(Permissions::READ, now());
        for second in 1..=i64::try_from(SESSION_LIMIT).unwrap() {
            sessions.open(Permissions::READ, now().plus_seconds(second));
        }
        assert_eq!(sessions.open.len(), SESSION_LIMIT);
        assert!(sessions.use_once(Some(&first), now(), &settings()).is_err());
    }
}
