//! One page of a read: decoded values go straight into columns, and whole rows are kept, dropped or rejected.

use std::sync::Arc;

use bronto_client::{Kind, PlainText, RowDefect, RowSink};
use replication::{reject::ReasonCode, stream::ColumnType};
use singer::LineShape;

use crate::{
    activity_id::{
        COMPATIBLE_FIELDS, Digest16, IdScheme, LOSSLESS_FIELDS, compatible_id, lossless_identity,
    },
    columns::ColumnBuilder,
    custom_fields::{CustomColumns, CustomFiller},
    fingerprint::fingerprint,
    lines::LineBuilder,
    reading::{NumberSyntax, Reading, Unfit, date_time},
    rows::{BuiltRows, RowBuilder},
    streams::{BrontoStream, NumberForm, Origin, RowForm, SelectedStream, StreamColumn},
    window::Window,
};

/// Takes the rows of one page.
#[derive(Debug)]
pub(crate) struct PageSink {
    stream: BrontoStream,
    scheme: IdScheme,
    window: Option<Window>,
    /// Whether rows are only told apart, and not built.
    is_looking: bool,
    /// What to do with each field of the object, by its index.
    uses: Vec<FieldUse>,
    /// Columns of the object's own fields, then those of custom fields.
    rows: RowBuilder,
    custom: CustomFiller,
    /// Where the custom fields' columns begin.
    first_custom: usize,
    /// Columns that must have a value, with their names.
    required: Vec<(usize, &'static str)>,
    /// Which of the texts that identify a row are those of such columns.
    identifying: Vec<usize>,
    /// A key column whose absent value is the empty text, because a key can't be null.
    empty_if_absent: Option<usize>,
    /// The row that is being received.
    current: CurrentRow,
    page: PageCounts,
    marks: Vec<RowMark>,
    /// What a row's key is made of, while it is.
    marked: Vec<u8>,
    rejects: Vec<PageReject>,
}

/// What becomes of a field's text.
#[derive(Clone, Copy, Debug, Default)]
struct FieldUse {
    column: Option<u16>,
    identity: Option<u16>,
    is_replication_key: bool,
}

/// What is known of a row before it is complete.
#[derive(Debug, Default)]
struct CurrentRow {
    /// The texts that identify the row, end to end, and where each lies.
    texts: String,
    spans: Vec<Option<(usize, usize)>>,
    /// The second of its replication key.
    second: Option<i64>,
    /// The first value that doesn't fit, by its field; custom fields count on from the object's own.
    unfit: Option<(usize, Unfit)>,
}

impl CurrentRow {
    /// Takes a text that identifies the row.
    fn identify(&mut self, slot: usize, text: &str) {
        let start = self.texts.len();
        self.texts.push_str(text);
        self.spans[slot] = Some((start, self.texts.len()));
    }
}

/// Figures of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageCounts {
    /// Rows that are kept.
    pub(crate) kept: usize,
    /// Objects received.
    pub(crate) read: u64,
    /// Of those, dropped because they belong to another window.
    pub(crate) out_of_window: u64,
    /// The earliest second of a dropped row.
    pub(crate) earliest_outside: Option<i64>,
    /// Of those kept, without a replication key.
    pub(crate) undated: u64,
    /// Whether a date without a zone was taken as UTC.
    pub(crate) zone_missing: bool,
}

/// What tells a row from others, wherever it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowMark {
    /// For activities the identity (or compatible id); for others a fingerprint of id and replication key.
    pub(crate) key: Digest16,
    /// A hash of the object's text, of an activity; others are told apart by their keys alone.
    pub(crate) content: u64,
    /// The second of its replication key; the latest there is for a row that has none, so that it is remembered longest.
    pub(crate) second: i64,
}

impl RowMark {
    /// Whether the row has a replication key.
    pub(crate) fn is_dated(&self) -> bool {
        self.second != i64::MAX
    }
}

/// An object that can't be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageReject {
    pub(crate) code: ReasonCode,
    pub(crate) reason: String,
    pub(crate) raw: String,
    /// How many rows of the page were kept before it.
    pub(crate) position: usize,
    /// What tells it from others, if it could be read to its end and has its key.
    pub(crate) mark: Option<RowMark>,
}

/// A page, complete.
#[derive(Debug)]
pub(crate) struct PageRows {
    pub(crate) counts: PageCounts,
    /// Those that are kept, unless the page was only looked at. Columns are in the order of the selection, custom fields
    /// last.
    pub(crate) built: BuiltRows,
    /// One for each kept row.
    pub(crate) marks: Vec<RowMark>,
    pub(crate) rejects: Vec<PageReject>,
}

