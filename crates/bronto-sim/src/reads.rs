//! What the read functions find, page by page.

use crate::account::activity::ActivityKind;
use crate::account::contact::ContactView;
use crate::account::custom_field::{self, FieldRecord};
use crate::account::ids::{IdKind, ObjectId};
use crate::account::{Account, DAY_NANOS, READABLE_DAYS, Table};
use crate::chance::{Chance, Subject};
use crate::fault::Fault;
use crate::instant::UtcInstant;
use crate::request::{ActivityQuery, ContactQuery, NamedQuery, UnsubscribeQuery};
use crate::row::Sink as _;
use crate::settings::{
    ActivitySizeFault, Bound, PAGE_LIMIT, PageMaximum, RowOrder, Settings, TooOldStart,
    UnknownField, UnsteadyPaging,
};
use crate::xml::XmlSink;

/// Smallest `pageSize` of lists and fields.
const LEAST_PAGE_SIZE: i64 = 10;
/// Smallest `size` of activities.
const LEAST_ACTIVITY_SIZE: i64 = 1_000;

/// One call's view of the account.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) account: &'a Account,
    pub(crate) settings: &'a Settings,
    pub(crate) seed: u64,
    /// The number of the call; only unsteady paging depends on it.
    pub(crate) reading: u64,
    pub(crate) now: UtcInstant,
}

