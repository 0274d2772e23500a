//! Draws that follow from a seed.

/// A stream of draws (`SplitMix64`).
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from `least` to `most`, both included.
    pub(super) fn between(&mut self, least: u32, most: u32) -> u32 {
        let span = u64::from(most - least) + 1;
        least + u32::try_from(self.bits() % span).unwrap()
    }

    /// True in `percent` of 100 draws.
    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.between(0, 99) < percent
    }

    /// One of the choices, each equally likely.
    pub(super) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        let last = u32::try_from(choices.len() - 1).unwrap();
        choices[self.between(0, last) as usize].clone()
    }
}
