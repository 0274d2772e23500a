//! From a contact's custom fields to columns.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bronto_client::lexical;
use replication::stream::{Column, ColumnType, StreamSchema};

use super::{CustomField, FieldKind};
use crate::{
    reading::{NumberSyntax, Reading},
    streams::NumberForm,
};

/// The selected custom fields. Their columns come behind a contact's own, in this order.
#[derive(Debug, Default)]
pub(crate) struct CustomColumns {
    fields: Vec<CustomField>,
    /// Whether it was said that a field came which nobody asked for.
    told: AtomicBool,
}

impl CustomColumns {
    pub(crate) fn new(fields: Vec<CustomField>) -> Self {
        Self { fields, told: AtomicBool::new(false) }
    }

    /// The ids to ask for.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.id.clone()).collect()
    }

    /// Adds the columns to the stream's schema.
    pub(crate) fn extend(&self, schema: &mut StreamSchema, numbers: NumberForm) {
        let column_type = |field: &CustomField| match (field.kind.column_type(), numbers) {
            (ColumnType::Number, NumberForm::Lexeme) => ColumnType::Json,
            (other, _) => other,
        };
        let columns =
            self.fields.iter().map(|field| Column::new(field.column.as_str(), column_type(field)));
        schema.columns.extend(columns);
    }

    /// The names of the columns, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.column.as_str())
    }

    /// How the columns are read, in order.
    pub(crate) fn readings(&self, numbers: NumberForm) -> impl Iterator<Item = Reading> {
        // Whatever the field's type says of fractions: a number is a number.
        let syntax = NumberSyntax::Float;
        let reading = move |kind| match (kind, numbers) {
            (FieldKind::Text | FieldKind::Date, _) => Reading::Text,
            (FieldKind::Boolean, _) => Reading::Boolean,
            (FieldKind::Number, NumberForm::Decimal) => Reading::Number(syntax),
            (FieldKind::Number, NumberForm::Lexeme) => Reading::Lexeme(syntax),
        };
        self.fields.iter().map(move |field| reading(field.kind))
    }
}

/// Finds the columns of contents, and what is read from them.
#[derive(Debug, Default)]
pub(crate) struct CustomFiller {
    columns: Arc<CustomColumns>,
    /// The position of the field that is expected next: contacts have their fields in one order.
    next: usize,
    /// A date on its way to its canonical form.
    date: String,
}

impl CustomFiller {
    pub(crate) fn new(columns: Arc<CustomColumns>) -> Self {
        Self { columns, next: 0, date: String::new() }
    }

    /// The next contact begins.
    pub(crate) fn restart(&mut self) {
        self.next = 0;
    }