impl Reading<'_> {
    /// One page of contacts, and (if contacts are to change between pages) all that the query matches.
    pub(crate) fn contacts(&self, query: &ContactQuery) -> (Vec<u32>, Vec<u32>) {
        let fraction = self.settings.returned_fraction;
        let mut filter = query.filter.clone();
        let (from, to) = filter.take_modified_range();
        let candidates = self.account.contacts().between(from, to, fraction);
        let keep = |number: u32| {
            self.account.shows_contact(number, self.settings)
                && filter.passes(&self.account.contact(number), fraction)
        };
        let shows_all = self.settings.deleted_contacts == crate::settings::Visibility::Shown;
        let keep: Option<&dyn Fn(u32) -> bool> =
            if shows_all && filter.is_empty() { None } else { Some(&keep) };
        let page = self.page(candidates, keep, query.page, PAGE_LIMIT);
        let matched = if self.settings.mutate_between_pages > 0 && !page.is_empty() {
            let passes = |number: &u32| keep.is_none_or(|keep| keep(*number));
            candidates.iter().copied().filter(passes).collect()
        } else {
            Vec::new()
        };
        (page, matched)
    }

    /// One page of lists.
    pub(crate) fn lists(&self, query: &NamedQuery) -> Result<Vec<u32>, Fault> {
        let size = page_size(query)?;
        let lists: Vec<u32> = self.account.list_numbers().collect();
        let keep = |number: u32| {
            let id = ObjectId::new(IdKind::List, number);
            query.filter.passes(id.as_str(), &self.account.list_name(number))
        };
        Ok(self.page(&lists, Some(&keep), query.page, size))
    }

    /// Numbers of the custom fields with these ids, in the account's own order.
    pub(crate) fn fields_with(&self, ids: &[String]) -> Result<Vec<u32>, Fault> {
        let number = |id: &String| {
            let number = ObjectId::number(IdKind::Field, id);
            number.filter(|number| self.account.field_numbers().any(|each| each == *number))
        };
        let mut fields = Vec::with_capacity(ids.len());
        for id in ids {
            match (number(id), self.settings.unknown_field) {
                (Some(number), _) => fields.push(number),
                (None, UnknownField::Ignore) => {}
                (None, UnknownField::Fault) => return Err(Fault::about(401, id.clone())),
            }
        }
        // Whatever order they were asked in, they come in the account's own.
        fields.sort_unstable();
        fields.dedup();
        Ok(fields)
    }

    /// One page of custom fields.
    pub(crate) fn fields(&self, query: &NamedQuery) -> Result<Vec<u32>, Fault> {
        let size = page_size(query)?;
        let fields: Vec<u32> = self.account.field_numbers().collect();
        let keep = |number: u32| {
            let id = custom_field::id(number);
            query.filter.passes(id.as_str(), &self.account.field(number).name)
        };
        Ok(self.page(&fields, Some(&keep), query.page, size))
    }

    /// One page of unsubscribes.
    pub(crate) fn unsubscribes(&self, query: &UnsubscribeQuery) -> Vec<u32> {
        let (from, to) = self.window(query.start.unwrap_or(UtcInstant::MIN), query.end);
        let unsubscribes = self.account.unsubscribes();
        let candidates = unsubscribes.between(from, to, self.settings.returned_fraction);
        let keep = |number: u32| {
            let record = unsubscribes.get(number);
            is_wanted(query.contact.as_deref(), IdKind::Contact, record.contact)
                && is_wanted(query.delivery.as_deref(), IdKind::Delivery, record.delivery)
        };
        let is_open = query.contact.is_none() && query.delivery.is_none();
        let keep: Option<&dyn Fn(u32) -> bool> = if is_open { None } else { Some(&keep) };
        self.page(candidates, keep, query.page, PAGE_LIMIT)
    }

    /// All activities that a query matches.
    pub(crate) fn activities(
        &self,
        inbound: bool,
        query: &ActivityQuery,
    ) -> Result<Vec<u32>, Fault> {
        let known =
            if inbound { ActivityKind::INBOUND_TYPES } else { ActivityKind::OUTBOUND_TYPES };
        if let Some(unknown) = query.types.iter().find(|kind| !known.contains(&kind.as_str())) {
            return Err(Fault::about(1202, unknown));
        }
        let earliest = self.now.plus_nanos(-READABLE_DAYS * DAY_NANOS);
        let start = query.start.unwrap_or(earliest);
        if start < earliest && self.settings.too_old_start == TooOldStart::Fault {
            return Err(Fault::new(1201));
        }
        let (from, to) = self.window(start.max(earliest), query.end);
        let activities = self.account.activities(inbound);
        let mut found: Vec<u32> = activities
            .between(from, to, self.settings.returned_fraction)
            .iter()
            .copied()
            .filter(|number| {
                let record = activities.get(*number);
                let kind = record.kind.name();
                (query.types.is_empty() || query.types.iter().any(|wanted| wanted == kind))
                    && is_wanted(query.contact.as_deref(), IdKind::Contact, record.contact)
                    && is_wanted(query.delivery.as_deref(), IdKind::Delivery, record.delivery)
                    && self.account.has_arrived(record, self.settings, self.now)
            })
            .collect();
        self.arrange(&mut found);
        Ok(found)
    }

    /// The size of the next page of an activity query.
    pub(crate) fn activity_page_size(&self, size: i64, pages: u32) -> Result<u32, Fault> {
        let most = i64::from(PAGE_LIMIT);
        if !(LEAST_ACTIVITY_SIZE..=most).contains(&size) {
            return Err(match self.settings.activity_size_fault {
                ActivitySizeFault::Own => Fault::about(1203, size.to_string()),
                ActivitySizeFault::Limits if size > most => Fault::about(114, most.to_string()),
                ActivitySizeFault::Limits => Fault::about(115, LEAST_ACTIVITY_SIZE.to_string()),
            });
        }
        let size = u32::try_from(size).expect("checked against the limits");
        Ok(self.page_limit(pages + 1).min(size))
    }

    /// Appends rows as the objects of a response.
    pub(crate) fn render(
        &self,
        table: Table,
        numbers: &[u32],
        view: &ContactView,
        out: &mut Vec<u8>,
    ) {
        out.reserve(numbers.len() * 1_024);
        let mut sink = XmlSink::new(out, self.settings);
        for number in numbers {
            sink.open("return");
            self.account.write_row(table, *number, view, self.settings, &mut sink);
            sink.close("return");
        }
    }

    /// Appends custom fields as the objects of a response.
    pub(crate) fn render_fields(&self, numbers: &[u32], out: &mut Vec<u8>) {
        let mut sink = XmlSink::new(out, self.settings);
        for number in numbers {
            let field = self.account.field(*number);
            sink.open("return");
            sink.text("id", custom_field::id(*number).as_str());
            sink.text("name", &field.name);
            sink.text("label", &field.label);
            sink.text("type", field.kind());
            sink.text("visibility", FieldRecord::visibility(*number));
            for (position, option) in field.options().iter().enumerate() {
                sink.open("options");
                sink.text("label", option);
                sink.text("value", option);
                sink.boolean("isDefault", position == 0);
                sink.close("options");
            }
            sink.close("return");
        }
    }

    fn window(&self, start: UtcInstant, end: Option<UtcInstant>) -> (UtcInstant, UtcInstant) {
        let from = match self.settings.window_start {
            Bound::Inclusive => start,
            Bound::Exclusive => start.plus_nanos(1),
        };
        let end = end.unwrap_or(UtcInstant::MAX);
        let to = match self.settings.window_end {
            Bound::Exclusive => end,
            Bound::Inclusive => end.plus_nanos(1),
        };
        (from, to)
    }

    fn page(
        &self,
        candidates: &[u32],
        keep: Option<&dyn Fn(u32) -> bool>,
        page: u32,
        size: u32,
    ) -> Vec<u32> {
        let (offset, size) = self.page_bounds(page, size, candidates.len());
        let kept = |numbers: &mut dyn Iterator<Item = u32>| -> Vec<u32> {
            match keep {
                Some(keep) => numbers.filter(|n| keep(*n)).skip(offset).take(size).collect(),
                None => numbers.skip(offset).take(size).collect(),
            }
        };
        match self.row_order() {
            RowOrder::Ascending => kept(&mut candidates.iter().copied()),
            RowOrder::Descending => kept(&mut candidates.iter().rev().copied()),
            RowOrder::Shuffled => {
                let mut shuffled = candidates.to_vec();
                self.arrange(&mut shuffled);
                kept(&mut shuffled.into_iter())
            }
        }
    }

    /// Where a page begins and how many rows it holds at most.
    fn page_bounds(&self, page: u32, size: u32, available: usize) -> (usize, usize) {
        match self.settings.page_maximum {
            PageMaximum::Fixed(most) => {
                let size = self.unsteady_size(size.min(most)) as usize;
                ((page as usize - 1).saturating_mul(size), size)
            }
            PageMaximum::Varying(_) => {
                let size_of = |page| self.page_limit(page).min(size) as usize;
                let mut offset = 0;
                for earlier in 1..page {
                    if offset >= available {
                        break;
                    }
                    offset += size_of(earlier);
                }
                (offset, size_of(page))
            }
        }
    }

    /// The size of all pages as this call cuts them.
    fn unsteady_size(&self, size: u32) -> u32 {
        if self.settings.unsteady_paging != UnsteadyPaging::Sizes {
            return size;
        }
        let less = Chance::of(self.seed, Subject::Page, self.unsteady() << 32).below(size);
        size - less / 2
    }

    /// The most rows of the page with this number.
    fn page_limit(&self, page: u32) -> u32 {
        match self.settings.page_maximum {
            PageMaximum::Fixed(most) => most,
            PageMaximum::Varying(most) => {
                let mut chance = Chance::of(self.seed, Subject::Page, u64::from(page));
                // Sizes of every magnitude, so that small accounts meet uneven pages too.
                let most = (most >> chance.below(9)).max(1);
                1 + chance.below(most)
            }
        }
    }

    fn arrange(&self, numbers: &mut [u32]) {
        match self.row_order() {
            RowOrder::Ascending => {}
            RowOrder::Descending => numbers.reverse(),
            RowOrder::Shuffled => numbers.sort_by_cached_key(|number| {
                Chance::of(self.seed, Subject::Order, u64::from(*number) | self.unsteady() << 32)
                    .bits()
            }),
        }
    }

    fn row_order(&self) -> RowOrder {
        match self.settings.unsteady_paging {
            UnsteadyPaging::Order => RowOrder::Shuffled,
            _ => self.settings.row_order,
        }
    }

    /// What makes the draws of each call its own, where paging is unsteady.
    fn unsteady(&self) -> u64 {
        match self.settings.unsteady_paging {
            UnsteadyPaging::None => 0,
            UnsteadyPaging::Order | UnsteadyPaging::Sizes => self.reading + 1,
        }
    }
}

fn is_wanted(wanted: Option<&str>, kind: IdKind, number: Option<u32>) -> bool {
    wanted.is_none_or(|wanted| number.is_some() && ObjectId::number(kind, wanted) == number)
}

fn page_size(query: &NamedQuery) -> Result<u32, Fault> {
    let most = i64::from(PAGE_LIMIT);
    match query.page_size {
        None => Ok(PAGE_LIMIT),
        Some(size) if size > most => Err(Fault::about(114, most.to_string())),
        Some(size) if size < LEAST_PAGE_SIZE => Err(Fault::about(115, LEAST_PAGE_SIZE.to_string())),
        Some(size) => Ok(u32::try_from(size).expect("checked against the limits")),
    }
}
