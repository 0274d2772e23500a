//! Changes to a living account.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::account::activity::ActivityRecord;
use crate::account::contact::ContactRecord;
use crate::account::ids::{IdKind, ObjectId};
use crate::account::list::ListRecord;
use crate::account::timeline::{Timed, Timeline};
use crate::account::unsubscribe::UnsubscribeRecord;
use crate::account::{Account, Population};
use crate::chance::{Chance, Subject};
use crate::instant::{UtcInstant, canonical};

/// How much of what should change, all at the clock's now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mutation {
    /// Contacts: about one in five is new, the others are changed.
    pub contacts: u32,
    /// New activities, half of them inbound.
    pub activities: u32,
    /// New unsubscribes.
    pub unsubscribes: u32,
    /// Lists: renamed, added and removed in turn.
    pub lists: u32,
    /// Contacts that are removed: no read returns them any more, marked as deleted or not.
    pub contacts_removed: u32,
    /// Unsubscribes that are removed.
    pub unsubscribes_removed: u32,
    /// Moves the clock first, by seconds; backwards if negative.
    pub advance_seconds: i64,
}

/// What a [`Mutation`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutationReport {
    /// The instant of the changes, canonical UTC.
    pub now: String,
    /// Ids of the contacts that changed.
    pub contacts_changed: Vec<String>,
    /// Ids of the contacts that were added.
    pub contacts_added: Vec<String>,
    /// Ids of the contacts that were removed.
    pub contacts_removed: Vec<String>,
    /// How many inbound activities were added.
    pub inbound_activities: u32,
    /// How many outbound activities were added.
    pub outbound_activities: u32,
    /// How many unsubscribes were added.
    pub unsubscribes: u32,
    /// How many unsubscribes were removed.
    pub unsubscribes_removed: u32,
    /// Ids of the lists that were renamed.
    pub lists_renamed: Vec<String>,
    /// Ids of the lists that were added.
    pub lists_added: Vec<String>,
    /// Ids of the lists that were removed.
    pub lists_removed: Vec<String>,
}

impl Account {
    /// Changes the account at `now`.
    pub(crate) fn mutate(&mut self, mutation: &Mutation, now: UtcInstant) -> MutationReport {
        self.mutations += 1;
        let mut chance = Chance::of(self.seed, Subject::Mutation, self.mutations);
        let mut report = MutationReport { now: canonical(now), ..MutationReport::default() };
        self.mutate_contacts(mutation.contacts, now, &mut chance, &mut report);
        self.add_activities(mutation.activities, now, &mut chance, &mut report);
        let population = self.population(now);
        let unsubscribes: Vec<_> = (0..mutation.unsubscribes)
            .map(|_| UnsubscribeRecord::happening(&population, &mut chance))
            .collect();
        self.unsubscribes.extend(unsubscribes);
        report.unsubscribes = mutation.unsubscribes;
        self.mutate_lists(mutation.lists, &mut report);
        let removed = remove_some(&mut self.contacts, mutation.contacts_removed, &mut chance);
        report.contacts_removed = removed.into_iter().map(contact_id).collect();
        let removed =
            remove_some(&mut self.unsubscribes, mutation.unsubscribes_removed, &mut chance);
        report.unsubscribes_removed = u32::try_from(removed.len()).expect("as many as asked for");
        report
    }

    /// Gives `count` of these contacts a new revision at `now`; answers how many there were.
    pub(crate) fn touch_some(&mut self, among: &[u32], count: u32, now: UtcInstant) -> u32 {
        self.mutations += 1;
        let mut chance = Chance::of(self.seed, Subject::Mutation, self.mutations);
        let limit = u32::try_from(among.len()).unwrap_or(u32::MAX);
        let touched: Vec<u32> =
            (0..count.min(limit)).map(|_| among[chance.below(limit) as usize]).collect();
        self.touch(&touched, now);
        count.min(limit)
    }

