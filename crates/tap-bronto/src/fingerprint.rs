//! Fingerprints that tell the rows of one run apart: 128 bits of XXH3, which costs a tenth of what a cryptographic
//! digest does. Rows that shared one would be taken for one another, so it has no fewer bits, and it is keyed: nobody
//! outside can look for values that do. It never leaves the run.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use twox_hash::XxHash3_128;

/// The key, one for the whole process: rows that different workers read are compared.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// The fingerprint of a text.
pub(crate) fn fingerprint(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot_with_seed(*SEED, bytes)
}
