//! Columns under construction: the text of an element goes straight into the memory of an Arrow array.
//!
//! Arrow's own builders can't take a row back, and rows are taken back when they turn out to be outside the window or
//! can't be kept. So each column here is a plain vector that can be cut to an earlier length, and becomes an Arrow array
//! without a copy.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListArray, StringArray,
        TimestampMicrosecondArray,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Field},
};
use bronto_client::lexical;
use replication::{
    reject::ReasonCode,
    stream::{NUMBER_PRECISION, NUMBER_SCALE},
};

use crate::reading::{
    CAME_TWICE, Reading, Unfit, boolean, date_time, decimal, integer, lexeme, microseconds,
};

/// A column under construction.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    reading: Reading,
    values: Values,
    /// Whether each row has a value.
    valid: Vec<bool>,
    nulls: usize,
}

#[derive(Debug)]
enum Values {
    Text(Texts),
    Integers(Vec<i64>),
    Decimals(Vec<i128>),
    Booleans(Vec<bool>),
    Lists {
        items: Texts,
        /// Where each row's items end; begins with 0.
        ends: Vec<i32>,
    },
}

/// Texts end to end.
#[derive(Debug)]
struct Texts {
    bytes: String,
    /// Where each text ends; begins with 0.
    ends: Vec<i32>,
}

impl Texts {
    fn with_capacity(count: usize, bytes: usize) -> Self {
        let mut ends = Vec::with_capacity(count + 1);
        ends.push(0);
        Self { bytes: String::with_capacity(bytes), ends }
    }

    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    fn push(&mut self, write: impl FnOnce(&mut String)) -> Result<(), Unfit> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        match i32::try_from(self.bytes.len()) {
            Ok(end) => {
                self.ends.push(end);
                Ok(())
            }
            Err(_) => {
                self.bytes.truncate(start);
                Err((ReasonCode::TooLarge, "is too long for its page"))
            }
        }
    }

    fn truncate(&mut self, count: usize) {
        self.ends.truncate(count + 1);
        let end = self.ends.last().copied().unwrap_or_default();
        self.bytes.truncate(usize::try_from(end).unwrap_or_default());
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let next = Self::with_capacity(
            self.len() + self.len() / 8,
            self.bytes.len() + self.bytes.len() / 8,
        );
        let Self { bytes, ends } = std::mem::replace(self, next);
        (OffsetBuffer::new(ScalarBuffer::from(ends)), Buffer::from_vec(bytes.into_bytes()))
    }
}

impl ColumnBuilder {
    pub(crate) fn new(reading: Reading) -> Self {
        let values = match reading {
            Reading::Text | Reading::DateText | Reading::Lexeme(_) => {
                Values::Text(Texts::with_capacity(0, 0))
            }
            Reading::Timestamp | Reading::Integer => Values::Integers(Vec::new()),
            Reading::Number(_) => Values::Decimals(Vec::new()),
            Reading::Boolean => Values::Booleans(Vec::new()),
            Reading::TextList => Values::Lists { items: Texts::with_capacity(0, 0), ends: vec![0] },
        };
        Self { reading, values, valid: Vec::new(), nulls: 0 }
    }

    /// Rows that have a value or are known to have none.
    pub(crate) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Reads `text` as the value of row `row`, the first that is not complete.
    ///
    /// # Errors
    /// [`Unfit`] when the text is no such value; the column is then as before.
    pub(crate) fn push(&mut self, row: usize, text: &str) -> Result<(), Unfit> {
        if let (Reading::TextList, Values::Lists { items, ends }) = (self.reading, &mut self.values)
        {
            items.push(|bytes| bytes.push_str(text))?;
            if self.valid.len() == row {
                self.valid.push(true);
                ends.push(0);
            }
            if let (Some(end), Ok(count)) = (ends.last_mut(), i32::try_from(items.len())) {
                *end = count;
            }
            return Ok(());
        }
        if self.valid.len() != row {
            return Err(CAME_TWICE);
        }
        self.push_single(text)?;
        self.valid.push(true);
        Ok(())
    }

    /// Takes a date-time that was read already as the value of row `row`, as [`ColumnBuilder::push`] does.
    ///
    /// # Errors
    /// [`Unfit`] when the column can't hold it, or when it is none.
    pub(crate) fn push_date(
        &mut self,
        row: usize,
        date: Result<lexical::DateTime<'_>, Unfit>,
    ) -> Result<(), Unfit> {
        if self.valid.len() != row {
            return Err(CAME_TWICE);
        }
        self.push_single_date(date?)?;
        self.valid.push(true);
        Ok(())
    }

