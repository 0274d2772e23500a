//! The API's functions over a living account: login, logout and the reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::account::contact::ContactView;
use crate::account::custom_field::{CustomField, FieldChange, UnknownField};
use crate::account::mutation::{Mutation, MutationReport};
use crate::account::{Account, Table};
use crate::behaviour::{BehaviourError, Behaviours};
use crate::chance::{Chance, Subject};
use crate::clock::Clock;
use crate::config::{SimConfig, TokenGrant};
use crate::fault::Fault;
use crate::filter::DateRules;
use crate::instant::UtcInstant;
use crate::reads::Reading;
use crate::request::{ActivityQuery, ContactQuery, Envelope, Request};
use crate::schema::Operation;
use crate::session::{Cursor, Sessions};
use crate::settings::{Ending, Failure, Settings, WithoutCursor};
use crate::statistics::{Statistics, Stats};
use crate::xml;

/// A simulated account with its clock, sessions and behaviours.
#[derive(Debug)]
pub(crate) struct Service {
    seed: u64,
    tokens: Vec<TokenGrant>,
    account: RwLock<Account>,
    clock: Clock,
    sessions: Mutex<Sessions>,
    pub(crate) behaviours: Behaviours,
    pub(crate) statistics: Statistics,
    /// How many calls have been weighed for a random failure.
    weighed: AtomicU64,
    /// How many pages have been asked for.
    readings: AtomicU64,
}

impl Service {
    pub(crate) fn new(config: &SimConfig) -> Result<Self, BehaviourError> {
        let changes = config.behaviours.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(Self {
            seed: config.seed,
            tokens: config.tokens.clone(),
            behaviours: Behaviours::new(changes)?,
            account: RwLock::new(Account::generate(config)),
            clock: Clock::new(config.now, config.clock),
            sessions: Mutex::new(Sessions::new(config.seed)),
            statistics: Statistics::default(),
            weighed: AtomicU64::new(0),
            readings: AtomicU64::new(0),
        })
    }

    pub(crate) fn now(&self) -> UtcInstant {
        self.clock.now()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { sessions: self.sessions().opened(), ..self.statistics.snapshot() }
    }

    /// A copy of the account as it is; small, since rows are made when they are written.
    pub(crate) fn account_copy(&self) -> Account {
        self.account().clone()
    }

    pub(crate) fn mutate(&self, mutation: &Mutation) -> MutationReport {
        self.clock.advance_seconds(mutation.advance_seconds);
        self.account_mut().mutate(mutation, self.now())
    }

    pub(crate) fn custom_fields(&self) -> Vec<CustomField> {
        self.account().custom_fields()
    }

    pub(crate) fn change_fields(
        &self,
        changes: &[FieldChange],
    ) -> Result<Vec<String>, UnknownField> {
        self.account_mut().change_fields(changes, self.now())
    }

    /// The failure that this call meets, ordered or by chance.
    pub(crate) fn weigh_failure(
        &self,
        operation: Operation,
        settings: &Settings,
    ) -> Option<Failure> {
        if let Some(failure) = self.behaviours.take_injection(operation) {
            return Some(failure);
        }
        if operation == Operation::Login
            && let Some(code) = settings.login_fault
        {
            return Some(Failure::Fault(code));
        }
        let number = self.weighed.fetch_add(1, Ordering::Relaxed);
        let mut chance = Chance::of(self.seed, Subject::Failure, number);
        settings
            .failure_rates
            .each()
            .into_iter()
            .find(|(_, rate)| chance.rate(*rate))
            .map(|(failure, _)| failure)
    }

    /// The fault that a failure amounts to; a session that a fault calls invalid is gone.
    pub(crate) fn failing(&self, code: u16, envelope: &Envelope<'_>) -> Fault {
        if let (103, Some(session)) = (code, envelope.session) {
            self.sessions().close(session);
        }
        let argument = match code {
            // As on the real server, these messages contain the token.
            102 | 111 => self.tokens.first().map_or("", |grant| grant.token.as_str()),
            106 | 110 => "pageNumber",
            114 => "5000",
            115 => "10",
            _ => "",
        };
        Fault::about(code, argument)
    }

