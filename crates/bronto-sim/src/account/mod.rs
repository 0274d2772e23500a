//! The simulated account: what it holds, how it begins and how it changes.
//!
//! Only what can change or must be sorted is kept in memory (24 to 32 bytes a row); names, addresses,
//! counters and texts follow from the seed whenever a row is written.

pub(crate) mod activity;
pub(crate) mod contact;
pub(crate) mod custom_field;
pub(crate) mod delivery;
pub(crate) mod ids;
pub(crate) mod lexeme;
pub(crate) mod list;
pub(crate) mod mutation;
pub(crate) mod timeline;
pub(crate) mod unsubscribe;
pub(crate) mod words;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::account::activity::ActivityRecord;
use crate::account::contact::{Contact, ContactRecord, ContactView};
use crate::account::custom_field::{CustomField, FieldChange, FieldRecord, UnknownField};
use crate::account::delivery::Delivery;
use crate::account::list::ListRecord;
use crate::account::timeline::Timeline;
use crate::account::unsubscribe::UnsubscribeRecord;
use crate::chance::{Chance, Subject, mix};
use crate::config::SimConfig;
use crate::instant::UtcInstant;
use crate::row::{Row, Sink};
use crate::settings::{Settings, Visibility};
use crate::truth::TruthSink;

/// Nanoseconds of a day.
pub(crate) const DAY_NANOS: i64 = 86_400_000_000_000;

/// How far back activities can be read, in days.
pub(crate) const READABLE_DAYS: i64 = 30;

/// A table of the replicated account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Contacts.
    Contact,
    /// Lists.
    List,
    /// Unsubscribes.
    Unsubscribe,
    /// What contacts did.
    InboundActivity,
    /// What was sent to them.
    OutboundActivity,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 5] = [
        Self::Contact,
        Self::List,
        Self::Unsubscribe,
        Self::InboundActivity,
        Self::OutboundActivity,
    ];

    /// The table's name, such as `inbound_activity`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::List => "list",
            Self::Unsubscribe => "unsubscribe",
            Self::InboundActivity => "inbound_activity",
            Self::OutboundActivity => "outbound_activity",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// There is no table of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("There is no table `{0}`")]
pub struct UnknownTable(String);

impl FromStr for Table {
    type Err = UnknownTable;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|table| table.name() == name)
            .ok_or_else(|| UnknownTable(name.to_owned()))
    }
}

/// What rows refer to while they are made.
pub(crate) struct Population<'a> {
    pub(crate) seed: u64,
    pub(crate) now: UtcInstant,
    pub(crate) days: u32,
    pub(crate) contacts: u32,
    /// How many of the deliveries lie in the readable window; they come first.
    pub(crate) recent: u32,
    pub(crate) deliveries: &'a [Delivery],
}

impl Population<'_> {
    pub(crate) fn any_contact(&self, chance: &mut Chance) -> Option<u32> {
        let number = chance.below(self.contacts);
        (self.contacts > 0).then_some(number)
    }

    pub(crate) fn any_delivery(&self, chance: &mut Chance) -> Option<&Delivery> {
        let count = u32::try_from(self.deliveries.len()).expect("few deliveries");
        self.deliveries.get(chance.below(count) as usize)
    }

    pub(crate) fn recent_delivery(&self, number: u32) -> &Delivery {
        &self.deliveries[number as usize]
    }

    pub(crate) fn span_nanos(&self) -> i64 {
        i64::from(self.days.max(1)) * DAY_NANOS
    }

    /// Where activities begin and end: well inside the readable days, so that a clock that runs on, or a
    /// reader that keeps away from the edge, loses none.
    pub(crate) fn activity_window(&self) -> (UtcInstant, UtcInstant) {
        activity_window(self.now, self.days)
    }
}

fn activity_window(now: UtcInstant, days: u32) -> (UtcInstant, UtcInstant) {
    let span = i64::from(days.max(1)).min(READABLE_DAYS) * DAY_NANOS;
    (now.plus_nanos(-(span - span / 20)), now.plus_seconds(-3_600))
}

/// Drops the fraction in `percent` of 100 cases.
pub(crate) fn sometimes_whole(
    chance: &mut Chance,
    percent: u32,
    instant: UtcInstant,
) -> UtcInstant {
    if chance.percent(percent) { instant.whole_second() } else { instant }
}

