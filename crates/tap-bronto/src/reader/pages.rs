//! Pages by number, read from the last one down.
//!
//! A contact that is modified leaves its window (its `modified` becomes the server's now), and all contacts behind it
//! move up by one. Going through the pages upwards, the contact at the edge of the next page is then missed. So the last
//! page is found first, and the pages are read from there **downwards**: an object can only move towards pages that are
//! still to be read. Those that leave are not lost either: they lie in a later window, or after the range, for the next
//! run.
//!
//! The page behind the expected last one is looked at first, page 2 for most windows: if it is empty and page 1 is all
//! there is, that makes two requests in all. Where it isn't, the end is found by doubling and halving. Where nothing is
//! expected, page 1 comes first, and an idle window takes one request. What is looked at is not sent, so that a window
//! with too many pages can be given back as if nobody had touched it.
//!
//! Assumption A6 is checked on the way: a page that was looked at must come again with as many objects (unless the end
//! has moved there), none of which had stood on an earlier page; and in the end the last page is read once more, which
//! must show nobody new. Whatever the number of pages, only the keys of the pages looked at and of those read last are
//! remembered, 16 bytes each: an object that was sent can come again only just below where it stood.

use std::collections::{BTreeMap, VecDeque};

use bronto_client::ReadRequest;
use chrono::TimeDelta;
use replication::source::{SourceError, SourceErrorKind};

use super::worker::{Figures, WindowEnd, Worker};
use crate::{
    activity_id::Digest16,
    failure::Halt,
    page::PageRows,
    seen::Settled,
    window::{CUT, Laid},
};

/// A window with more pages than this is given back to be cut.
const MOST_PAGES: u32 = 16;
/// The same where there is nobody to share the pieces with, and for a window that is short already: reading more pages
/// costs less than finding where the burst is.
const MOST_PAGES_ALONE: u32 = 32;
/// The same of a window that is the last, if it has more pages than were expected and there are workers without anything to
/// do.
const MOST_PAGES_OF_LAST: u32 = 4;
/// How long a window is that counts as short.
const SHORT: TimeDelta = TimeDelta::minutes(15);
/// How many empty pages may be asked for on the way down.
const NEAR: u32 = 3;
/// There are no more pages than this.
const LAST_PAGE: u32 = 1 << 20;
/// At least so many rows are remembered, of the pages read last.
const REMEMBERED: usize = 20_000;

/// So many keys share a word of a filter.
const FILTERED: usize = 4;

/// Whether objects can leave a window while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    /// They can, by being modified.
    Leaving,
    /// They never change.
    Still,
}

/// A page that was looked at, or read.
#[derive(Clone, Debug, Default)]
struct PageKeys {
    /// Objects that the server returned.
    read: u64,
    /// Of those, the ones that belong to the window.
    inside: u64,
    /// The keys of those, sorted; of rejects, too: whether all values fit isn't known of a page that is looked at.
    keys: Vec<Digest16>,
    /// Those of rejects alone.
    rejected: Vec<Digest16>,
    /// One bit for each key and many that are none: hardly any key that is looked for is here.
    filter: Vec<u64>,
}

impl PageKeys {
    fn of(rows: &PageRows) -> Self {
        let mut keys: Vec<_> = rows.marks.iter().map(|mark| mark.key).collect();
        let rejected = rows.rejects.iter().filter_map(|reject| Some(reject.mark?.key));
        let rejected: Vec<_> = rejected.filter(|key| !keys.contains(key)).collect();
        keys.extend_from_slice(&rejected);
        keys.sort_unstable_by_key(rank);
        let mut filter = vec![0; (keys.len() / FILTERED).next_power_of_two()];
        for key in &keys {
            let (word, bit) = spot(key, filter.len());
            filter[word] |= bit;
        }
        Self { keys, rejected, filter, ..Self::alone(rows) }
    }

    /// The same of a page that is compared with no other.
    fn alone(rows: &PageRows) -> Self {
        let counts = rows.counts;
        let inside = counts.read - counts.out_of_window;
        Self { read: counts.read, inside, ..Self::default() }
    }

    fn holds(&self, key: &Digest16) -> bool {
        let (word, bit) = spot(key, self.filter.len());
        self.filter.get(word).is_some_and(|word| word & bit != 0)
            && self.keys.binary_search_by_key(&rank(key), rank).is_ok()
    }

    /// Whether a row of that key was sent with this page, if that was read.
    fn has_sent(&self, key: &Digest16) -> bool {
        self.holds(key) && !self.rejected.contains(key)
    }
}

/// A key as a number, which is compared faster than bytes are.
fn rank(key: &Digest16) -> u128 {
    u128::from_be_bytes(*key)
}

/// The word and the bit of a key in a filter of so many words, a power of two. Keys are digests, so any of their bits will do.
fn spot(key: &Digest16, words: usize) -> (usize, u64) {
    let key = rank(key);
    let word = usize::try_from(key >> 64 & u128::from(u32::MAX)).unwrap_or_default();
    (word & words.wrapping_sub(1), 1 << (key % 64))
}

