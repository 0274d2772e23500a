//! What was emitted of the open window, so that reading it again emits only what is new, and the numbers of activities
//! that are alike.
//!
//! Costs some 50 bytes per activity of the window, and of what lies behind it in a query that was given up; they are
//! forgotten when the window that holds them is complete.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use foldhash::fast::RandomState;

use crate::{
    activity_id::{Digest16, IdScheme, lossless_id},
    fingerprint::fingerprint,
    page::{PageReject, PageRows, RowMark},
};

/// The activities of the open window.
#[derive(Debug, Default)]
pub(crate) struct SeenRows {
    rows: HashMap<Digest16, Seen, RandomState>,
    /// How many activities of an identity have come, where it is more than one.
    alike: HashMap<Digest16, u32>,
    /// How many queries were given up.
    abandoned: u32,
}

#[derive(Debug)]
struct Seen {
    content: u64,
    /// The query in which it was seen last.
    query: u32,
    second: i64,
}

/// What a page's rows turned out to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Whether to emit each row.
    pub(crate) fresh: Vec<bool>,
    /// The activities' ids, one per row.
    pub(crate) ids: Vec<Digest16>,
    /// What each reject turned out to be, where it could be read and has a date.
    pub(crate) rejects: Vec<Option<NumberedReject>>,
}

/// A rejected activity among those of its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NumberedReject {
    pub(crate) number: u32,
    pub(crate) is_news: bool,
}

impl SeenRows {
    /// The window is complete.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The rows before this second lie in windows that are complete. The others may come again.
    pub(crate) fn forget_before(&mut self, second: i64) {
        self.rows.retain(|_, seen| seen.second >= second);
        self.abandon();
    }

    /// The query is given up, and its rows may come again.
    pub(crate) fn abandon(&mut self) {
        self.abandoned += 1;
        self.alike.clear();
    }

    /// Settles activities: gives each its id.
    pub(crate) fn settle(&mut self, rows: &PageRows, scheme: IdScheme) -> Settled {
        let mut settled = Settled::default();
        settled.ids.reserve(rows.marks.len());
        settled.fresh.reserve(rows.marks.len());
        // Those that are rejected count, too: so the others have the ids that they will have when all can be read.
        let mut rejects = rows.rejects.iter().peekable();
        for (position, mark) in rows.marks.iter().enumerate() {
            while let Some(reject) = rejects.next_if(|reject| reject.position <= position) {
                settled.rejects.push(self.settle_reject(reject, scheme));
            }
            let id = match scheme {
                IdScheme::Lossless => self.numbered(mark).0,
                IdScheme::Compatible => mark.key,
            };
            settled.ids.push(id);
            settled.fresh.push(self.is_fresh(id, mark));
        }
        settled.rejects.extend(rejects.map(|reject| self.settle_reject(reject, scheme)));
        settled
    }

    fn settle_reject(&mut self, reject: &PageReject, scheme: IdScheme) -> Option<NumberedReject> {
        let mark = reject.mark.filter(|mark| mark.is_dated() && scheme == IdScheme::Lossless)?;
        let (id, number) = self.numbered(&mark);
        let is_news = self.is_fresh(id, &mark);
        Some(NumberedReject { number, is_news })
    }

    /// Whether a row has to be sent: it wasn't yet, or not with this content.
    fn is_fresh(&mut self, id: Digest16, mark: &RowMark) -> bool {
        let (content, query, second) = (mark.content, self.abandoned, mark.second);
        match self.rows.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(Seen { content, query, second });
                true
            }
            Entry::Occupied(mut entry) => {
                let seen = entry.get_mut();
                seen.query = query;
                std::mem::replace(&mut seen.content, content) != content
            }
        }
    }

    /// The id and the number of the next activity of this identity in the query.
    fn numbered(&mut self, mark: &RowMark) -> (Digest16, u32) {
        let first = lossless_id(&mark.key, 1);
        // Undated ones are not numbered: it would depend on the windows which of them come in one query.
        let is_first = self.rows.get(&first).is_none_or(|seen| seen.query != self.abandoned);
        if is_first || !mark.is_dated() {
            return (first, 1);
        }
        let number = self.alike.entry(mark.key).or_insert(1);
        *number += 1;
        (lossless_id(&mark.key, *number), *number)
    }
}

/// The rejects of the open window.
#[derive(Debug, Default)]
pub(crate) struct SeenRejects(HashSet<Digest16>);

impl SeenRejects {
    /// The window is complete.
    pub(crate) fn clear(&mut self) {
        self.0 = HashSet::new();
    }

    /// Whether a reject comes for the first time.
    pub(crate) fn is_news(&mut self, reject: &PageReject) -> bool {
        self.0.insert(fingerprint(reject.raw.as_bytes()).to_be_bytes())
    }
}

