//! The tags of an object's fields, made to be recognised at a glance.
//!
//! Almost every element of an answer is `<name>text</name>` with one of these names, so the reader's speed is that of
//! telling which. A tag is compared as a few words, whatever its length: that takes no call and no loop.

use crate::object::{Kind, ObjectTable};

/// How many bytes are looked at: longer than any tag of ours, and shorter than what follows the last element.
const GLANCE: usize = 24;

const WORDS: usize = GLANCE / 8;

/// The tags of a table's fields and groups.
pub(super) struct Tags {
    /// The first word of each start tag, and which bits of it count. This alone tells almost all of them apart.
    firsts: Vec<(u64, u64)>,
    /// The tags, by the fields' indices. Nothing begins with that of a field that holds no text or has too long a name.
    fields: Vec<FieldTags>,
    groups: Vec<GroupTags>,
}

/// The number of a group, counted from 1; 0 is outside of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupNumber(u8);

struct FieldTags {
    group: GroupNumber,
    is_repeated: bool,
    start: Tag,
    end: Tag,
}

struct GroupTags {
    name: &'static str,
    /// The index of its first member.
    first: usize,
    start: String,
    end: String,
}

/// A tag, filled up with bytes that don't count.
struct Tag {
    words: [u64; WORDS],
    masks: [u64; WORDS],
    length: usize,
}

/// An element in its plainest form, `<name>text</name>`: start tag without prefix and attributes, text in one piece
/// without a reference, end tag.
pub(super) struct PlainElement {
    /// The field's index.
    pub(super) index: usize,
    pub(super) is_repeated: bool,
    /// Where its text begins.
    pub(super) start: usize,
    /// How long its text is.
    pub(super) length: usize,
    /// Whether its text is plain for others than XML, too: see [`PlainText`](crate::sink::PlainText).
    pub(super) is_plain: bool,
    /// Where the element ends.
    pub(super) end: usize,
}

impl Tags {
    pub(super) fn new(table: &ObjectTable) -> Self {
        let mut groups: Vec<GroupTags> = Vec::new();
        for (first, field) in table.fields.iter().enumerate() {
            if let Some(name) = field.group
                && groups.iter().all(|group| group.name != name)
            {
                let (start, end) = (format!("<{name}>"), format!("</{name}>"));
                groups.push(GroupTags { name, first, start, end });
            }
        }
        let fields = table.fields.iter().map(|field| {
            let holds_text = !matches!(field.kind, Kind::CustomFields | Kind::PassedOver);
            let start = Tag::new(&format!("<{}>", field.name)).filter(|_| holds_text);
            let end = Tag::new(&format!("</{}>", field.name)).filter(|_| holds_text);
            let (start, end) = start.zip(end).unwrap_or((Tag::NOWHERE, Tag::NOWHERE));
            let group = number_of(&groups, field.group);
            FieldTags { group, is_repeated: field.kind.is_repeated(), start, end }
        });
        let fields: Vec<FieldTags> = fields.collect();
        let firsts = fields.iter().map(|tags| (tags.start.words[0], tags.start.masks[0]));
        Self { firsts: firsts.collect(), fields, groups }
    }

    /// The number of a group.
    pub(super) fn group_number(&self, name: Option<&str>) -> GroupNumber {
        number_of(&self.groups, name)
    }

    /// The element of a field inside `group` that begins there, if it has its plainest form.
    ///
    /// Elements come in schema order, so the search runs forward from the field `next`; it wraps around.
    #[inline(always)]
    pub(super) fn plain_element(
        &self,
        text: &[u8],
        at: usize,
        next: usize,
        group: GroupNumber,
    ) -> Option<PlainElement> {
        let bytes: &[u8; GLANCE] = text.get(at..)?.first_chunk()?;
        if bytes[1] == b'/' {
            return None;
        }
        let (index, tags) = self.find(words(bytes), next, group)?;
        let start = at + tags.start.length;
        let (end, is_plain) = text_end(text, start)?;
        if !tags.end.is_at(words(text.get(end..)?.first_chunk()?)) {
            return None;
        }
        let (length, end) = (end - start, end + tags.end.length);
        Some(PlainElement { index, is_repeated: tags.is_repeated, start, length, is_plain, end })
    }

    /// The index of the first member of the group whose start tag the text begins with, and how long that tag is.
    pub(super) fn group(&self, text: &str) -> Option<(usize, usize)> {
        let group = self.groups.iter().find(|group| text.starts_with(&group.start))?;
        Some((group.first, group.start.len()))
    }

    /// How long the end tag of the group is, if the text begins with it.
    pub(super) fn group_end(&self, text: &str, name: &str) -> Option<usize> {
        let group = self.groups.iter().find(|group| group.name == name)?;
        text.starts_with(&group.end).then_some(group.end.len())
    }