/// Everything the account holds.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    seed: u64,
    days: u32,
    /// How many contacts the account began with: what activities refer to.
    first_contacts: u32,
    first_lists: u32,
    recent_deliveries: u32,
    contacts: Timeline<ContactRecord>,
    lists: Vec<ListRecord>,
    fields: Vec<FieldRecord>,
    unsubscribes: Timeline<UnsubscribeRecord>,
    inbound: Timeline<ActivityRecord>,
    outbound: Timeline<ActivityRecord>,
    deliveries: Vec<Delivery>,
    /// How many changes there have been; makes the chances of each its own.
    mutations: u64,
}

impl Account {
    /// The account that follows from a configuration.
    pub(crate) fn generate(config: &SimConfig) -> Self {
        let (seed, days) = (config.seed, config.days);
        let now = UtcInstant::from(config.now);
        let (recent, deliveries) = generate_deliveries(config, now);
        let population = Population {
            seed,
            now,
            days,
            contacts: config.contacts,
            recent,
            deliveries: &deliveries,
        };
        let outbound = ActivityRecord::generate_outbound(&population, config.outbound);
        let inbound = ActivityRecord::generate_inbound(&population, config.inbound, &outbound);
        let unsubscribes = UnsubscribeRecord::generate_all(&population, config.unsubscribes);
        let contacts = (0..config.contacts)
            .map(|number| ContactRecord::generate(seed, number, now, days))
            .collect();
        Self {
            seed,
            days,
            first_contacts: config.contacts,
            first_lists: config.lists,
            recent_deliveries: recent,
            contacts: Timeline::new(contacts),
            lists: vec![ListRecord::default(); config.lists as usize],
            fields: FieldRecord::generate(config.fields),
            unsubscribes: Timeline::new(unsubscribes),
            inbound: Timeline::new(inbound),
            outbound: Timeline::new(outbound),
            deliveries,
            mutations: 0,
        }
    }

    pub(crate) fn contacts(&self) -> &Timeline<ContactRecord> {
        &self.contacts
    }

