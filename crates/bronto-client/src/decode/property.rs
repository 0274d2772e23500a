//! Whatever way an object is written in, it decodes to the same values.

#![expect(clippy::unwrap_used, reason = "a failed decode should stop the test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::tests::Collector;
use super::*;
use crate::object::Kind;
use crate::object_tables::{ACTIVITY, CONTACT, FIELD, LIST, UNSUBSCRIBE};

/// An object: values by field index. Custom fields are pairs, written as two values.
type Object = BTreeMap<usize, Vec<String>>;

/// Decisions of a rendering. The shortest tape is the plainest rendering, so failures shrink.
struct Choices<'t> {
    tape: &'t [u8],
    at: usize,
}

impl Choices<'_> {
    /// A number below `bound`; mostly 0 once the tape is over.
    fn below(&mut self, bound: u8) -> u8 {
        let byte = self.tape.get(self.at % self.tape.len().max(1)).copied().unwrap_or(0);
        self.at += 1;
        byte.wrapping_mul(31).wrapping_add(u8::try_from(self.at % 7).unwrap()) % bound
    }

    fn layout(&mut self) -> &'static str {
        let layouts = ["", "", "\n    ", " ", "\t\r\n", "<!-- <id>no</id> & -->", "<?layout &?>\n"];
        layouts[usize::from(self.below(7))]
    }

    fn prefix(&mut self) -> &'static str {
        ["", "", "", "", "q:"][usize::from(self.below(5))]
    }

    fn attributes(&mut self) -> &'static str {
        ["", "", "", " ", " xsi:type='xs:string'", " xmlns='' a=\">\"", " xsi:nil='false'"]
            [usize::from(self.below(7))]
    }
}

/// Writes a text so that it reads as the same text.
fn text(choices: &mut Choices<'_>, value: &str, out: &mut String) {
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        if choices.below(9) == 0 {
            out.push_str(["<!---->", "<![CDATA[]]>", "<?x?>"][usize::from(choices.below(3))]);
        }
        let reference = choices.below(8);
        match (character, reference) {
            (_, 1) => write!(out, "&#{};", u32::from(character)).unwrap(),
            (_, 2) => write!(out, "&#x{:x};", u32::from(character)).unwrap(),
            ('\r', _) => out.push_str("&#13;"),
            ('\n', 3) => out.push_str("\r\n"),
            ('\n', 4) if characters.peek() != Some(&'\n') => out.push('\r'),
            ('&', _) => out.push_str("&amp;"),
            ('<', 5) => out.push_str("<![CDATA[<]]>"),
            ('<', _) => out.push_str("&lt;"),
            ('>', _) => out.push_str("&gt;"),
            ('"', 6) => out.push_str("&quot;"),
            ('\'', 6) => out.push_str("&apos;"),
            (_, 7) => write!(out, "<![CDATA[{character}]]>").unwrap(),
            _ => out.push(character),
        }
    }
}

fn element(choices: &mut Choices<'_>, name: &str, value: &str, out: &mut String) {
    let name = format!("{}{name}", choices.prefix());
    let attributes = choices.attributes();
    if value.is_empty() && choices.below(2) == 0 {
        write!(out, "<{name}{attributes}/>").unwrap();
        return;
    }
    write!(out, "<{name}{attributes}>").unwrap();
    text(choices, value, out);
    write!(out, "</{name}{}>", if choices.below(5) == 4 { " " } else { "" }).unwrap();
}

fn object(choices: &mut Choices<'_>, table: &ObjectTable, object: &Object, out: &mut String) {
    let name = format!("{}return", choices.prefix());
    write!(out, "<{name}>").unwrap();
    let mut fields: Vec<_> = object.iter().collect();
    if choices.below(3) == 2 {
        fields.reverse();
    }
    for (index, values) in fields {
        let field = &table.fields[*index];
        out.push_str(choices.layout());
        if let Some(group) = field.group {
            write!(out, "<{group}>").unwrap();
        }
        if field.kind == Kind::CustomFields {
            for pair in values.chunks_exact(2) {
                write!(out, "<{}>", field.name).unwrap();
                element(choices, "fieldId", &pair[0], out);
                out.push_str(choices.layout());
                element(choices, "content", &pair[1], out);
                write!(out, "</{}>", field.name).unwrap();
            }
        } else {
            for value in values {
                element(choices, field.name, value, out);
                if field.kind == Kind::TextList && choices.below(4) == 3 {
                    write!(out, "<{} xsi:nil=\"true\"/>", field.name).unwrap();
                }
            }
        }
        if let Some(group) = field.group {
            write!(out, "</{group}>").unwrap();
        }
    }
    out.push_str(choices.layout());
    write!(out, "</{name}>").unwrap();
}