impl Settled {
    /// Rows that need no ids.
    pub(crate) fn without_ids(fresh: Vec<bool>) -> Self {
        Self { fresh, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use replication::reject::ReasonCode;

    use super::*;
    use crate::{page::PageCounts, rows::BuiltRows};

    fn page(marks: &[(u8, u64)]) -> PageRows {
        PageRows {
            counts: PageCounts::default(),
            built: BuiltRows::Columns(Vec::new()),
            marks: marks
                .iter()
                .map(|&(key, content)| RowMark { key: [key; 16], content, second: i64::from(key) })
                .collect(),
            rejects: Vec::new(),
        }
    }

    #[test]
    fn a_reject_is_news_once_per_window() {
        let reject = |raw: &str| PageReject {
            code: ReasonCode::Undecodable,
            reason: String::new(),
            raw: raw.to_owned(),
            position: 0,
            mark: None,
        };
        let mut seen = SeenRejects::default();
        assert!(seen.is_news(&reject("<a/>")) && seen.is_news(&reject("<b/>")));
        assert!(!seen.is_news(&reject("<a/>")));
        seen.clear();
        assert!(seen.is_news(&reject("<a/>")));
    }

    #[test]
    fn rows_of_complete_windows_are_forgotten_and_others_are_not() {
        let mut seen = SeenRows::default();
        seen.settle(&page(&[(1, 1), (2, 1), (3, 1)]), IdScheme::Lossless);
        seen.forget_before(2);
        assert_eq!(seen.rows.len(), 2);
        let settled = seen.settle(&page(&[(2, 1), (3, 1), (4, 1)]), IdScheme::Lossless);
        assert_eq!(settled.fresh, [false, false, true]);
    }

    #[test]
    fn rejected_activities_have_numbers_among_those_that_are_alike() {
        let rejected = |position, content| PageReject {
            code: ReasonCode::NumberRange,
            reason: String::new(),
            raw: String::new(),
            position,
            mark: Some(RowMark { key: [1; 16], content, second: 1 }),
        };
        let rows = || PageRows {
            rejects: vec![rejected(0, 1), rejected(1, 2), rejected(1, 2)],
            ..page(&[(1, 3)])
        };
        let mut seen = SeenRows::default();
        let numbers = |settled: &Settled| {
            let numbers = settled.rejects.iter().flatten();
            numbers.map(|reject| (reject.number, reject.is_news)).collect::<Vec<_>>()
        };
        let first = seen.settle(&rows(), IdScheme::Lossless);
        assert_eq!(first.ids, [lossless_id(&[1; 16], 2)]);
        assert_eq!(numbers(&first), [(1, true), (3, true), (4, true)]);
        seen.abandon();
        let again = seen.settle(&rows(), IdScheme::Lossless);
        assert_eq!((again.fresh, again.ids), (vec![false], first.ids.clone()));
        assert_eq!(numbers(&seen.settle(&page(&[]), IdScheme::Lossless)), []);
        assert_eq!(first.rejects.len(), again.rejects.len());
        assert!(again.rejects.iter().flatten().all(|reject| !reject.is_news));
    }

    #[test]
    fn undated_activities_that_are_alike_are_one_in_any_window() {
        let undated = || PageRows {
            marks: vec![RowMark { key: [9; 16], content: 1, second: i64::MAX }; 2],
            ..page(&[])
        };
        let mut seen = SeenRows::default();
        let settled = seen.settle(&undated(), IdScheme::Lossless);
        assert_eq!(settled.ids, [lossless_id(&[9; 16], 1); 2]);
        assert_eq!(settled.fresh, [true, false]);
    }

    #[test]
    fn activities_alike_are_numbered_and_a_new_attempt_counts_anew() {
        let mut seen = SeenRows::default();
        let settle = |seen: &mut SeenRows, marks: &[(u8, u64)]| {
            seen.settle(&page(marks), IdScheme::Lossless)
        };
        let first = settle(&mut seen, &[(1, 1), (1, 2), (2, 1)]);
        let more = settle(&mut seen, &[(1, 3)]);
        assert_eq!([1, 2].map(|n| lossless_id(&[1; 16], n)), first.ids[..2]);
        assert_eq!(more.ids, [lossless_id(&[1; 16], 3)]);
        // Alike rows in another order, after the cursor was lost: the set of ids is the same, and contents that
        // changed places are emitted again.
        seen.abandon();
        let again = settle(&mut seen, &[(1, 2), (2, 1), (1, 1), (1, 3)]);
        assert_eq!(again.ids, [first.ids[0], first.ids[2], first.ids[1], more.ids[0]]);
        assert_eq!(again.fresh, [true, false, true, false]);
    }

    #[test]
    fn compatible_ids_are_taken_as_they_are() {
        let mut seen = SeenRows::default();
        let settled = seen.settle(&page(&[(1, 1), (1, 2), (1, 2)]), IdScheme::Compatible);
        assert_eq!(settled.ids, [[1; 16]; 3]);
        assert_eq!(settled.fresh, [true, true, false]);
    }
}