impl PageSink {
    /// A sink for the rows of a stream with these custom fields.
    pub(crate) fn new(
        selected: &SelectedStream,
        custom: &Arc<CustomColumns>,
        scheme: IdScheme,
        form: RowForm,
    ) -> Self {
        let stream = selected.stream();
        let fields = stream.object().fields;
        let mut uses = vec![FieldUse::default(); fields.len()];
        let mut readings = Vec::new();
        let mut required = Vec::new();
        let mut empty_if_absent = None;
        for column in selected.columns() {
            let Origin::Field(index) = column.origin else { continue };
            uses[index].column = u16::try_from(readings.len()).ok();
            if stream == BrontoStream::Unsubscribe && column.name == "deliveryId" {
                empty_if_absent = Some(readings.len());
            } else if stream.key().contains(&column.name) {
                required.push((readings.len(), column.name));
            }
            readings.push(reading(column, fields[index].kind, form.numbers()));
        }
        let identity = identity_fields(stream, scheme);
        let is_required = |(_, name): &(usize, &&str)| required.iter().any(|(_, key)| key == *name);
        let identifying = identity.iter().enumerate().filter(is_required).map(|(slot, _)| slot);
        let identifying = identifying.collect();
        for (slot, name) in identity.iter().enumerate() {
            if let Some(index) = stream.object().index_of(name) {
                uses[index].identity = u16::try_from(slot).ok();
            }
        }
        let replication_key =
            stream.replication_key().and_then(|name| stream.object().index_of(name));
        if let Some(index) = replication_key {
            uses[index].is_replication_key = true;
        }
        let first_custom = readings.len();
        readings.extend(custom.readings(form.numbers()));
        let rows = if form.is_lines(selected) {
            let shape = line_shape(selected, custom);
            RowBuilder::Lines(Box::new(LineBuilder::new(shape, readings)))
        } else {
            RowBuilder::Columns(readings.into_iter().map(ColumnBuilder::new).collect())
        };
        Self {
            stream,
            scheme,
            window: None,
            is_looking: false,
            uses,
            first_custom,
            rows,
            custom: CustomFiller::new(Arc::clone(custom)),
            required,
            identifying,
            empty_if_absent,
            current: CurrentRow { spans: vec![None; identity.len()], ..CurrentRow::default() },
            page: PageCounts::default(),
            marks: Vec::new(),
            marked: Vec::new(),
            rejects: Vec::new(),
        }
    }

    /// Sets the window outside of which rows are dropped; none keeps all.
    pub(crate) fn set_window(&mut self, window: Option<Window>) {
        self.window = window;
    }

    /// Sets whether rows are only told apart, by their keys, and not built: then all are kept that can be read and have a
    /// key, and whether all their values fit is of no interest.
    pub(crate) fn set_looking(&mut self, is_looking: bool) {
        self.is_looking = is_looking;
    }

    /// Takes the page; the sink is empty then.
    pub(crate) fn take(&mut self) -> PageRows {
        // The next page probably has as many.
        let marks = Vec::with_capacity(self.marks.len());
        PageRows {
            counts: std::mem::take(&mut self.page),
            built: if self.is_looking { BuiltRows::default() } else { self.rows.take() },
            marks: std::mem::replace(&mut self.marks, marks),
            rejects: std::mem::take(&mut self.rejects),
        }
    }

    fn is_outside(&self) -> bool {
        match (self.window, self.current.second) {
            (Some(window), Some(second)) => !window.contains_second(second),
            _ => false,
        }
    }

    /// Whether the complete row has all that tells it from others. Any number of rows without it can be alike.
    fn is_identified(&self) -> bool {
        self.identifying.iter().all(|slot| self.current.spans[*slot].is_some())
    }

    /// Why the complete row can't be kept, if so.
    fn flaw(&self) -> Option<(ReasonCode, String)> {
        if let Some((field, (code, flaw))) = self.current.unfit {
            let own = self.stream.object().fields;
            let custom = || self.custom.name(field - own.len());
            let name = own.get(field).map_or_else(custom, |field| field.name);
            return Some((code, format!("`{name}` {flaw}")));
        }
        let row = self.page.kept;
        let missing = self.required.iter().find(|(column, _)| !self.rows.has(*column, row));
        missing
            .map(|(_, name)| (ReasonCode::MissingKey, format!("The key field `{name}` is absent")))
    }

    fn reject(&mut self, code: ReasonCode, reason: String, raw: &str, mark: Option<RowMark>) {
        self.take_back();
        let position = self.page.kept;
        self.rejects.push(PageReject { code, reason, raw: raw.to_owned(), position, mark });
    }