    /// The position of a field, or none if nobody asked for it.
    pub(crate) fn find(&mut self, id: &str) -> Option<usize> {
        let fields = &self.columns.fields;
        let is = |field: &CustomField| field.id == id;
        let (before, after) = fields.split_at(self.next.min(fields.len()));
        let found = after.iter().position(is).map(|at| at + before.len());
        let Some(found) = found.or_else(|| before.iter().position(is)) else {
            if !self.columns.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "Contacts come with a custom field, `{id}`, that was not asked for; it is left out"
                );
            }
            return None;
        };
        self.next = found + 1;
        Some(found)
    }

    /// The name of the column at a position.
    pub(crate) fn name(&self, position: usize) -> &str {
        self.columns.fields.get(position).map_or("?", |field| &field.column)
    }

    /// The text that a field's content is read from. Nothing but white space is no number, no boolean and no date, so
    /// there it is the absence of a value; an empty text is a text.
    pub(crate) fn read<'a>(&'a mut self, position: usize, content: &'a str) -> Option<&'a str> {
        let kind = self.columns.fields.get(position).map_or(FieldKind::Text, |field| field.kind);
        match kind {
            FieldKind::Text => Some(content),
            _ if content.trim_ascii().is_empty() => None,
            FieldKind::Number | FieldKind::Boolean => Some(content),
            FieldKind::Date => Some(self.canonical(content)),
        }
    }

    /// An instant in its canonical form, as for other dates; a day, or whatever else stands there, as it is.
    fn canonical<'a>(&'a mut self, content: &'a str) -> &'a str {
        match lexical::DateTime::parse(content) {
            Ok(date) if !date.zone_missing() => {
                self.date.clear();
                date.write(&mut self.date);
                &self.date
            }
            _ => content,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use arrow::array::{Array, AsArray, types::Decimal128Type};

    use super::*;
    use crate::columns::ColumnBuilder;

    fn field(id: &str, kind: FieldKind) -> CustomField {
        let text = id.to_owned();
        CustomField {
            id: text.clone(),
            column: format!("column_{id}"),
            kind,
            name: text.clone(),
            bronto_type: text.clone(),
            label: text,
        }
    }

    fn filler(kinds: &[FieldKind]) -> CustomFiller {
        let fields = kinds.iter().enumerate().map(|(at, kind)| field(&format!("id-{at}"), *kind));
        CustomFiller::new(Arc::new(CustomColumns::new(fields.collect())))
    }

    #[test]
    fn fields_are_found_in_any_order() {
        let mut filler = filler(&[FieldKind::Text; 5]);
        let mut positions = |ids: &[&str]| -> Vec<Option<usize>> {
            filler.restart();
            ids.iter().map(|id| filler.find(id)).collect()
        };
        assert_eq!(positions(&["id-0", "id-3", "id-4"]), [Some(0), Some(3), Some(4)]);
        assert_eq!(
            positions(&["id-4", "id-0", "id-0", "id-2"]),
            [Some(4), Some(0), Some(0), Some(2)]
        );
        assert_eq!(positions(&["id-3", "id-5", "id-4", ""]), [Some(3), None, Some(4), None]);
    }

    /// What a content becomes; `-` for no value, `!` for one that doesn't fit.
    fn held(kind: FieldKind, numbers: NumberForm, content: &str) -> String {
        let mut filler = filler(&[kind]);
        let mut column = ColumnBuilder::new(filler.columns.readings(numbers).next().unwrap());
        let Some(text) = filler.read(0, content) else { return "-".to_owned() };
        if let Err((_, flaw)) = column.push(0, text) {
            assert_eq!(column.len(), 0, "the column is as before");
            return format!("! {flaw}");
        }
        let array = column.take();
        assert_eq!((array.len(), array.null_count()), (1, 0));
        match (kind, numbers) {
            (FieldKind::Boolean, _) => array.as_boolean().value(0).to_string(),
            (FieldKind::Number, NumberForm::Decimal) => {
                array.as_primitive::<Decimal128Type>().value(0).to_string()
            }
            _ => array.as_string::<i32>().value(0).to_owned(),
        }
    }

    #[test]
    fn contents_are_kept_exactly_or_refused() {
        use FieldKind::{Boolean, Date, Number, Text};
        let unfit = "! has more digits than a decimal of 38 digits, 9 of them after the point";
        for (kind, content, expected) in [
            (Text, "", ""),
            (Text, " a\u{1}\n", " a\u{1}\n"),
            (Text, "007", "007"),
            (Date, "", "-"),
            (Date, "1985-04-12", "1985-04-12"),
            (Date, "04/12/1985", "04/12/1985"),
            (Date, "1985-04-12T00:00:00.000-05:00", "1985-04-12T05:00:00Z"),
            (Date, "1985-04-12T00:00:00", "1985-04-12T00:00:00"),
            (Date, "1985-02-30T00:00:00Z", "1985-02-30T00:00:00Z"),
            (Number, "", "-"),
            (Number, " \n", "-"),
            (Number, "12.50", "12500000000"),
            (Number, "-0.000000001", "-1"),
            (Number, "1E3", "1000000000000"),
            (Number, "0.0000000001", unfit),
            (Number, "$12", "! is no number"),
            (Number, "1,000", "! is no number"),
            (Number, "NaN", "! is not a number (NaN)"),
            (Boolean, "", "-"),
            (Boolean, "true", "true"),
            (Boolean, "0", "false"),
            (Boolean, "maybe", "! is no boolean"),
        ] {
            assert_eq!(held(kind, NumberForm::Decimal, content), expected, "{kind:?} {content:?}");
        }
        assert_eq!(held(Number, NumberForm::Lexeme, "12.50"), "12.50");
        assert_eq!(held(Number, NumberForm::Lexeme, "0.0000000001"), "0.0000000001");
        assert_eq!(held(Number, NumberForm::Lexeme, " "), "-");
    }
}
