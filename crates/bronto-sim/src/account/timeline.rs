//! Records in the order of an instant, with stable numbers.

use std::collections::HashSet;

use crate::instant::{Fraction, UtcInstant};

/// Something that stands at a point in time.
pub(crate) trait Timed {
    fn instant(&self) -> UtcInstant;
}

/// Records that keep their number while their order follows their instants.
#[derive(Clone, Debug)]
pub(crate) struct Timeline<R> {
    records: Vec<R>,
    /// Numbers of all records by (instant, number), without those that are gone.
    order: Vec<u32>,
    /// Numbers of records that are gone, and never given to others.
    gone: HashSet<u32>,
}

impl<R: Timed> Timeline<R> {
    pub(crate) fn new(records: Vec<R>) -> Self {
        let count = u32::try_from(records.len()).expect("an account counts its rows in 32 bits");
        let mut timeline = Self { records, order: (0..count).collect(), gone: HashSet::new() };
        timeline.sort();
        timeline
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.records.len()).expect("an account counts its rows in 32 bits")
    }

    pub(crate) fn records(&self) -> &[R] {
        &self.records
    }

    pub(crate) fn get(&self, number: u32) -> &R {
        &self.records[number as usize]
    }

    /// Whether a record is gone.
    pub(crate) fn is_gone(&self, number: u32) -> bool {
        self.gone.contains(&number)
    }

    /// Numbers of all records that aren't gone, earliest first.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    /// Numbers of the records in `from..to`, comparing instants as `fraction` cuts them.
    pub(crate) fn between(&self, from: UtcInstant, to: UtcInstant, fraction: Fraction) -> &[u32] {
        let position = |bound: UtcInstant| {
            self.order.partition_point(|number| fraction.cut(self.get(*number).instant()) < bound)
        };
        let (start, end) = (position(from), position(to));
        self.order.get(start..end).unwrap_or(&[])
    }

    /// Adds records at the end of the numbering.
    pub(crate) fn extend(&mut self, records: impl IntoIterator<Item = R>) {
        let first = self.len();
        self.records.extend(records);
        self.order.extend(first..self.len());
        self.sort();
    }

    /// Changes some records; their place in the order follows.
    pub(crate) fn change(&mut self, numbers: &[u32], mut change: impl FnMut(&mut R)) {
        let moved = numbers.iter().copied().filter(|number| !self.is_gone(*number));
        let moved: HashSet<u32> = moved.collect();
        for number in &moved {
            change(&mut self.records[*number as usize]);
        }
        self.order.retain(|number| !moved.contains(number));
        self.order.extend(moved);
        self.sort();
    }

    /// Takes records away.
    pub(crate) fn remove(&mut self, numbers: &[u32]) {
        self.gone.extend(numbers);
        self.order.retain(|number| !self.gone.contains(number));
    }

    /// Sorts by (instant, number). The sort recognises what is in order already, so this costs one pass
    /// after a change at the end.
    fn sort(&mut self) {
        let records = &self.records;
        self.order.sort_by_key(|number| (records[*number as usize].instant(), *number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug)]
    struct At(UtcInstant);

    impl Timed for At {
        fn instant(&self) -> UtcInstant {
            self.0
        }
    }

    fn second(seconds: i64) -> UtcInstant {
        UtcInstant::from(crate::default_now()).plus_seconds(seconds)
    }

    #[test]
    fn order_follows_instants_and_changes() {
        let mut timeline = Timeline::new([5, 1, 3].map(|s| At(second(s))).to_vec());
        assert_eq!(timeline.order(), [1, 2, 0]);
        timeline.change(&[1], |record| record.0 = second(9));
        assert_eq!(timeline.order(), [2, 0, 1]);
        timeline.extend([At(second(4))]);
        assert_eq!(timeline.order(), [2, 3, 0, 1]);
        timeline.remove(&[3, 1]);
        timeline.change(&[1, 0], |record| record.0 = second(2));
        assert_eq!((timeline.order(), timeline.len()), (&[0, 2][..], 4));
    }

    #[test]
    fn ranges_are_half_open_and_see_cut_instants() {
        let half = second(1).plus_nanos(500_000_000);
        let timeline = Timeline::new(vec![At(second(1)), At(half), At(second(2))]);
        let between = |fraction| timeline.between(half, second(2), fraction);
        assert_eq!(between(Fraction::Millis), [1]);
        assert!(between(Fraction::None).is_empty());
        let whole = timeline.between(second(1), second(2), Fraction::None);
        assert_eq!(whole, [0, 1]);
    }
}