    /// The field whose start tag these bytes begin with.
    #[inline(always)]
    fn find(
        &self,
        words: [u64; WORDS],
        next: usize,
        group: GroupNumber,
    ) -> Option<(usize, &FieldTags)> {
        let next = next.min(self.firsts.len());
        for (range, from) in [(&self.firsts[next..], next), (&self.firsts[..next], 0)] {
            for (at, (word, mask)) in range.iter().enumerate() {
                if (words[0] ^ word) & mask == 0 {
                    let tags = &self.fields[from + at];
                    if tags.start.is_at(words) && tags.group == group {
                        return Some((from + at, tags));
                    }
                }
            }
        }
        None
    }
}

fn number_of(groups: &[GroupTags], name: Option<&str>) -> GroupNumber {
    let place = groups.iter().position(|group| Some(group.name) == name);
    // A table has few groups.
    GroupNumber(place.map_or(0, |place| u8::try_from(place + 1).unwrap_or(u8::MAX)))
}

impl Tag {
    /// A tag that is nowhere: no markup begins with a zero.
    const NOWHERE: Self = Self { words: [0; WORDS], masks: [u64::MAX; WORDS], length: 0 };

    fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; GLANCE];
        let mut mask = [0; GLANCE];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        mask[..text.len()].fill(0xFF);
        Some(Self { words: words(&bytes), masks: words(&mask), length: text.len() })
    }

    #[inline(always)]
    fn is_at(&self, found: [u64; WORDS]) -> bool {
        let differs = |at: usize| (found[at] ^ self.words[at]) & self.masks[at];
        (0..WORDS).fold(0, |all, at| all | differs(at)) == 0
    }
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Where a text that begins there ends, by the `<` or `&` behind it, and whether there is no control character, quote or
/// backslash in it. None where less than two words follow: there is more behind every text of ours.
///
/// Most texts are shorter than two words. For those a call would cost more than the search, and so would finding out which
/// of the two to look at.
#[inline(always)]
fn text_end(bytes: &[u8], start: usize) -> Option<(usize, bool)> {
    let mut at = start;
    loop {
        let pair: &[u8; 16] = bytes.get(at..)?.first_chunk()?;
        let (words, _) = pair.as_chunks::<8>();
        let stops = u128::from(stops(words[0])) | u128::from(stops(words[1])) << 64;
        if stops != 0 {
            let at = at + stops.trailing_zeros() as usize / 8;
            return if bytes[at] == b'<' { Some((at, true)) } else { end_behind(bytes, at) };
        }
        at += 16;
    }
}

/// Marks bytes at which a text ends or isn't plain, and some others. The first mark is where such a byte is; those behind
/// it may be wrong.
#[inline(always)]
fn stops(bytes: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(bytes);
    // What differs from others in the bits that are left out is told apart afterwards: `<` from `\`, `|` and U+001C, `&`
    // from `"`.
    let marks = |bits: u8, byte: u8| {
        let differs = word & (ONES * u64::from(bits)) ^ (ONES * u64::from(byte));
        differs.wrapping_sub(ONES) & !differs
    };
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (marks(0x9F, b'<' & 0x9F) | marks(0xFB, b'"') | controls) & HIGH_BITS
}

/// The same where something else than a `<` stands in front, up to which the text is plain.
#[inline(never)]
fn end_behind(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let end = at + memchr::memchr2(b'<', b'&', &bytes[at..])?;
    let needs_escape = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
    Some((end, !bytes[at..end].iter().any(needs_escape)))
}

#[inline(always)]
fn words(bytes: &[u8; GLANCE]) -> [u64; WORDS] {
    let (chunks, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|at| u64::from_ne_bytes(chunks[at]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_end_of_a_text_is_found_and_what_is_in_it(
            text in "[a-z;=!#%|é\u{1f600}\u{7f}]{0,20}[\u{0}\u{1f}\u{20}\"\\\\]{0,2}[a-z\u{80}\u{bc}]{0,20}",
            end in prop::sample::select(vec!['<', '&']),
            rest in "[<&\"\\\\a-z\u{0}]{16,40}",
        ) {
            let bytes = format!("{text}{end}{rest}");
            let is_plain = !text.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(text_end(bytes.as_bytes(), 0), Some((text.len(), is_plain)));
            prop_assert_eq!(text_end(text.as_bytes(), 0), None);
        }

        #[test]
        fn every_byte_is_told_from_the_others(byte in any::<u8>(), before in 0_usize..20) {
            let mut bytes = vec![b'a'; before];
            bytes.push(byte);
            bytes.extend(b"b<cdefghijklmnopq");
            let end = if matches!(byte, b'<' | b'&') { before } else { before + 2 };
            let is_plain = byte >= b' ' && !matches!(byte, b'"' | b'\\') || end == before;
            prop_assert_eq!(text_end(&bytes, 0), Some((end, is_plain)));
        }
    }
}
