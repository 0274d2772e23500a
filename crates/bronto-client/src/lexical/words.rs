//! Digits, eight bytes at a time. In a word, the first byte of the text is the lowest.

const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Whether texts have their forms, in which zeros stand for digits and everything else for itself. Given is in which bits
/// each differs from its form.
#[inline(always)]
pub(super) fn is_of_form<const N: usize>(differing: [u64; N], forms: [u64; N]) -> bool {
    let wrong = differing.iter().zip(forms).fold(0, |wrong, (digits, form)| {
        let beyond_nine = digits.wrapping_add(u64::from_ne_bytes([0x76; 8])) | digits;
        wrong | beyond_nine & HIGH_BITS | digits & others(form)
    });
    wrong == 0
}

/// All bits of the bytes in which a form has no zero.
#[inline(always)]
const fn others(form: u64) -> u64 {
    let mut bytes = form.to_le_bytes();
    let mut at = 0;
    while at < 8 {
        bytes[at] = if bytes[at] == b'0' { 0 } else { 0xFF };
        at += 1;
    }
    u64::from_le_bytes(bytes)
}

/// The number that the first two digits make, which are numbers already.
#[inline(always)]
pub(super) fn first_two(digits: u64) -> u32 {
    let [tens, ones, ..] = digits.to_le_bytes();
    u32::from(tens) * 10 + u32::from(ones)
}

/// The two digits of a number below 100, as numbers.
#[inline(always)]
pub(super) fn two_digits(number: u32) -> u64 {
    u64::from(number / 10) | u64::from(number % 10) << 8
}
