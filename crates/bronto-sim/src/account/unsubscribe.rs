//! Unsubscribes, some of which share contact, delivery and instant but differ in method or complaint.

use crate::account::Population;
use crate::account::ids::{IdKind, ObjectId};
use crate::account::timeline::Timed;
use crate::account::words;
use crate::chance::{Chance, Subject, mix};
use crate::instant::UtcInstant;
use crate::row::{Row, Sink};

/// An unsubscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnsubscribeRecord {
    pub(crate) created: UtcInstant,
    pub(crate) contact: Option<u32>,
    pub(crate) delivery: Option<u32>,
    method: u8,
    complaint: Option<u8>,
}

impl Timed for UnsubscribeRecord {
    fn instant(&self) -> UtcInstant {
        self.created
    }
}

impl UnsubscribeRecord {
    /// All unsubscribes with which an account begins.
    pub(crate) fn generate_all(population: &Population<'_>, count: u32) -> Vec<Self> {
        let mut records: Vec<Self> = Vec::with_capacity(count as usize);
        for number in 0..count {
            let mut chance = Chance::of(population.seed, Subject::Unsubscribe, u64::from(number));
            let record = match records.last() {
                // The same event, told twice and differently.
                Some(previous) if number == 3 || chance.percent(2) => {
                    let mut twin = previous.clone();
                    if number == 3 || chance.percent(60) {
                        twin.method = (twin.method + 1) % method_count();
                    } else {
                        twin.complaint = Some(other_complaint(twin.complaint));
                    }
                    twin
                }
                _ => Self::generate(population, &mut chance),
            };
            records.push(record);
        }
        records
    }

    fn generate(population: &Population<'_>, chance: &mut Chance) -> Self {
        let span = population.span_nanos();
        let by_delivery = chance.percent(60);
        let delivery = population.any_delivery(chance).filter(|_| by_delivery);
        let latest = population.now.plus_seconds(-1);
        let created = match delivery {
            Some(delivery) => {
                let delay = chance.share(3 * super::DAY_NANOS, 4);
                delivery.start.plus_nanos(delay).min(latest)
            }
            None => latest.plus_nanos(-chance.share(span - super::DAY_NANOS / 10, 2)),
        };
        Self {
            created: super::sometimes_whole(chance, 40, created),
            contact: population.any_contact(chance),
            delivery: delivery.map(|delivery| delivery.number),
            method: method(chance),
            complaint: complaint(chance),
        }
    }

    /// An unsubscribe that happens now.
    pub(crate) fn happening(population: &Population<'_>, chance: &mut Chance) -> Self {
        Self { created: population.now, ..Self::generate(population, chance) }
    }

    /// Writes the fields of an unsubscribe, in schema order.
    pub(crate) fn write<S: Sink>(&self, row: &mut Row<'_, S>) {
        if let Some(contact) = self.contact {
            row.key("contactId", ObjectId::new(IdKind::Contact, contact).as_str());
        }
        if let Some(delivery) = self.delivery {
            row.text("deliveryId", ObjectId::new(IdKind::Delivery, delivery).as_str());
        }
        row.text("method", words::UNSUBSCRIBE_METHODS[usize::from(self.method)]);
        if let Some(complaint) = self.complaint {
            row.free_text("complaint", words::COMPLAINTS[usize::from(complaint)]);
        }
        row.key_instant("created", self.created);
    }

    /// What makes the chances of this row its own.
    pub(crate) fn row_identity(&self) -> u64 {
        let who = u64::from(self.contact.unwrap_or(u32::MAX)) << 32
            | u64::from(self.delivery.unwrap_or(u32::MAX));
        let how = u64::from(self.method) << 8 | u64::from(self.complaint.unwrap_or(u8::MAX));
        mix(who) ^ mix(self.created.nanos().cast_unsigned()).wrapping_add(how)
    }
}

fn method_count() -> u8 {
    u8::try_from(words::UNSUBSCRIBE_METHODS.len()).expect("a short table")
}

fn complaint_count() -> u8 {
    u8::try_from(words::COMPLAINTS.len()).expect("a short table")
}

fn method(chance: &mut Chance) -> u8 {
    u8::try_from(chance.skewed(u32::from(method_count()))).expect("below a u8")
}

fn complaint(chance: &mut Chance) -> Option<u8> {
    let complaint = chance.below(u32::from(complaint_count()));
    chance.percent(25).then(|| u8::try_from(complaint).expect("below a u8"))
}

fn other_complaint(complaint: Option<u8>) -> u8 {
    complaint.map_or(0, |complaint| (complaint + 1) % complaint_count())
}