fn page(
    choices: &mut Choices<'_>,
    function: Function,
    table: &ObjectTable,
    objects: &[Object],
) -> String {
    let prefix = ["soap:", "S:", "SOAP-ENV:", ""][usize::from(choices.below(4))];
    let declared = match prefix.trim_end_matches(':') {
        "" => "xmlns".to_owned(),
        name => format!("xmlns:{name}"),
    };
    let mut out = String::new();
    out.push_str(["", "\u{FEFF}"][usize::from(choices.below(2))]);
    out.push_str(["", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"][usize::from(choices.below(2))]);
    out.push_str(choices.layout());
    write!(
        out,
        "<{prefix}Envelope {declared}=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:q=\"urn:q\">{}<{prefix}Body>{}\
         <ns2:{function}Response xmlns:ns2=\"http://api.bronto.com/v4\">",
        choices.layout(),
        choices.layout(),
    )
    .unwrap();
    for value in objects {
        out.push_str(choices.layout());
        object(choices, table, value, &mut out);
    }
    write!(
        out,
        "{}</ns2:{function}Response>{}</{prefix}Body>{}</{prefix}Envelope>{}",
        choices.layout(),
        choices.layout(),
        choices.layout(),
        choices.layout(),
    )
    .unwrap();
    out
}

/// What a sink gets for an object, by name: lists in their order, everything else once.
fn expected(table: &ObjectTable, object: &Object) -> Vec<(String, String)> {
    let mut values = Vec::new();
    for (index, texts) in object {
        let field = &table.fields[*index];
        if field.kind == Kind::CustomFields {
            let pairs = texts.chunks_exact(2);
            values.extend(pairs.map(|pair| (format!("fields/{}", pair[0]), pair[1].clone())));
        } else {
            values.extend(texts.iter().map(|text| (field.name.to_owned(), text.clone())));
        }
    }
    // Elements may come in any order; a stable sort keeps that of a list's values.
    values.sort_by(|left, right| left.0.cmp(&right.0));
    values
}

/// Texts with everything that XML treats in its own way, and everything it forbids.
fn value() -> impl Strategy<Value = String> {
    let special = select(vec![
        '&',
        '<',
        '>',
        '"',
        '\'',
        ']',
        '\r',
        '\n',
        '\t',
        ' ',
        ';',
        '#',
        '\0',
        '\u{1}',
        '\u{1F}',
        '\u{7F}',
        '\u{85}',
        '\u{2028}',
        '\u{FFFD}',
        '\u{FFFE}',
        '\u{FEFF}',
        '\u{1F600}',
    ]);
    vec(prop_oneof![3 => special, 2 => any::<char>(), 3 => proptest::char::range('a', 'z')], 0..12)
        .prop_map(String::from_iter)
}

fn any_object(table: &'static ObjectTable) -> impl Strategy<Value = Object> {
    proptest::collection::btree_map(0..table.fields.len(), vec(value(), 1..6), 0..8).prop_map(
        move |mut object| {
            for (index, values) in &mut object {
                match table.fields[*index].kind {
                    Kind::TextList => {}
                    Kind::CustomFields => values.truncate(values.len() / 2 * 2),
                    Kind::PassedOver => values.clear(),
                    _ => values.truncate(1),
                }
            }
            object.retain(|_, values| !values.is_empty());
            object
        },
    )
}

fn check(
    function: Function,
    table: &'static ObjectTable,
    objects: &[Object],
    tape: &[u8],
) -> Result<(), TestCaseError> {
    let mut choices = Choices { tape, at: 0 };
    let xml = page(&mut choices, function, table, objects);
    let mut collector = Collector::new(table);
    let answer = rows(function, table, xml.as_bytes(), &mut collector);
    let count = Rows { count: objects.len(), ..Rows::default() };
    prop_assert_eq!(answer, Ok(Answer::Response(count)), "{}", xml);
    for row in &mut collector.rows {
        row.sort_by(|left, right| left.0.cmp(&right.0));
    }
    let wanted: Vec<_> = objects.iter().map(|object| expected(table, object)).collect();
    prop_assert_eq!(&collector.rows, &wanted, "{}", xml);
    for raw in &collector.raw {
        prop_assert!(xml.contains(raw.as_str()) && raw.ends_with('>') && raw.starts_with('<'));
    }
    Ok(())
}

/// Bytes that change the structure of a document, or its texts.
const DAMAGE: &[u8] = b"<>/&; =\"'!?-[]:aid\0\x01\x85\xC3\xFF";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn contacts_decode_to_what_was_written(
        objects in vec(any_object(&CONTACT), 0..4),
        tape in vec(any::<u8>(), 0..64),
    ) {
        check(Function::ReadContacts, &CONTACT, &objects, &tape)?;
    }

    #[test]
    fn lists_decode_to_what_was_written(
        objects in vec(any_object(&LIST), 0..4),
        tape in vec(any::<u8>(), 0..64),
    ) {
        check(Function::ReadLists, &LIST, &objects, &tape)?;
    }

    #[test]
    fn custom_fields_decode_to_what_was_written(
        objects in vec(any_object(&FIELD), 0..4),
        tape in vec(any::<u8>(), 0..64),
    ) {
        check(Function::ReadFields, &FIELD, &objects, &tape)?;
    }

    #[test]
    fn unsubscriptions_decode_to_what_was_written(
        objects in vec(any_object(&UNSUBSCRIBE), 0..4),
        tape in vec(any::<u8>(), 0..64),
    ) {
        check(Function::ReadUnsubscribes, &UNSUBSCRIBE, &objects, &tape)?;
    }

    #[test]
    fn activities_decode_to_what_was_written(
        objects in vec(any_object(&ACTIVITY), 0..4),
        tape in vec(any::<u8>(), 0..64),
    ) {
        check(Function::ReadRecentInboundActivities, &ACTIVITY, &objects, &tape)?;
    }

    /// Elements that are read past the parser give what the parser gives, in whole documents and in damaged ones. A
    /// carriage return anywhere, as here in a comment, leaves everything to the parser.
    #[test]
    fn the_way_past_the_parser_changes_nothing(
        objects in vec(any_object(&CONTACT), 1..4),
        tape in vec(any::<u8>(), 0..64),
        damage in vec((any::<prop::sample::Index>(), select(DAMAGE.to_vec())), 0..4),
    ) {
        let mut choices = Choices { tape: &tape, at: 0 };
        let page = page(&mut choices, Function::ReadContacts, &CONTACT, &objects).replace('\r', " ");
        let root = page.find("Envelope").and_then(|name| page[..name].rfind('<')).unwrap();
        let (before, from_root) = page.split_at(root);
        let mut bytes = format!("{before}<!--\n-->{from_root}").into_bytes();
        for (index, byte) in damage {
            let at = root + 8 + index.index(from_root.len());
            bytes[at] = byte;
        }
        let mut decoded = [b'\n', b'\r'].map(|line_end| {
            bytes[root + 4] = line_end;
            let mut collector = Collector::new(&CONTACT);
            let answer = rows(Function::ReadContacts, &CONTACT, &bytes, &mut collector);
            (answer, collector)
        });
        if decoded[0].0.is_err() {
            decoded.iter_mut().for_each(|(_, collector)| collector.clear());
        }
        prop_assert_eq!(&decoded[0], &decoded[1], "{}", String::from_utf8_lossy(&bytes));
    }

    /// Damage anywhere is an error or costs single objects; it never panics and never invents.
    #[test]
    fn damage_never_panics(
        objects in vec(any_object(&CONTACT), 1..3),
        tape in vec(any::<u8>(), 0..64),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut choices = Choices { tape: &tape, at: 0 };
        let mut bytes = page(&mut choices, Function::ReadContacts, &CONTACT, &objects).into_bytes();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let mut collector = Collector::new(&CONTACT);
        if let Ok(Answer::Response(found)) =
            rows(Function::ReadContacts, &CONTACT, &bytes, &mut collector)
        {
            prop_assert_eq!(found.count, collector.rows.len() + collector.rejects.len());
        }
    }
}

proptest! {
    // Each case decodes a document as often as it has bytes.
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Cut anywhere, or with anything behind its end, an answer is no answer.
    #[test]
    fn no_part_of_an_answer_and_no_more_than_it_is_taken_for_the_whole(
        objects in vec(any_object(&CONTACT), 0..3),
        tape in vec(any::<u8>(), 0..64),
        text in "[a-zA-Z0-9.<&;-]{1,8}",
    ) {
        let mut choices = Choices { tape: &tape, at: 0 };
        let page = page(&mut choices, Function::ReadContacts, &CONTACT, &objects);
        let decode = |bytes: &[u8]| {
            let mut collector = Collector::new(&CONTACT);
            rows(Function::ReadContacts, &CONTACT, bytes, &mut collector).map(|_| collector)
        };
        let whole = decode(page.as_bytes());
        // What may follow the root is layout, and there may be some less of it.
        let root = page.rfind("Envelope>").unwrap() + "Envelope>".len();
        for end in 0..page.len() {
            let part = decode(&page.as_bytes()[..end]);
            prop_assert!(part.is_err() || end >= root && part == whole, "{}", &page[..end]);
        }
        for more in [&page, "<x/>", "</x>", text.as_str()] {
            prop_assert!(decode(format!("{page}{more}").as_bytes()).is_err(), "{page}{more}");
        }
        prop_assert!(decode(text.as_bytes()).is_err());
    }
}