    /// What tells the complete row from others.
    fn mark(&mut self, raw: &str) -> RowMark {
        RowMark {
            key: self.mark_key(),
            content: if self.stream.is_activity() { content(raw) } else { 0 },
            second: self.current.second.unwrap_or(i64::MAX),
        }
    }

    /// How many rows were kept so far.
    pub(crate) fn kept(&self) -> usize {
        self.page.kept
    }

    /// The reject that came last.
    pub(crate) fn last_reject(&mut self) -> Option<PageReject> {
        self.rejects.pop()
    }

    /// Keeps only the first rows.
    pub(crate) fn back_to(&mut self, kept: usize) {
        self.page.kept = kept;
        self.marks.truncate(kept);
        self.rows.take_back(self.page.kept);
        self.begin_row();
    }

    /// Takes back what there is of the row that is being received.
    fn take_back(&mut self) {
        if !self.is_looking {
            self.rows.take_back(self.page.kept);
        }
    }

    fn drop_row(&mut self) {
        self.take_back();
        self.page.out_of_window += 1;
        let earliest = &mut self.page.earliest_outside;
        *earliest = [*earliest, self.current.second].into_iter().flatten().min();
    }

    fn keep(&mut self, raw: &str) {
        if !self.is_looking {
            self.rows.end_row(self.page.kept);
        }
        if !self.current.spans.is_empty() {
            let mark = self.mark(raw);
            self.marks.push(mark);
        }
        if self.stream.replication_key().is_some() && self.current.second.is_none() {
            self.page.undated += 1;
        }
        self.page.kept += 1;
    }

    fn mark_key(&mut self) -> Digest16 {
        let text = |slot: usize| {
            let (start, end) = self.current.spans.get(slot).copied().flatten()?;
            self.current.texts.get(start..end)
        };
        if !self.stream.is_activity() {
            let marked = &mut self.marked;
            marked.clear();
            marked.extend_from_slice(&self.current.second.unwrap_or(i64::MAX).to_be_bytes());
            for slot in 0..self.current.spans.len() {
                let text = text(slot).unwrap_or_default();
                marked.extend_from_slice(&text.len().to_be_bytes());
                marked.extend_from_slice(text.as_bytes());
            }
            return fingerprint(marked).to_be_bytes();
        }
        match self.scheme {
            IdScheme::Lossless => lossless_identity(&std::array::from_fn(text)),
            IdScheme::Compatible => compatible_id(&std::array::from_fn(text)),
        }
    }

    fn begin_row(&mut self) {
        self.current.texts.clear();
        self.current.spans.fill(None);
        self.current.second = None;
        self.current.unfit = None;
        self.custom.restart();
    }

    /// Takes the replication key, which is read once for all that need it, and writes it as the identity wants it.
    fn replication_key(
        &mut self,
        field: usize,
        usage: FieldUse,
        text: &str,
        plain: Option<PlainText<'_>>,
    ) {
        let date = date_time(text);
        if let Some(column) = usage.column
            && !self.is_looking
            && let Err(unfit) = self.rows.push_date(column.into(), self.page.kept, date, plain)
        {
            self.current.unfit.get_or_insert((field, unfit));
        }
        let Ok(date) = date else { return };
        self.current.second = Some(date.seconds());
        self.page.zone_missing |= date.zone_missing();
        if let Some(slot) = usage.identity {
            let start = self.current.texts.len();
            match self.scheme {
                // The second is part of what tells them apart anyway.
                _ if !self.stream.is_activity() => self.current.texts.push_str(date.fraction()),
                IdScheme::Compatible => self.current.texts.push_str(text),
                IdScheme::Lossless => date.write(&mut self.current.texts),
            }
            self.current.spans[usize::from(slot)] = Some((start, self.current.texts.len()));
        }
    }
}

impl RowSink for PageSink {
    fn clear(&mut self) {
        self.rows.take_back(0);
        self.page = PageCounts::default();
        self.marks.clear();
        self.rejects.clear();
        self.begin_row();
    }

    fn expect(&mut self, bytes: usize) {
        self.rows.expect(bytes);
    }

    #[inline]
    fn value(&mut self, field: usize, text: &str) {
        let Some(&usage) = self.uses.get(field) else { return };
        if usage.is_replication_key {
            return self.replication_key(field, usage, text, None);
        }
        if let Some(slot) = usage.identity {
            self.current.identify(slot.into(), text);
        }
        if let Some(column) = usage.column
            && !self.is_looking
            && let Err(unfit) = self.rows.push(column.into(), self.page.kept, text)
        {
            self.current.unfit.get_or_insert((field, unfit));
        }
    }