    /// Answers a call with the body of its response.
    pub(crate) fn answer(
        &self,
        envelope: &Envelope<'_>,
        settings: &Settings,
    ) -> Result<Vec<u8>, Fault> {
        let now = self.now();
        let operation = envelope.operation;
        let session = envelope.session.unwrap_or_default();
        if operation.needs_session() {
            let permissions = self.sessions().use_once(envelope.session, now, settings)?;
            if operation.is_read() && !permissions.can_read() {
                return Err(Fault::new(104));
            }
        }
        let mut objects = Vec::new();
        match envelope.request(&DateRules::new(settings))? {
            Request::Login { token } => {
                let id = self.login(token, now)?;
                objects = format!("<return>{id}</return>").into_bytes();
            }
            Request::Logout => {
                self.sessions().close(session);
                objects.extend_from_slice(b"<return/>");
            }
            Request::Contacts(query) => self.read_contacts(query, settings, now, &mut objects)?,
            Request::Activities(query) => {
                self.read_activities(operation, session, &query, settings, now, &mut objects)?;
            }
            Request::Lists(query) => {
                let account = self.account();
                let reading = self.reading(&account, settings, now);
                let page = reading.lists(&query)?;
                self.render(reading, Table::List, &page, &mut objects);
                drop(account);
                if settings.remove_lists_between_pages > 0 && !page.is_empty() {
                    self.account_mut().remove_lists(settings.remove_lists_between_pages);
                }
            }
            Request::Unsubscribes(query) => {
                let account = self.account();
                let reading = self.reading(&account, settings, now);
                let page = reading.unsubscribes(&query);
                self.render(reading, Table::Unsubscribe, &page, &mut objects);
            }
            Request::Fields(query) => {
                let account = self.account();
                let reading = self.reading(&account, settings, now);
                let page = reading.fields(&query)?;
                reading.render_fields(&page, &mut objects);
            }
        }
        Ok(xml::envelope(operation.name(), &objects))
    }

    fn login(&self, token: String, now: UtcInstant) -> Result<String, Fault> {
        match self.tokens.iter().find(|grant| grant.token == token) {
            Some(grant) => Ok(self.sessions().open(grant.permissions, now)),
            None => Err(Fault::about(102, token)),
        }
    }

    fn read_contacts(
        &self,
        mut query: ContactQuery,
        settings: &Settings,
        now: UtcInstant,
        objects: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let account = self.account();
        let reading = self.reading(&account, settings, now);
        query.view.fields = reading.fields_with(&query.fields)?;
        let (page, matched) = reading.contacts(&query);
        reading.render(Table::Contact, &page, &query.view, objects);
        drop(account);
        self.statistics.rows(Table::Contact.name(), page.len());
        if !matched.is_empty() {
            self.account_mut().touch_some(&matched, settings.mutate_between_pages, now);
        }
        Ok(())
    }

    fn read_activities(
        &self,
        operation: Operation,
        session: &str,
        query: &ActivityQuery,
        settings: &Settings,
        now: UtcInstant,
        objects: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let inbound = operation == Operation::ReadRecentInboundActivities;
        let account = self.account();
        let reading = self.reading(&account, settings, now);
        if !query.continues {
            let _checked = reading.activity_page_size(query.size, 0)?;
            let cursor = Cursor::new(reading.activities(inbound, query)?);
            self.sessions().open_cursor(session, operation, settings.cursor_scope, cursor);
        }
        let page = {
            let mut sessions = self.sessions();
            let Some(cursor) = sessions.cursor(session, operation) else {
                return without_cursor(settings);
            };
            let size = reading.activity_page_size(query.size, cursor.pages())?;
            cursor.next_page(size)
        };
        if page.is_empty() {
            let ending = if query.continues { settings.cursor_end } else { settings.empty_window };
            return match ending {
                Ending::Fault => Err(Fault::new(116)),
                Ending::Empty => Ok(()),
            };
        }
        let table = if inbound { Table::InboundActivity } else { Table::OutboundActivity };
        self.render(reading, table, &page, objects);
        Ok(())
    }

    fn render(&self, reading: Reading<'_>, table: Table, page: &[u32], objects: &mut Vec<u8>) {
        reading.render(table, page, &ContactView::default(), objects);
        self.statistics.rows(table.name(), page.len());
    }

    fn reading<'a>(
        &self,
        account: &'a Account,
        settings: &'a Settings,
        now: UtcInstant,
    ) -> Reading<'a> {
        let reading = self.readings.fetch_add(1, Ordering::Relaxed);
        Reading { account, settings, seed: self.seed, reading, now }
    }

    // A panic while a lock is held would leave the account half changed only inside one mutation; the
    // simulation then goes on with what there is, as its tests fail anyway.

    fn account(&self) -> RwLockReadGuard<'_, Account> {
        self.account.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn account_mut(&self) -> RwLockWriteGuard<'_, Account> {
        self.account.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without_cursor(settings: &Settings) -> Result<(), Fault> {
    match settings.next_without_cursor {
        WithoutCursor::Empty => Ok(()),
        WithoutCursor::EndOfSet => Err(Fault::new(116)),
        WithoutCursor::ReadError => Err(Fault::new(113)),
        WithoutCursor::InvalidRequest => Err(Fault::new(107)),
    }
}