/// A window that is being read.
struct Descent<'a, R> {
    worker: &'a mut Worker,
    request: R,
    motion: Motion,
    /// Pages that were looked at.
    looked: BTreeMap<u32, PageKeys>,
    /// The pages read last.
    recent: VecDeque<PageKeys>,
    figures: Figures,
    /// How many rows it has at least.
    foreseen: u64,
}

/// Reads a window whole, unless it has too many pages and may be given back.
pub(super) async fn read_down<R: Fn(u32) -> ReadRequest>(
    worker: &mut Worker,
    laid: Laid,
    motion: Motion,
    request: R,
) -> Result<WindowEnd, Halt> {
    let figures = Figures::default();
    let (looked, recent) = (BTreeMap::new(), VecDeque::new());
    let mut descent = Descent { worker, request, motion, looked, recent, figures, foreseen: 0 };
    let is_alone = descent.worker.stream.extraction.config.concurrency == 1;
    let most_pages = match laid {
        Laid { is_divisible: false, .. } => u32::MAX,
        Laid { window, .. } if is_alone || window.length() <= SHORT => MOST_PAGES_ALONE,
        _ => MOST_PAGES,
    };
    match descent.find_last(laid, most_pages).await? {
        None => Ok(descent.given_back(laid)),
        Some(last) => {
            descent.read_from(last, laid).await?;
            Ok(WindowEnd::Complete(descent.figures))
        }
    }
}