    #[inline]
    fn plain_value(&mut self, field: usize, text: PlainText<'_>) {
        let Some(&usage) = self.uses.get(field) else { return };
        if usage.is_replication_key {
            return self.replication_key(field, usage, text.as_str(), Some(text));
        }
        if let Some(slot) = usage.identity {
            self.current.identify(slot.into(), text.as_str());
        }
        if let Some(column) = usage.column
            && !self.is_looking
            && let Err(unfit) = self.rows.push_plain(column.into(), self.page.kept, text)
        {
            self.current.unfit.get_or_insert((field, unfit));
        }
    }

    fn custom_field(&mut self, field_id: &str, content: &str) {
        if self.is_looking {
            return;
        }
        let Some(position) = self.custom.find(field_id) else { return };
        let column = self.first_custom + position;
        let filled = match self.custom.read(position, content) {
            Some(text) => self.rows.push(column, self.page.kept, text),
            None => self.rows.push_absent(column, self.page.kept),
        };
        if let Err(unfit) = filled {
            let field = self.stream.object().fields.len() + position;
            self.current.unfit.get_or_insert((field, unfit));
        }
    }

    fn end_row(&mut self, raw: &str) {
        self.page.read += 1;
        if self.is_outside() {
            self.drop_row();
        } else if self.is_looking {
            if self.is_identified() {
                self.keep(raw);
            }
        } else {
            if let Some(column) = self.empty_if_absent
                && !self.rows.has(column, self.page.kept)
                && let Err(unfit) = self.rows.push(column, self.page.kept, "")
            {
                self.current.unfit.get_or_insert((column, unfit));
            }
            match self.flaw() {
                Some((code, reason)) => {
                    let mark = self.is_identified().then(|| self.mark(raw));
                    self.reject(code, reason, raw, mark);
                }
                None => self.keep(raw),
            }
        }
        self.begin_row();
    }

    fn reject_row(&mut self, raw: &str, reason: &RowDefect) {
        self.page.read += 1;
        if self.is_outside() {
            self.drop_row();
        } else {
            self.reject(ReasonCode::Undecodable, reason.to_string(), raw, None);
        }
        self.begin_row();
    }
}

/// The line of a row: the activity's id, which is made of other fields, stands in front.
fn line_shape(selected: &SelectedStream, custom: &CustomColumns) -> LineShape {
    let own = selected.columns().iter();
    let own = own.filter(|column| matches!(column.origin, Origin::Field(_)));
    let names = own.map(|column| column.name).chain(custom.names());
    let lead = selected.stream().is_activity().then_some(("id", 2 * size_of::<Digest16>()));
    LineShape::new(selected.stream().name(), lead, names)
}

/// The fields that tell rows of a stream apart.
fn identity_fields(stream: BrontoStream, scheme: IdScheme) -> &'static [&'static str] {
    match (stream, scheme) {
        (BrontoStream::Contact, _) => &["id", "modified"],
        (BrontoStream::List, _) => &["id"],
        (BrontoStream::Unsubscribe, _) => {
            &["contactId", "deliveryId", "method", "complaint", "created"]
        }
        (_, IdScheme::Lossless) => &LOSSLESS_FIELDS,
        (_, IdScheme::Compatible) => &COMPATIBLE_FIELDS,
    }
}

/// Compared only between rows of one mark, and between rejects, which are few: half a fingerprint is enough.
fn content(raw: &str) -> u64 {
    fingerprint(raw.as_bytes()) as u64
}

/// How a field's text becomes a value of its column.
fn reading(column: &StreamColumn, kind: Kind, numbers: NumberForm) -> Reading {
    let syntax = match kind {
        Kind::Integer => NumberSyntax::Integer,
        Kind::Float => NumberSyntax::Float,
        _ => NumberSyntax::Decimal,
    };
    match (&column.column_type, numbers) {
        (ColumnType::Timestamp, _) => Reading::Timestamp,
        (ColumnType::Boolean, _) => Reading::Boolean,
        (ColumnType::Integer, _) => Reading::Integer,
        (ColumnType::Number, NumberForm::Decimal) => Reading::Number(syntax),
        (ColumnType::Number, NumberForm::Lexeme) => Reading::Lexeme(syntax),
        (ColumnType::List(_), _) => Reading::TextList,
        (ColumnType::Text | ColumnType::Json | ColumnType::Objects(_), _)
            if kind == Kind::DateTime =>
        {
            Reading::DateText
        }
        (ColumnType::Text | ColumnType::Json | ColumnType::Objects(_), _) => Reading::Text,
    }
}

#[cfg(test)]
mod forms;
#[cfg(test)]
mod tests;