    /// Removes the first `count` of the lists.
    pub(crate) fn remove_lists(&mut self, count: u32) {
        let first: Vec<u32> = self.list_numbers().take(count as usize).collect();
        for number in first {
            self.lists[number as usize].removed = true;
        }
    }

    fn touch(&mut self, numbers: &[u32], now: UtcInstant) {
        self.contacts.change(numbers, |record| {
            record.modified = now;
            record.revision += 1;
        });
    }

    fn mutate_contacts(
        &mut self,
        count: u32,
        now: UtcInstant,
        chance: &mut Chance,
        report: &mut MutationReport,
    ) {
        let existing = self.contacts.len();
        let added = if existing == 0 { count } else { count / 5 };
        let wanted = (count - added).min(existing) as usize;
        let mut changed = BTreeSet::new();
        while changed.len() < wanted {
            changed.insert(chance.below(existing));
        }
        let changed: Vec<u32> =
            changed.into_iter().filter(|number| !self.contacts.is_gone(*number)).collect();
        self.touch(&changed, now);
        self.contacts.extend((0..added).map(|_| ContactRecord {
            created: now,
            modified: now,
            revision: 0,
            deleted: false,
        }));
        report.contacts_changed = changed.into_iter().map(contact_id).collect();
        report.contacts_added = (existing..existing + added).map(contact_id).collect();
    }

    fn add_activities(
        &mut self,
        count: u32,
        now: UtcInstant,
        chance: &mut Chance,
        report: &mut MutationReport,
    ) {
        let population = self.population(now);
        let sends = self.outbound.records();
        let mut happening = |inbound: bool, count: u32| -> Vec<ActivityRecord> {
            let first = self.activities(inbound).len();
            (first..first + count)
                .map(|number| {
                    ActivityRecord::happening(&population, inbound, number, sends, chance)
                })
                .collect()
        };
        let inbound = happening(true, count.div_ceil(2));
        let outbound = happening(false, count / 2);
        self.inbound.extend(inbound);
        self.outbound.extend(outbound);
        report.inbound_activities = count.div_ceil(2);
        report.outbound_activities = count / 2;
    }

    fn mutate_lists(&mut self, count: u32, report: &mut MutationReport) {
        let id = |number: u32| ObjectId::new(IdKind::List, number).as_str().to_owned();
        for turn in 0..count {
            let existing: Vec<u32> = self.list_numbers().collect();
            let position = (self.mutations + u64::from(turn)) as usize % existing.len().max(1);
            match (turn % 3, existing.get(position)) {
                (0, Some(number)) => {
                    self.lists[*number as usize].revision += 1;
                    report.lists_renamed.push(id(*number));
                }
                (2, Some(number)) => {
                    self.lists[*number as usize].removed = true;
                    report.lists_removed.push(id(*number));
                }
                _ => {
                    let number = u32::try_from(self.lists.len()).expect("few lists");
                    self.lists.push(ListRecord::default());
                    report.lists_added.push(id(number));
                }
            }
        }
    }

    fn population(&self, now: UtcInstant) -> Population<'_> {
        Population {
            seed: self.seed,
            now,
            days: self.days,
            contacts: self.first_contacts,
            recent: self.recent_deliveries,
            deliveries: &self.deliveries,
        }
    }
}

fn contact_id(number: u32) -> String {
    ObjectId::new(IdKind::Contact, number).as_str().to_owned()
}

/// Removes `count` of the records that there are, or all if they are fewer; returns their numbers.
fn remove_some<R: Timed>(timeline: &mut Timeline<R>, count: u32, chance: &mut Chance) -> Vec<u32> {
    let mut left = timeline.order().to_vec();
    let mut removed = Vec::new();
    for _ in 0..count {
        let rest = u32::try_from(left.len()).expect("an account counts its rows in 32 bits");
        if rest == 0 {
            break;
        }
        removed.push(left.swap_remove(chance.below(rest) as usize));
    }
    timeline.remove(&removed);
    removed
}
