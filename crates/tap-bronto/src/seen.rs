//! What this run has emitted of the open window, so that reading a page again emits only what is new, and the numbers
//! of activities that are alike.
//!
//! Costs some 50 bytes per row of the window, and of what lies behind it in a query that was given up; rows are
//! forgotten when the window that holds them is complete.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use crate::{
    activity_id::{Digest16, IdScheme, lossless_id},
    page::{PageRows, RowMark},
};

/// The rows of the open window.
#[derive(Debug, Default)]
pub(crate) struct SeenRows {
    rows: HashMap<Digest16, Seen>,
    rejects: HashSet<u64>,
    /// How many activities of an identity have come, where it is more than one.
    alike: HashMap<Digest16, u32>,
}

#[derive(Debug)]
struct Seen {
    content: u64,
    /// The page on which it was seen last; 0 if that was in a query that was given up.
    page: u32,
    second: i64,
}

/// What a page's rows turned out to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Whether to emit each row.
    pub(crate) fresh: Vec<bool>,
    /// The activities' ids, one per row.
    pub(crate) ids: Vec<Digest16>,
    /// Rows of numbered pages that no page of the window had shown before, in any version.
    pub(crate) unseen: u64,
    /// Rows and rejects that were emitted before.
    pub(crate) repeated: u64,
    /// Whether a row stands on a later page than before, against A6.
    pub(crate) moved_back: bool,
}

impl SeenRows {
    /// The window is complete.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The rows before this second lie in windows that are complete. The others may come again, on any page.
    pub(crate) fn forget_before(&mut self, second: i64) {
        self.rows.retain(|_, seen| seen.second >= second);
        self.abandon();
    }

    /// The query is given up, and its rows may come again on any page.
    pub(crate) fn abandon(&mut self) {
        self.rows.values_mut().for_each(|seen| seen.page = 0);
        self.alike.clear();
    }

    /// Settles rows that are told apart by their marks alone, found on page `page`.
    pub(crate) fn settle_rows(&mut self, rows: &mut PageRows, page: u32) -> Settled {
        let mut settled = Settled::default();
        for &RowMark { key, content, second } in &rows.marks {
            let fresh = match self.rows.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(Seen { content, page, second });
                    settled.unseen += 1;
                    true
                }
                Entry::Occupied(mut entry) => {
                    let seen = entry.get_mut();
                    settled.moved_back |= seen.page != 0 && page > seen.page;
                    seen.page = page;
                    std::mem::replace(&mut seen.content, content) != content
                }
            };
            settled.note(fresh);
        }
        self.settle_rejects(rows, &mut settled);
        settled
    }

    /// Settles activities: gives each its id.
    pub(crate) fn settle_activities(&mut self, rows: &mut PageRows, scheme: IdScheme) -> Settled {
        let mut settled = Settled::default();
        settled.ids.reserve(rows.marks.len());
        for &RowMark { key, content, second } in &rows.marks {
            let id = match scheme {
                IdScheme::Lossless => self.number(&key),
                IdScheme::Compatible => key,
            };
            let fresh = match self.rows.entry(id) {
                Entry::Vacant(entry) => {
                    entry.insert(Seen { content, page: 1, second });
                    true
                }
                Entry::Occupied(mut entry) => {
                    let seen = entry.get_mut();
                    seen.page = 1;
                    std::mem::replace(&mut seen.content, content) != content
                }
            };
            settled.ids.push(id);
            settled.note(fresh);
        }
        self.settle_rejects(rows, &mut settled);
        settled
    }

    /// The id of the next activity of this identity in the query.
    fn number(&mut self, identity: &Digest16) -> Digest16 {
        let first = lossless_id(identity, 1);
        if self.rows.get(&first).is_none_or(|seen| seen.page == 0) {
            return first;
        }
        let number = self.alike.entry(*identity).or_insert(1);
        *number += 1;
        lossless_id(identity, *number)
    }

    /// Drops the rejects that were emitted before.
    fn settle_rejects(&mut self, rows: &mut PageRows, settled: &mut Settled) {
        let before = rows.rejects.len();
        rows.rejects.retain(|reject| self.rejects.insert(reject.content));
        settled.repeated += (before - rows.rejects.len()) as u64;
    }
}

impl Settled {
    /// Everything is new: for rows that never come twice.
    pub(crate) fn all_fresh(count: usize) -> Self {
        Self { fresh: vec![true; count], ..Self::default() }
    }

    fn note(&mut self, fresh: bool) {
        self.fresh.push(fresh);
        self.repeated += u64::from(!fresh);
    }
}

#[cfg(test)]
mod tests {
    use replication::reject::ReasonCode;

    use super::*;
    use crate::page::{PageCounts, PageReject};

    fn page(marks: &[(u8, u64)], rejects: &[u64]) -> PageRows {
        PageRows {
            counts: PageCounts::default(),
            arrays: Vec::new(),
            marks: marks
                .iter()
                .map(|&(key, content)| RowMark { key: [key; 16], content, second: i64::from(key) })
                .collect(),
            rejects: rejects
                .iter()
                .map(|&content| PageReject {
                    code: ReasonCode::Undecodable,
                    reason: String::new(),
                    raw: String::new(),
                    content,
                })
                .collect(),
        }
    }

    #[test]
    fn a_row_read_again_is_repeated_unless_it_changed() {
        let mut seen = SeenRows::default();
        assert_eq!(seen.settle_rows(&mut page(&[(1, 1), (2, 1)], &[7]), 2).fresh, [true, true]);
        let mut again = page(&[(2, 1), (1, 9), (3, 1)], &[7, 8]);
        let settled = seen.settle_rows(&mut again, 1);
        assert_eq!(settled.fresh, [false, true, true]);
        assert_eq!((settled.repeated, again.rejects.len(), settled.moved_back), (2, 1, false));
        assert_eq!(settled.unseen, 1);
    }

    #[test]
    fn a_row_on_a_later_page_is_noticed() {
        let mut seen = SeenRows::default();
        seen.settle_rows(&mut page(&[(1, 1)], &[]), 2);
        assert!(seen.settle_rows(&mut page(&[(1, 1)], &[]), 3).moved_back);
        seen.abandon();
        assert!(!seen.settle_rows(&mut page(&[(1, 1)], &[]), 9).moved_back);
    }

    #[test]
    fn rows_of_complete_windows_are_forgotten_and_others_are_not() {
        let mut seen = SeenRows::default();
        seen.settle_rows(&mut page(&[(1, 1), (2, 1), (3, 1)], &[]), 1);
        seen.forget_before(2);
        assert_eq!(seen.rows.len(), 2);
        let settled = seen.settle_rows(&mut page(&[(2, 1), (3, 1), (4, 1)], &[]), 7);
        assert_eq!((settled.fresh, settled.moved_back), (vec![false, false, true], false));
    }

    #[test]
    fn activities_alike_are_numbered_and_a_new_attempt_counts_anew() {
        let mut seen = SeenRows::default();
        let settle = |seen: &mut SeenRows, marks: &[(u8, u64)]| {
            seen.settle_activities(&mut page(marks, &[]), IdScheme::Lossless)
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
        let settled =
            seen.settle_activities(&mut page(&[(1, 1), (1, 2), (1, 2)], &[]), IdScheme::Compatible);
        assert_eq!(settled.ids, [[1; 16]; 3]);
        assert_eq!(settled.fresh, [true, true, false]);
    }
}
