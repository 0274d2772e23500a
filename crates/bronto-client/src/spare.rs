//! Memory that was used, and is kept to be used again.
//!
//! Memory that is given back to the system and taken again costs more time than what is written into it, because each of its
//! pages has to be cleared and mapped anew. So answers, and what is made of them, take what others have left. How much is
//! kept doesn't depend on how much is read: what many pages at once have needed is enough for as many, and no more is kept.

use std::sync::{Mutex, PoisonError};

/// How many bytes are kept. A single piece may be more.
const MOST_KEPT: usize = 24 << 20;

/// A piece that weighs no more serves any need; one that does, needs of at least half its weight. Else a small need would
/// keep it from the large one that comes next, which then takes as much once more.
const LIGHT: usize = 8 << 20;

/// A piece that is larger is out of the ordinary, and given back.
const LARGEST: usize = 32 << 20;

/// Memory to be used again.
#[derive(Debug, Default)]
pub struct Spare {
    /// The pieces with what each weighs, the lightest first.
    idle: Mutex<Vec<(usize, Vec<u8>)>>,
}

impl Spare {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { idle: Mutex::new(Vec::new()) }
    }

    /// A piece for so many bytes: the lightest that weighs as much, unless it is far too heavy; else the heaviest of the
    /// lighter ones. What is in it is of no interest. If there is none, memory without capacity: then others make way.
    pub fn take(&self, need: usize) -> Vec<u8> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let lighter = idle.partition_point(|(weight, _)| *weight < need);
        let fits = |(weight, _): &(usize, _)| *weight <= LIGHT.max(need.saturating_mul(2));
        if idle.get(lighter).is_some_and(fits) {
            return idle.remove(lighter).1;
        }
        if let Some(heaviest) = lighter.checked_sub(1) {
            return idle.remove(heaviest).1;
        }
        make_way(&mut idle, MOST_KEPT.saturating_sub(need));
        Vec::new()
    }

    /// Keeps a piece. It weighs as many bytes as it takes of the system's memory: what was never written doesn't count. If
    /// there is more than enough, the lightest go.
    pub fn keep(&self, weight: usize, memory: Vec<u8>) {
        if weight > LARGEST {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let place = idle.partition_point(|(other, _)| *other < weight);
        idle.insert(place, (weight, memory));
        let heaviest = idle.last().map_or(0, |(weight, _)| *weight);
        make_way(&mut idle, MOST_KEPT.max(heaviest));
    }

    /// What each piece weighs that is there, the lightest first.
    #[must_use]
    pub fn weights(&self) -> Vec<usize> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.iter().map(|(weight, _)| *weight).collect()
    }
}

/// Gives back the lightest pieces, until there is no more than this.
fn make_way(idle: &mut Vec<(usize, Vec<u8>)>, most: usize) {
    let mut kept: usize = idle.iter().map(|(weight, _)| weight).sum();
    let excess = idle.iter().take_while(|(weight, _)| {
        let is_excess = kept > most;
        kept -= weight;
        is_excess
    });
    let count = excess.count();
    idle.drain(..count);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: usize = MOST_KEPT / 4;

    fn spare(weights: &[usize]) -> Spare {
        let spare = Spare::new();
        for weight in weights {
            spare.keep(*weight, Vec::with_capacity(*weight));
        }
        spare
    }

    #[test]
    fn what_is_needed_takes_no_more_than_it_must() {
        let spare = spare(&[300, 100, 200]);
        let taken = [150, 101, 500, 1].map(|need| spare.take(need).capacity());
        assert_eq!(taken, [200, 300, 100, 0]);
    }

    #[test]
    fn a_heavy_piece_waits_for_a_large_need() {
        let heavy = 2 * LIGHT;
        assert_eq!(spare(&[LIGHT]).take(1).capacity(), LIGHT);
        assert_eq!(spare(&[heavy]).take(LIGHT).capacity(), heavy);
        let both = spare(&[1000, heavy]);
        assert_eq!(both.take(LIGHT - 1).capacity(), 1000, "it can grow");
        assert_eq!(both.take(LIGHT - 1).capacity(), 0);
        assert_eq!(both.weights(), [heavy], "both together are not too much");
        let full = spare(&[MOST_KEPT]);
        assert_eq!((full.take(1).capacity(), full.weights().len()), (0, 0), "it made way");
    }

    #[test]
    fn no_more_is_kept_than_is_used_at_once() {
        assert_eq!(spare(&[PART; 9]).weights(), [PART; 4]);
        assert_eq!(spare(&[PART, 3 * PART, 2 * PART]).weights(), [3 * PART]);
        assert_eq!(spare(&[PART, MOST_KEPT + 1, PART]).weights(), [MOST_KEPT + 1]);
        assert_eq!(spare(&[PART, LARGEST + 1]).weights(), [PART]);
    }
}