    fn push_single_date(&mut self, date: lexical::DateTime<'_>) -> Result<(), Unfit> {
        match &mut self.values {
            Values::Text(texts) => texts.push(|bytes| date.write(bytes)),
            Values::Integers(integers) => {
                integers.push(microseconds(date)?);
                Ok(())
            }
            Values::Decimals(_) | Values::Booleans(_) | Values::Lists { .. } => Ok(()),
        }
    }

    fn push_single(&mut self, text: &str) -> Result<(), Unfit> {
        if matches!(self.reading, Reading::DateText | Reading::Timestamp) {
            return self.push_single_date(date_time(text)?);
        }
        match (&mut self.values, self.reading) {
            (Values::Text(texts), Reading::Lexeme(syntax)) => {
                let number = lexeme(text, syntax)?;
                texts.push(|bytes| bytes.push_str(&number))
            }
            (Values::Text(texts), _) => texts.push(|bytes| bytes.push_str(text)),
            (Values::Integers(integers), _) => {
                integers.push(integer(text)?);
                Ok(())
            }
            (Values::Decimals(decimals), Reading::Number(syntax)) => {
                decimals.push(decimal(text, syntax)?);
                Ok(())
            }
            (Values::Booleans(booleans), _) => {
                booleans.push(boolean(text)?);
                Ok(())
            }
            (Values::Decimals(_) | Values::Lists { .. }, _) => Ok(()),
        }
    }

    /// Completes row `row`: without a value if none came.
    pub(crate) fn complete(&mut self, row: usize) {
        if self.valid.len() > row {
            return;
        }
        self.valid.push(false);
        self.nulls += 1;
        match &mut self.values {
            Values::Text(texts) => {
                let end = texts.ends.last().copied().unwrap_or_default();
                texts.ends.push(end);
            }
            Values::Integers(integers) => integers.push(0),
            Values::Decimals(decimals) => decimals.push(0),
            Values::Booleans(booleans) => booleans.push(false),
            Values::Lists { ends, .. } => {
                let end = ends.last().copied().unwrap_or_default();
                ends.push(end);
            }
        }
    }

    /// Takes back everything from row `row` on.
    pub(crate) fn truncate(&mut self, row: usize) {
        let Some(removed) = self.valid.get(row..) else { return };
        self.nulls -= removed.iter().filter(|valid| !**valid).count();
        self.valid.truncate(row);
        match &mut self.values {
            Values::Text(texts) => texts.truncate(row),
            Values::Integers(integers) => integers.truncate(row),
            Values::Decimals(decimals) => decimals.truncate(row),
            Values::Booleans(booleans) => booleans.truncate(row),
            Values::Lists { items, ends } => {
                ends.truncate(row + 1);
                let end = ends.last().copied().unwrap_or_default();
                items.truncate(usize::try_from(end).unwrap_or_default());
            }
        }
    }

    /// The column as an array; the builder is empty then, with room for as much again.
    pub(crate) fn take(&mut self) -> ArrayRef {
        if self.valid.is_empty() {
            // Full pages and empty ones alternate: the room stays for the next full one.
            return Self::new(self.reading).take_values();
        }
        self.take_values()
    }

    /// Gives up the room for another page.
    pub(crate) fn release(&mut self) {
        *self = Self::new(self.reading);
    }

    fn take_values(&mut self) -> ArrayRef {
        let next = Vec::with_capacity(self.valid.len() + self.valid.len() / 8);
        let valid = std::mem::replace(&mut self.valid, next);
        let has_nulls = std::mem::take(&mut self.nulls) > 0;
        let nulls = has_nulls.then(|| NullBuffer::new(BooleanBuffer::from(valid)));
        match &mut self.values {
            Values::Text(texts) => {
                let (offsets, bytes) = texts.take();
                Arc::new(StringArray::new(offsets, bytes, nulls))
            }
            Values::Integers(integers) => {
                let values = ScalarBuffer::from(take_vec(integers));
                match self.reading {
                    Reading::Timestamp => {
                        Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone("UTC"))
                    }
                    _ => Arc::new(Int64Array::new(values, nulls)),
                }
            }
            Values::Decimals(decimals) => {
                let values = ScalarBuffer::from(take_vec(decimals));
                let array = Decimal128Array::new(values, nulls)
                    .with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE)
                    .expect("38 digits are a decimal's greatest precision");
                Arc::new(array)
            }
            Values::Booleans(booleans) => {
                Arc::new(BooleanArray::new(BooleanBuffer::from(take_vec(booleans)), nulls))
            }
            Values::Lists { items, ends } => {
                let (offsets, bytes) = items.take();
                let items = StringArray::new(offsets, bytes, None);
                let mut next = Vec::with_capacity(ends.len() + ends.len() / 8);
                next.push(0);
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, next)));
                let field = Arc::new(Field::new("item", DataType::Utf8, true));
                Arc::new(ListArray::new(field, offsets, Arc::new(items), nulls))
            }
        }
    }
}