impl<R: Fn(u32) -> ReadRequest> Descent<'_, R> {
    /// A page that holds the last objects, or an empty one not far behind it; none if there are too many pages.
    async fn find_last(&mut self, laid: Laid, most: u32) -> Result<Option<u32>, Halt> {
        let (mut filled, mut empty) = (0, laid.expected_pages.min(most) + 1);
        let (mut read, mut inside) = (0, 0);
        // What was expected is not far off, as a rule: doubling would look far behind the end.
        let is_near = laid.expected_pages > 1;
        while self.look(empty).await? {
            filled = empty;
            let looked = &self.looked[&filled];
            (read, inside) = (read + looked.read, inside + looked.inside);
            // A page that isn't full is probably the last one, but only an empty one behind it says so.
            let looks_last =
                looked.read < laid.page_rows && !self.looked.contains_key(&(filled - 1));
            self.foresee(laid, filled, looked.inside);
            let is_for_others =
                filled >= MOST_PAGES_OF_LAST && !looks_last && self.is_for_others(laid);
            // Where whole days are returned, a shorter window would hardly be fewer pages.
            if (filled >= most || is_for_others) && inside * 2 >= read {
                return Ok(None);
            }
            if filled >= LAST_PAGE {
                return Err(self.endless());
            }
            let step = match (looks_last, is_near) {
                (true, _) => 1,
                (false, true) => empty.div_ceil(2),
                (false, false) => empty,
            };
            empty = if filled < most { (empty + step).min(most) } else { empty + step };
        }
        // Asking for a few empty pages on the way down costs no more than halving. The first try is near to what was
        // expected.
        let mut middle = empty.saturating_sub(NEAR);
        while empty - filled > NEAR + 1 {
            if middle <= filled {
                middle = filled + (empty - filled) / 2;
            }
            if self.look(middle).await? {
                filled = middle;
            } else {
                empty = middle;
            }
            middle = 0;
        }
        Ok(Some(empty - 1))
    }

    /// Tells how many rows the window has, or has at least, when so many stand on that page.
    fn foresee(&mut self, laid: Laid, page: u32, rows: u64) {
        let page_rows = self.figures.page_rows.unwrap_or(0).max(laid.page_rows);
        self.foreseen = u64::from(page - 1) * page_rows + rows;
        self.worker.stream.foresee(laid.window, self.foreseen);
    }

    /// Whether others have nothing to do but the pieces of this window.
    fn is_for_others(&self, laid: Laid) -> bool {
        let is_long = laid.is_divisible && laid.window.length() > SHORT;
        laid.is_last && is_long && self.worker.stream.extraction.turns.has_idle()
    }

    /// The window has too many pages: in how many pieces it is to be laid anew. If there are others to share them, each
    /// gets one; else it is a burst, and nobody knows in which piece that is.
    fn given_back(&self, laid: Laid) -> WindowEnd {
        let page_rows = self.figures.page_rows;
        if !self.is_for_others(laid) {
            return WindowEnd::TooLarge { parts: CUT, page_rows, rows: 0 };
        }
        let workers = self.worker.stream.extraction.turns.share().max(2);
        let parts = u32::try_from(workers).unwrap_or(CUT);
        WindowEnd::TooLarge { parts, page_rows, rows: self.foreseen }
    }

    /// Whether a page has objects. They are not sent.
    async fn look(&mut self, page: u32) -> Result<bool, Halt> {
        let rows = self.worker.look(&(self.request)(page)).await?;
        self.note_outside(&rows);
        let keys = PageKeys::of(&rows);
        let has_objects = keys.read > 0;
        if page > 1 && has_objects {
            self.figures.page_rows = self.figures.page_rows.max(Some(keys.read));
        }
        self.looked.insert(page, keys);
        Ok(has_objects)
    }

    /// Reads and sends the pages from `page` down, and the last one that has objects once more.
    async fn read_from(&mut self, page: u32, laid: Laid) -> Result<(), Halt> {
        let mut last = None;
        for page in (1..=page).rev() {
            let keys = self.take(page).await?;
            if keys.read > 0 && last.is_none() {
                last = Some((page, keys.clone()));
                self.foresee(laid, page, keys.inside);
            }
            self.remember(keys);
        }
        let Some((page, before)) = last.filter(|(page, _)| *page > 1) else { return Ok(()) };
        // What is on the last page now has moved up since that was read, so whoever is new there was missed.
        self.look(page).await?;
        let now = &self.looked[&page];
        let is_known = now.read <= before.read && now.keys.iter().all(|key| before.holds(key));
        let is_same = self.motion == Motion::Leaving || now.keys == before.keys;
        if is_known && is_same { Ok(()) } else { Err(self.out_of_order()) }
    }

    /// Reads a page and sends what is new in it.
    async fn take(&mut self, page: u32) -> Result<PageKeys, Halt> {
        let fetched = self.worker.fetch(&(self.request)(page)).await?;
        self.note_outside(&fetched.rows);
        let mut others = self.looked.values().chain(&self.recent);
        let is_alone = page == 1 && others.all(|page| page.read == 0);
        let keys =
            if is_alone { PageKeys::alone(&fetched.rows) } else { PageKeys::of(&fetched.rows) };
        let sent = |key: &Digest16| self.recent.iter().any(|page| page.has_sent(key));
        let fresh = match self.motion {
            Motion::Leaving => fetched.rows.marks.iter().map(|mark| !sent(&mark.key)).collect(),
            Motion::Still => vec![true; fetched.rows.counts.kept],
        };
        self.figures.rows += keys.inside;
        if keys.read > 0 && (page > 1 || self.figures.page_rows.is_some()) {
            self.figures.page_rows = self.figures.page_rows.max(Some(keys.read));
        }
        self.worker.emit(fetched, &Settled::without_ids(fresh)).await?;
        self.check(page, &keys).await?;
        Ok(keys)
    }

    /// Checks a page against what was seen when pages were looked at.
    async fn check(&mut self, page: u32, now: &PageKeys) -> Result<(), Halt> {
        let Some(before) = self.looked.get(&page) else {
            return if self.has_moved_back(page, now) { Err(self.out_of_order()) } else { Ok(()) };
        };
        let is_as_before = match self.motion {
            Motion::Leaving => now.read <= before.read && !self.has_moved_back(page, now),
            Motion::Still => now.read == before.read && now.keys == before.keys,
        };
        if !is_as_before {
            return Err(self.out_of_order());
        }
        let was_last = self.looked.range(page + 1..).all(|(_, later)| later.read == 0);
        // A page that was full is so no longer: then nothing stands behind it any more.
        if now.read < before.read && !was_last && self.look(page + 1).await? {
            return Err(self.out_of_order());
        }
        Ok(())
    }

    /// Whether an object of this page stood on an earlier one.
    fn has_moved_back(&self, page: u32, now: &PageKeys) -> bool {
        let earlier = || self.looked.range(..page).map(|(_, looked)| looked);
        self.motion == Motion::Leaving
            && now.keys.iter().any(|key| earlier().any(|looked| looked.holds(key)))
    }

    fn remember(&mut self, page: PageKeys) {
        self.recent.push_back(page);
        let mut rows: usize = self.recent.iter().map(|page| page.keys.len()).sum();
        while let Some(first) = self.recent.front()
            && rows - first.keys.len() >= REMEMBERED
        {
            rows -= first.keys.len();
            self.recent.pop_front();
        }
    }

    fn note_outside(&mut self, rows: &PageRows) {
        let earliest = &mut self.figures.earliest_outside;
        *earliest = [*earliest, rows.counts.earliest_outside].into_iter().flatten().min();
    }

    /// The pages of a query don't fit together, against A6.
    fn out_of_order(&self) -> Halt {
        Halt::Failed(SourceError::new(
            SourceErrorKind::Unsound,
            format!(
                "Rows of `{}` changed their order while they were read, so some could be missed",
                self.worker.stream.name
            ),
            "Run again; if it happens again, report it: the server does not page as its documentation says",
        ))
    }

    fn endless(&self) -> Halt {
        Halt::Failed(SourceError::new(
            SourceErrorKind::Unsound,
            format!(
                "A window of `{}` does not end after {LAST_PAGE} pages",
                self.worker.stream.name
            ),
            "The server does not page as documented; report this with the run's log",
        ))
    }
}