    pub(crate) fn contact(&self, number: u32) -> Contact<'_> {
        Contact {
            seed: self.seed,
            number,
            record: self.contacts.get(number),
            lists: self.first_lists,
            fields: &self.fields,
        }
    }

    /// Numbers of the lists that exist.
    pub(crate) fn list_numbers(&self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.lists).filter(|(_, record)| !record.removed).map(|(number, _)| number)
    }

    pub(crate) fn list_name(&self, number: u32) -> String {
        let revision = self.lists.get(number as usize).map_or(0, |record| record.revision);
        list::name(number, revision)
    }

    /// Numbers of the custom fields that exist.
    pub(crate) fn field_numbers(&self) -> impl Iterator<Item = u32> {
        custom_field::existing(&self.fields)
    }

    pub(crate) fn field(&self, number: u32) -> &FieldRecord {
        &self.fields[number as usize]
    }

    /// The custom fields that exist, as those who look from outside name them.
    pub(crate) fn custom_fields(&self) -> Vec<CustomField> {
        let describe = |number: u32| {
            let field = self.field(number);
            let id = custom_field::id(number).as_str().to_owned();
            CustomField { id, name: field.name.clone(), kind: field.kind().to_owned() }
        };
        self.field_numbers().map(describe).collect()
    }

    /// Makes changes of custom fields, all or none; answers the fields' ids.
    pub(crate) fn change_fields(
        &mut self,
        changes: &[FieldChange],
        now: UtcInstant,
    ) -> Result<Vec<String>, UnknownField> {
        let mut fields = self.fields.clone();
        let changed = changes
            .iter()
            .map(|change| custom_field::change(&mut fields, change, now))
            .collect::<Result<Vec<u32>, _>>()?;
        self.fields = fields;
        let id = |number: u32| custom_field::id(number).as_str().to_owned();
        Ok(changed.into_iter().map(id).collect())
    }

    pub(crate) fn unsubscribes(&self) -> &Timeline<UnsubscribeRecord> {
        &self.unsubscribes
    }

    pub(crate) fn activities(&self, inbound: bool) -> &Timeline<ActivityRecord> {
        if inbound { &self.inbound } else { &self.outbound }
    }

    /// Whether a contact is returned under this behaviour.
    pub(crate) fn shows_contact(&self, number: u32, settings: &Settings) -> bool {
        settings.deleted_contacts == Visibility::Shown || !self.contacts.get(number).deleted
    }

    /// Whether an activity has arrived.
    pub(crate) fn has_arrived(
        &self,
        record: &ActivityRecord,
        settings: &Settings,
        now: UtcInstant,
    ) -> bool {
        if settings.late_arrivals == 0 {
            return true;
        }
        let mut chance = Chance::of(self.seed, Subject::Late, record.row_identity());
        if !chance.percent(10) {
            return true;
        }
        let delay = i64::from(1 + chance.below(settings.late_arrivals));
        record.created.plus_seconds(delay) <= now
    }

    /// Writes one row's fields.
    pub(crate) fn write_row<S: Sink>(
        &self,
        table: Table,
        number: u32,
        view: &ContactView,
        settings: &Settings,
        sink: &mut S,
    ) {
        let identity = match table {
            Table::Contact | Table::List => u64::from(number),
            Table::Unsubscribe => self.unsubscribes.get(number).row_identity(),
            Table::InboundActivity => self.inbound.get(number).row_identity(),
            Table::OutboundActivity => self.outbound.get(number).row_identity(),
        };
        let identity = mix(identity ^ (table as u64) << 56);
        let mut row = Row::new(sink, settings, self.seed, identity);
        match table {
            Table::Contact => self.contact(number).write(&mut row, view),
            Table::List => list::write(&mut row, self.seed, number, &self.lists[number as usize]),
            Table::Unsubscribe => self.unsubscribes.get(number).write(&mut row),
            Table::InboundActivity | Table::OutboundActivity => {
                let activities = self.activities(table == Table::InboundActivity);
                activities.get(number).write(&mut row, self.seed, &self.deliveries);
            }
        }
    }

    /// Numbers of the rows of a table that a reader could read now, by replication key.
    pub(crate) fn readable(&self, table: Table, settings: &Settings, now: UtcInstant) -> Vec<u32> {
        match table {
            Table::Contact => self
                .contacts
                .order()
                .iter()
                .copied()
                .filter(|number| self.shows_contact(*number, settings))
                .collect(),
            Table::List => self.list_numbers().collect(),
            Table::Unsubscribe => self.unsubscribes.order().to_vec(),
            Table::InboundActivity | Table::OutboundActivity => {
                let activities = self.activities(table == Table::InboundActivity);
                activities
                    .order()
                    .iter()
                    .copied()
                    .filter(|number| self.has_arrived(activities.get(*number), settings, now))
                    .collect()
            }
        }
    }

    /// Appends the truth of some rows as JSON lines.
    pub(crate) fn write_truth(
        &self,
        table: Table,
        numbers: &[u32],
        settings: &Settings,
        out: &mut Vec<u8>,
    ) {
        let view = ContactView::whole(self.field_numbers().collect());
        for number in numbers {
            let mut sink = TruthSink::new(out);
            self.write_row(table, *number, &view, settings, &mut sink);
            sink.finish();
        }
    }
}

/// The deliveries of the readable window, then older ones that unsubscribes refer to.
fn generate_deliveries(config: &SimConfig, now: UtcInstant) -> (u32, Vec<Delivery>) {
    let activities = config.inbound.saturating_add(config.outbound);
    let recent = (activities / 600).clamp(10, 400);
    let older = (config.days / 4).clamp(4, 200);
    let (from, to) = activity_window(now, config.days);
    let days = i64::from(config.days.max(1)) * DAY_NANOS;
    let deliveries = (0..recent + older)
        .map(|number| {
            let mut chance =
                Chance::of(config.seed, Subject::Delivery, u64::from(number) | 1 << 40);
            let start = if number < recent {
                from.plus_nanos(chance.share(to.since(from), 1))
            } else {
                to.plus_nanos(-chance.share(days - days / 20, 1))
            };
            let mut delivery = Delivery::generate(config.seed, number, start, config.lists);
            if number < recent && !delivery.is_burst() {
                // What sends one by one began before the first of its sends.
                delivery.start = from.plus_nanos(-chance.share(to.since(from) / 40, 1));
            }
            delivery
        })
        .collect();
    (recent, deliveries)
}
