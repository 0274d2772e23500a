//! Chance that repeats: a counter-based generator, addressed by what is being decided.
//!
//! Every value of the account is a pure function of (seed, subject, number), so rows need not be kept
//! in memory, can be made in any order, and are the same in every run. Only integer arithmetic and
//! IEEE multiplication are used: no platform's mathematical library can change a byte.

/// What is being decided; keeps the draws of different questions independent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject {
    ContactTimes,
    ContactIdentity,
    ContactStanding,
    ContactProfile,
    ContactOrders,
    ContactFields,
    Delivery,
    List,
    Outbound,
    Inbound,
    ActivityDetail,
    Unsubscribe,
    Mutation,
    Absence,
    Nil,
    ControlCharacter,
    Unholdable,
    Order,
    Page,
    Late,
    Failure,
    Session,
}

/// A stream of draws for one decision.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads every input bit over all output bits.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Chance {
    /// The draws that decide `subject` for the thing with this number.
    pub(crate) fn of(seed: u64, subject: Subject, number: u64) -> Self {
        let subject = mix((subject as u64 + 1).wrapping_mul(STEP));
        Self(mix(seed ^ subject.wrapping_add(mix(number.wrapping_add(STEP)))))
    }

    /// Sixty-four fresh bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number in `0..limit`; 0 when `limit` is 0.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        let product = (self.bits() >> 32) * u64::from(limit);
        u32::try_from(product >> 32).expect("a product of two 32-bit numbers, shifted by 32")
    }

    /// A number in `0..limit` of which small values are far likelier.
    pub(crate) fn skewed(&mut self, limit: u32) -> u32 {
        let share = self.unit();
        // Truncation is meant: this picks a slot.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a u32"
        )]
        let picked = (f64::from(limit) * share * share * share) as u32;
        picked.min(limit.saturating_sub(1))
    }

    /// A number in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let numerator = (self.bits() >> 11) as f64;
        numerator / 9_007_199_254_740_992.0
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// True at this rate (0 never, 1 always).
    pub(crate) fn rate(&mut self, rate: f64) -> bool {
        rate > 0.0 && self.unit() < rate
    }

    /// One of the choices, each equally likely.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let limit = u32::try_from(choices.len()).unwrap_or(u32::MAX);
        choices[self.below(limit) as usize]
    }

    /// One of the choices, the first ones far likelier.
    pub(crate) fn pick_skewed<T: Copy>(&mut self, choices: &[T]) -> T {
        let limit = u32::try_from(choices.len()).unwrap_or(u32::MAX);
        choices[self.skewed(limit) as usize]
    }

    /// A share of `whole` that is small more often than large: `whole × u^power`.
    pub(crate) fn share(&mut self, whole: i64, power: u32) -> i64 {
        let unit = self.unit();
        let mut share = unit;
        for _ in 1..power {
            share *= unit;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "an approximate share is what is asked for"
        )]
        let part = (whole as f64 * share) as i64;
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_has_the_same_answer() {
        let draws = |seed| {
            let mut chance = Chance::of(seed, Subject::List, 7);
            [chance.bits(), chance.bits(), chance.bits()]
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn draws_stay_inside_their_limits_and_spread() {
        let mut chance = Chance::of(3, Subject::Page, 0);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[chance.below(10) as usize] += 1;
            assert!(chance.skewed(5) < 5);
            assert!((0..1000).contains(&chance.share(1000, 3)));
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!(chance.below(0), 0);
    }
}
