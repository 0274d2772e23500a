//! What holds for every body that a server can send.
//!
//! Reading it never panics. What is accepted reads the same when it is written again in the plainest way, and a part of
//! it is never accepted as something else: a document that was cut off is refused, unless only layout is missing.

use std::borrow::Cow;

use bronto_client::{
    ACTIVITY, CONTACT, Function, Kind, LIST, ObjectTable, RowDefect, RowSink, UNSUBSCRIBE,
    decode::{self, Answer, Rows},
};
use secrecy::ExposeSecret;

const READS: [(Function, &ObjectTable); 5] = [
    (Function::ReadContacts, &CONTACT),
    (Function::ReadRecentInboundActivities, &ACTIVITY),
    (Function::ReadRecentOutboundActivities, &ACTIVITY),
    (Function::ReadLists, &LIST),
    (Function::ReadUnsubscribes, &UNSUBSCRIBE),
];

/// Where a document is cut off to see that its beginning is refused: at so many places, evenly, and near its end.
fn cuts(length: usize, places: usize) -> impl Iterator<Item = usize> {
    let places = places.clamp(1, length.max(1));
    (0..places).map(move |part| part * length / places).chain(length.saturating_sub(24)..length)
}

/// Checks all that holds for a body, cut off at so many places. Panics where something doesn't hold.
pub(crate) fn holds(body: &[u8], places: usize) {
    for (function, table) in READS {
        let Ok(whole) = Page::read(function, table, body) else { continue };
        whole.assert_consistent(body);
        whole.assert_reads_again(function, table);
        for length in cuts(body.len(), places) {
            if let Ok(part) = Page::read(function, table, &body[..length]) {
                assert_eq!(part, whole, "the first {length} bytes of {function} were taken");
            }
        }
    }
    let Ok(whole) = login(body) else { return };
    for length in cuts(body.len(), places) {
        if let Ok(part) = login(&body[..length]) {
            assert_eq!(part, whole, "the first {length} bytes of a login were taken");
        }
    }
}

fn login(body: &[u8]) -> Result<Answer<String>, decode::AnswerDefect> {
    Ok(match decode::session_id(body)? {
        Answer::Response(id) => Answer::Response(id.expose_secret().to_owned()),
        Answer::Fault(fault) => Answer::Fault(fault),
    })
}

/// An answer and what its objects hold.
#[derive(Debug, PartialEq)]
struct Page {
    answer: Option<Answer<Rows>>,
    rows: Vec<Vec<Value>>,
    raw: Vec<String>,
    rejects: Vec<(String, RowDefect)>,
    current: Vec<Value>,
}

#[derive(Debug, PartialEq)]
enum Value {
    Field(usize, String),
    Custom(String, String),
}

impl Page {
    fn read(
        function: Function,
        table: &'static ObjectTable,
        body: &[u8],
    ) -> Result<Self, decode::AnswerDefect> {
        let mut page = Self {
            answer: None,
            rows: Vec::new(),
            raw: Vec::new(),
            rejects: Vec::new(),
            current: Vec::new(),
        };
        page.answer = Some(decode::rows(function, table, body, &mut page)?);
        Ok(page)
    }

    fn assert_consistent(&self, body: &[u8]) {
        let text = String::from_utf8_lossy(body);
        let raw = self.raw.iter().chain(self.rejects.iter().map(|(raw, _)| raw));
        for raw in raw {
            assert!(raw.starts_with('<') && raw.ends_with('>') && text.contains(raw.as_str()));
        }
        match &self.answer {
            Some(Answer::Response(rows)) => {
                assert_eq!(rows.count, self.rows.len() + self.rejects.len());
                assert_eq!(rows.rejected, self.rejects.len());
            }
            _ => assert!(self.current.is_empty(), "a fault has no objects"),
        }
    }

    /// The rows written again, each value in an element of its own, are the same rows.
    fn assert_reads_again(&self, function: Function, table: &'static ObjectTable) {
        let Some(Answer::Response(_)) = self.answer else { return };
        let objects: String = self.rows.iter().map(|row| object(table, row)).collect();
        let again = format!(
            "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body>\
             <b:{function}Response xmlns:b='http://api.bronto.com/v4'>{objects}\
             </b:{function}Response></e:Body></e:Envelope>"
        );
        let again = Page::read(function, table, again.as_bytes());
        let again = again.unwrap_or_else(|defect| panic!("written again: {defect}"));
        assert_eq!((again.rejects.as_slice(), &again.rows), (&[][..], &self.rows));
    }
}

impl RowSink for Page {
    fn clear(&mut self) {
        unreachable!("a decoder doesn't try again");
    }

    fn value(&mut self, field: usize, text: &str) {
        self.current.push(Value::Field(field, text.to_owned()));
    }

    fn custom_field(&mut self, field_id: &str, content: &str) {
        self.current.push(Value::Custom(field_id.to_owned(), content.to_owned()));
    }

    fn end_row(&mut self, raw: &str) {
        self.rows.push(std::mem::take(&mut self.current));
        self.raw.push(raw.to_owned());
    }

    fn reject_row(&mut self, raw: &str, reason: &RowDefect) {
        self.current.clear();
        self.rejects.push((raw.to_owned(), *reason));
    }
}

fn object(table: &ObjectTable, row: &[Value]) -> String {
    let custom = table.fields.iter().find(|field| field.kind == Kind::CustomFields);
    let elements = row.iter().map(|value| match value {
        Value::Field(field, text) => {
            let field = &table.fields[*field];
            let element = format!("<{0}>{1}</{0}>", field.name, escaped(text));
            match field.group {
                Some(group) => format!("<{group}>{element}</{group}>"),
                None => element,
            }
        }
        Value::Custom(id, content) => {
            let name = custom.map_or("", |field| field.name);
            let (id, content) = (escaped(id), escaped(content));
            format!("<{name}><fieldId>{id}</fieldId><content>{content}</content></{name}>")
        }
    });
    format!("<return>{}</return>", elements.collect::<String>())
}

/// Text for an element; a carriage return would be read as a line feed.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '\r']) {
        return Cow::Borrowed(text);
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Cow::Owned(text.replace('\r', "&#13;"))
}