fn take_vec<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len() + values.len() / 8);
    std::mem::replace(values, next)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use arrow::array::{Array, AsArray, types::Decimal128Type};
    use proptest::prelude::*;

    use super::*;
    use crate::reading::NumberSyntax;

    #[test]
    fn a_row_can_be_taken_back_whole() {
        for (reading, text) in [
            (Reading::Text, "a"),
            (Reading::DateText, "2019-03-04T14:05:09.50-05:00"),
            (Reading::Timestamp, "2019-03-04T14:05:09.50-05:00"),
            (Reading::Boolean, "true"),
            (Reading::Integer, "7"),
            (Reading::Number(NumberSyntax::Decimal), "89.90"),
            (Reading::Lexeme(NumberSyntax::Float), "8.990E1"),
            (Reading::TextList, "x"),
        ] {
            let mut column = ColumnBuilder::new(reading);
            column.push(0, text).unwrap();
            column.complete(0);
            column.complete(1);
            let mut kept = ColumnBuilder::new(reading);
            kept.push(0, text).unwrap();
            kept.complete(1);
            for given_up in [Some(text), None] {
                if let Some(text) = given_up {
                    column.push(2, text).unwrap();
                }
                column.complete(2);
                column.complete(3);
                column.truncate(2);
            }
            let array = column.take();
            assert_eq!(&array, &kept.take(), "{reading:?}");
            assert_eq!((array.len(), array.null_count()), (2, 1), "{reading:?}");
            assert_eq!((column.len(), column.take().len()), (0, 0));
        }
    }

    #[test]
    fn dates_are_canonical_and_exact() {
        let mut column = ColumnBuilder::new(Reading::DateText);
        column.push(0, "2019-03-04T14:05:09.1234567890-05:00").unwrap();
        assert_eq!(column.take().as_string::<i32>().value(0), "2019-03-04T19:05:09.123456789Z");
        let mut column = ColumnBuilder::new(Reading::Timestamp);
        assert_eq!(
            column.push(0, "2019-03-04T19:05:09.1234567Z").unwrap_err().0,
            ReasonCode::TimestampRange
        );
        column.push(0, "2019-03-04T19:05:09.1234560Z").unwrap();
    }

    #[test]
    fn numbers_are_exact_or_refused() {
        let push = |syntax, text| {
            let mut column = ColumnBuilder::new(Reading::Number(syntax));
            column.push(0, text)?;
            Ok::<i128, Unfit>(column.take().as_primitive::<Decimal128Type>().value(0))
        };
        assert_eq!(push(NumberSyntax::Integer, "184"), Ok(184_000_000_000));
        assert_eq!(push(NumberSyntax::Decimal, "78.1125"), Ok(78_112_500_000));
        assert_eq!(push(NumberSyntax::Float, "3.1245E2"), Ok(312_450_000_000));
        for (syntax, text, code) in [
            (NumberSyntax::Float, "NaN", ReasonCode::NumberRange),
            (NumberSyntax::Float, "-INF", ReasonCode::NumberRange),
            (NumberSyntax::Decimal, "0.0000000001", ReasonCode::NumberRange),
            (NumberSyntax::Decimal, "1e3", ReasonCode::WrongType),
            (NumberSyntax::Integer, "1.5", ReasonCode::WrongType),
            (NumberSyntax::Integer, "9223372036854775808", ReasonCode::NumberRange),
        ] {
            assert_eq!(push(syntax, text).unwrap_err().0, code, "{text}");
        }
    }

    #[test]
    fn lexemes_keep_their_digits() {
        let mut column = ColumnBuilder::new(Reading::Lexeme(NumberSyntax::Decimal));
        for (row, text) in ["89.90", " +007.10 "].into_iter().enumerate() {
            column.push(row, text).unwrap();
        }
        let array = column.take();
        assert_eq!(
            (array.as_string::<i32>().value(0), array.as_string::<i32>().value(1)),
            ("89.90", "7.10")
        );
    }

    proptest! {
        #[test]
        fn lists_keep_their_items(rows in prop::collection::vec((any::<bool>(), prop::collection::vec(".{0,3}", 0..4)), 0..12)) {
            let mut column = ColumnBuilder::new(Reading::TextList);
            let mut expected = Vec::new();
            for (keep, items) in &rows {
                let row = expected.len();
                for item in items {
                    column.push(row, item).unwrap();
                }
                column.complete(row);
                if *keep {
                    expected.push(items.clone());
                } else {
                    column.truncate(row);
                }
            }
            let array = column.take();
            let lists = array.as_list::<i32>();
            let read: Vec<Vec<String>> = (0..lists.len())
                .map(|row| lists.value(row).as_string::<i32>().iter().flatten().map(str::to_owned).collect())
                .collect();
            prop_assert_eq!(read, expected);
        }
    }
}
