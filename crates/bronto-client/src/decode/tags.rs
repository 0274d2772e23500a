//! The tags of an object's fields, made to be recognised at a glance.
//!
//! Almost every element of an answer is `<name>text</name>` with one of these names, so the reader's speed is that of
//! telling which. A tag is compared as a few words, whatever its length: that takes no call and no loop.

use crate::object::{Kind, ObjectTable, is_same};

/// How many bytes are looked at: longer than any tag of ours, and shorter than what follows the last element.
const GLANCE: usize = 24;

const WORDS: usize = GLANCE / 8;

/// The tags of a table's fields and groups.
pub(super) struct Tags {
    /// The first word of each start tag, and which bits of it count. This alone tells almost all of them apart.
    firsts: Vec<(u64, u64)>,
    /// The tags, by the fields' indices; none for a field that holds no text or has too long a name.
    fields: Vec<Option<FieldTags>>,
    groups: Vec<GroupTags>,
}

struct FieldTags {
    group: Option<&'static str>,
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
pub(super) struct PlainElement<'a> {
    /// The field's index.
    pub(super) index: usize,
    pub(super) is_repeated: bool,
    /// Its text, and what follows that.
    pub(super) content: &'a str,
    /// How long its text is.
    pub(super) length: usize,
    /// Whether its text is plain for others than XML, too: see [`PlainText`](crate::sink::PlainText).
    pub(super) is_plain: bool,
    /// What follows the element.
    pub(super) rest: &'a str,
}

impl Tags {
    pub(super) fn new(table: &ObjectTable) -> Self {
        let fields = table.fields.iter().map(|field| {
            if matches!(field.kind, Kind::CustomFields | Kind::PassedOver) {
                return None;
            }
            let start = Tag::new(&format!("<{}>", field.name))?;
            let end = Tag::new(&format!("</{}>", field.name))?;
            let is_repeated = field.kind.is_repeated();
            Some(FieldTags { group: field.group, is_repeated, start, end })
        });
        let fields: Vec<Option<FieldTags>> = fields.collect();
        let first = |tags: &FieldTags| (tags.start.words[0], tags.start.masks[0]);
        // No markup begins with a zero.
        let firsts = fields.iter().map(|tags| tags.as_ref().map_or((0, u64::MAX), first));
        let mut groups: Vec<GroupTags> = Vec::new();
        for (first, field) in table.fields.iter().enumerate() {
            if let Some(name) = field.group
                && groups.iter().all(|group| group.name != name)
            {
                let (start, end) = (format!("<{name}>"), format!("</{name}>"));
                groups.push(GroupTags { name, first, start, end });
            }
        }
        Self { firsts: firsts.collect(), fields, groups }
    }

    /// The element of a field inside `group` that the text begins with, if it has its plainest form.
    ///
    /// Elements come in schema order, so the search runs forward from the field `next`; it wraps around.
    #[inline(always)]
    pub(super) fn plain_element<'a>(
        &self,
        text: &'a str,
        next: usize,
        group: Option<&str>,
    ) -> Option<PlainElement<'a>> {
        let bytes: &[u8; GLANCE] = text.as_bytes().first_chunk()?;
        if bytes[1] == b'/' {
            return None;
        }
        let (index, tags) = self.find(words(bytes), next, group)?;
        let content = &text[tags.start.length..];
        let (length, is_plain) = text_end(content.as_bytes())?;
        if !tags.end.is_at(words(content.as_bytes().get(length..)?.first_chunk()?)) {
            return None;
        }
        let rest = &content[length + tags.end.length..];
        let is_repeated = tags.is_repeated;
        Some(PlainElement { index, is_repeated, content, length, is_plain, rest })
    }

    /// The index of the first member of the group whose start tag the text begins with, and what follows that tag.
    pub(super) fn group<'a>(&self, text: &'a str) -> Option<(usize, &'a str)> {
        self.groups.iter().find_map(|group| Some((group.first, text.strip_prefix(&*group.start)?)))
    }

    /// What follows the end tag of the group, if the text begins with that.
    pub(super) fn behind_group<'a>(&self, text: &'a str, name: &str) -> Option<&'a str> {
        let group = self.groups.iter().find(|group| group.name == name)?;
        text.strip_prefix(&*group.end)
    }

    /// The field whose start tag these bytes begin with.
    #[inline(always)]
    fn find(
        &self,
        words: [u64; WORDS],
        next: usize,
        group: Option<&str>,
    ) -> Option<(usize, &FieldTags)> {
        let next = next.min(self.firsts.len());
        for (range, from) in [(&self.firsts[next..], next), (&self.firsts[..next], 0)] {
            for (at, (word, mask)) in range.iter().enumerate() {
                if (words[0] ^ word) & mask == 0
                    && let Some(tags) = &self.fields[from + at]
                    && tags.start.is_at(words)
                    && is_same(tags.group, group)
                {
                    return Some((from + at, tags));
                }
            }
        }
        None
    }
}

impl Tag {
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

/// Where a text ends, by the `<` or `&` behind it, and whether there is no control character, quote or backslash in it.
/// None where less than a word follows: there is more behind every text of ours.
///
/// Most texts are a word or two long, for which a call would cost more than the search.
#[inline(always)]
fn text_end(bytes: &[u8]) -> Option<(usize, bool)> {
    let mut at = 0;
    loop {
        let word = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        // The first mark in a word is where such a byte is; those behind it may be wrong. What differs from others in
        // the bits that are left out is told apart afterwards: `<` from `\`, `|` and U+001C, `&` from `"`.
        let marks = |bits: u8, byte: u8| {
            let differs = word & (ONES * u64::from(bits)) ^ (ONES * u64::from(byte));
            differs.wrapping_sub(ONES) & !differs
        };
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        let stops = (marks(0x9F, b'<' & 0x9F) | marks(0xFB, b'"') | controls) & HIGH_BITS;
        if stops != 0 {
            let at = at + stops.trailing_zeros() as usize / 8;
            return if bytes[at] == b'<' { Some((at, true)) } else { end_behind(bytes, at) };
        }
        at += 8;
    }
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
            rest in "[<&\"\\\\a-z\u{0}]{8,20}",
        ) {
            let bytes = format!("{text}{end}{rest}");
            let is_plain = !text.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(text_end(bytes.as_bytes()), Some((text.len(), is_plain)));
            prop_assert_eq!(text_end(text.as_bytes()), None);
        }

        #[test]
        fn every_byte_is_told_from_the_others(byte in any::<u8>(), before in 0_usize..20) {
            let mut bytes = vec![b'a'; before];
            bytes.push(byte);
            bytes.extend(b"b<cdefghi");
            let end = if matches!(byte, b'<' | b'&') { before } else { before + 2 };
            let is_plain = byte >= b' ' && !matches!(byte, b'"' | b'\\') || end == before;
            prop_assert_eq!(text_end(&bytes), Some((end, is_plain)));
        }
    }
}
