//! How much may be asked: a bucket of tokens per caller, name or address, filled at a steady rate.
//!
//! Buckets that are full again are forgotten, and there is a most of them, so that nobody fills the memory with names: when
//! all are in use, the newcomer is refused.

use std::{collections::HashMap, sync::Mutex};

use chrono::{DateTime, TimeDelta, Utc};

use super::problem::{Kind, Problem};

/// How many buckets of a sort there are at most.
const MOST_BUCKETS: usize = 10_000;

/// What somebody may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// At once.
    pub burst: u32,
    /// How long it takes until one more is allowed.
    pub every: TimeDelta,
}

/// What is limited, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Attempts to sign in with one name.
    pub sign_in_name: Allowance,
    /// Attempts to sign in from one address.
    pub sign_in_address: Allowance,
    /// Requests of one caller.
    pub caller: Allowance,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            sign_in_name: Allowance { burst: 10, every: TimeDelta::seconds(30) },
            sign_in_address: Allowance { burst: 20, every: TimeDelta::seconds(10) },
            caller: Allowance { burst: 300, every: TimeDelta::milliseconds(20) },
        }
    }
}

/// The buckets of all sorts.
#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) sign_in_name: Buckets,
    pub(crate) sign_in_address: Buckets,
    pub(crate) caller: Buckets,
}

impl Rates {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self {
            sign_in_name: Buckets::new(limits.sign_in_name),
            sign_in_address: Buckets::new(limits.sign_in_address),
            caller: Buckets::new(limits.caller),
        }
    }
}

/// Buckets of one sort, by whose they are.
#[derive(Debug)]
pub(crate) struct Buckets {
    allowance: Allowance,
    /// When each will be full again.
    full_at: Mutex<HashMap<String, DateTime<Utc>>>,
}

impl Buckets {
    fn new(allowance: Allowance) -> Self {
        Self { allowance, full_at: Mutex::new(HashMap::new()) }
    }

    /// Takes one out of a bucket.
    pub(crate) fn take(&self, whose: &str, now: DateTime<Utc>) -> Result<(), Problem> {
        let Allowance { burst, every } = self.allowance;
        let Ok(mut full_at) = self.full_at.lock() else { return Ok(()) };
        if full_at.len() >= MOST_BUCKETS {
            full_at.retain(|_, full| *full > now);
        }
        let is_new = !full_at.contains_key(whose);
        if is_new && full_at.len() >= MOST_BUCKETS {
            return Err(too_many(every));
        }
        let full = full_at.get(whose).copied().unwrap_or(now).max(now) + every;
        let wait = full - now - every * i32::try_from(burst).unwrap_or(i32::MAX);
        if wait > TimeDelta::zero() {
            return Err(too_many(wait));
        }
        full_at.insert(whose.to_owned(), full);
        Ok(())
    }

    /// Fills a bucket again.
    pub(crate) fn forgive(&self, whose: &str) {
        if let Ok(mut full_at) = self.full_at.lock() {
            full_at.remove(whose);
        }
    }
}

fn too_many(wait: TimeDelta) -> Problem {
    let seconds = u64::try_from(wait.num_seconds()).unwrap_or(0) + 1;
    let detail = "More was asked than is allowed in this time";
    Problem::new(Kind::TooMany, detail).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_a_steady_rate() {
        let buckets = Buckets::new(Allowance { burst: 3, every: TimeDelta::seconds(10) });
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let taken = |whose, seconds| buckets.take(whose, at(seconds)).is_ok();
        assert_eq!(
            [0, 0, 0, 0, 9].map(|second| taken("one", second)),
            [true, true, true, false, false]
        );
        assert_eq!([10, 10, 20].map(|second| taken("one", second)), [true, false, true]);
        assert!(taken("two", 10));
        buckets.forgive("one");
        assert!(taken("one", 20));
    }

    #[test]
    fn buckets_are_bounded() {
        let buckets = Buckets::new(Allowance { burst: 1, every: TimeDelta::seconds(10) });
        let now = DateTime::UNIX_EPOCH;
        for number in 0..MOST_BUCKETS {
            assert!(buckets.take(&number.to_string(), now).is_ok());
        }
        assert!(buckets.take("one more", now).is_err());
        assert!(buckets.take("one more", now + TimeDelta::seconds(10)).is_ok());
    }
}
