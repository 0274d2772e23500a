//! A stream with the columns that were chosen from it.

use replication::stream::{Column, ColumnType, Method, StreamName, StreamSchema};

use super::{BrontoStream, StreamColumn};
use crate::{
    custom_fields::{CustomSelection, CustomWish},
    nearest,
};

/// How numbers are carried in batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberForm {
    /// As exact decimals, for destinations.
    #[default]
    Decimal,
    /// As JSON numbers with the digits that Bronto sent, trailing zeros included, for Singer messages. The columns are
    /// then of type [`ColumnType::Json`].
    Lexeme,
}

/// How rows leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowForm {
    /// As columns.
    Columns(NumberForm),
    /// As lines, where the stream's rows can come as such.
    Lines,
}

impl RowForm {
    /// How numbers are carried.
    pub(crate) fn numbers(self) -> NumberForm {
        match self {
            Self::Columns(numbers) => numbers,
            Self::Lines => NumberForm::Lexeme,
        }
    }

    /// Whether the stream's rows leave as lines. Lists and unsubscriptions are few, and their rows are
    /// looked into; those of full tables bear a version.
    pub(crate) fn is_lines(self, selected: &SelectedStream) -> bool {
        let stream = selected.stream();
        self == Self::Lines
            && (stream == BrontoStream::Contact || stream.is_activity())
            && !selected.is_read_whole()
    }
}

/// A stream and its selected columns, in schema order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedStream {
    stream: BrontoStream,
    columns: Vec<StreamColumn>,
    custom: CustomSelection,
    method: Method,
}

/// A column that the stream doesn't have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Stream `{stream}` has no column `{column}`{}", nearest::suggestion(.nearest.as_deref()))]
pub struct UnknownColumn {
    /// The stream.
    pub stream: &'static str,
    /// The column asked for.
    pub column: String,
    /// The name that was probably meant.
    pub nearest: Option<String>,
}

/// A replication method that a stream can't be read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` can't be replicated {}: {}", .stream.name(), manner(*.method), self.reason())]
pub struct UnfitMethod {
    /// The stream.
    pub stream: BrontoStream,
    /// The method asked for.
    pub method: Method,
}

fn manner(method: Method) -> &'static str {
    match method {
        Method::Incremental => "incrementally",
        Method::FullTable => "as a full table",
    }
}

impl UnfitMethod {
    /// Why not.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.method {
            Method::Incremental => {
                "Bronto has no date to select lists by, so every run reads them all"
            }
            Method::FullTable => {
                "Bronto gives the activities of the last 30 days only, and with each run the older ones would go"
            }
        }
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self.method {
            Method::Incremental => "Leave its method out",
            Method::FullTable => {
                "Leave its method out; `--full-refresh` reads again what Bronto still has, and keeps the rest"
            }
        }
    }
}

impl SelectedStream {
    /// The whole stream, with all custom fields that there are.
    #[must_use]
    pub fn all(stream: BrontoStream) -> Self {
        let custom = match stream {
            BrontoStream::Contact => CustomSelection::All,
            _ => CustomSelection::NONE,
        };
        Self { stream, columns: stream.columns(), custom, method: stream.method() }
    }

    /// The same with other custom fields. Only contacts have any.
    #[must_use]
    pub fn with_custom_fields(mut self, custom: CustomSelection) -> Self {
        if self.stream == BrontoStream::Contact {
            self.custom = custom;
        }
        self
    }

    /// The stream with these columns; keys and the replication key always come along. A name that contacts don't have
    /// of their own is that of a custom field, which the account will be asked for.
    ///
    /// # Errors
    /// [`UnknownColumn`] for a name that the stream doesn't have and no custom field can have.
    pub fn with_columns<'a>(
        stream: BrontoStream,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, UnknownColumn> {
        let names: Vec<&str> = names.into_iter().collect();
        let mut columns = stream.columns();
        let unknown =
            names.iter().filter(|name| !columns.iter().any(|column| column.name == **name));
        let mut custom = Vec::new();
        for unknown in unknown {
            if stream == BrontoStream::Contact {
                custom.push(CustomWish::named(*unknown));
                continue;
            }
            return Err(UnknownColumn {
                stream: stream.name(),
                column: (*unknown).to_owned(),
                nearest: nearest::name(unknown, columns.iter().map(|column| column.name)),
            });
        }
        columns.retain(|column| stream.is_automatic(column.name) || names.contains(&column.name));
        let custom = CustomSelection::Only(custom);
        Ok(Self { stream, columns, custom, method: stream.method() })
    }

    /// The same by another method.
    ///
    /// # Errors
    /// [`UnfitMethod`] where the stream can't be read by it.
    pub fn with_method(mut self, method: Method) -> Result<Self, UnfitMethod> {
        let stream = self.stream;
        if !stream.methods().contains(&method) {
            return Err(UnfitMethod { stream, method });
        }
        self.method = method;
        Ok(self)
    }

    /// How it is replicated.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Whether every run reads all of it.
    pub(crate) fn is_read_whole(&self) -> bool {
        self.method == Method::FullTable
    }

    /// Whether it is so by choice, and not because what is new can't be selected.
    #[must_use]
    pub fn is_chosen_whole(&self) -> bool {
        self.is_read_whole() && self.stream.method() == Method::Incremental
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> BrontoStream {
        self.stream
    }

    /// The selected columns, custom fields aside.
    #[must_use]
    pub fn columns(&self) -> &[StreamColumn] {
        &self.columns
    }

    /// Which custom fields are selected.
    #[must_use]
    pub fn custom_fields(&self) -> &CustomSelection {
        &self.custom
    }

    /// Whether a column is selected, custom fields aside.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|candidate| candidate.name == column)
    }

    /// The schema that the stream's batches follow, custom fields aside.
    #[must_use]
    pub fn schema(&self, numbers: NumberForm) -> StreamSchema {
        let column_type = |column: &StreamColumn| match (&column.column_type, numbers) {
            (ColumnType::Number, NumberForm::Lexeme) => ColumnType::Json,
            (other, _) => other.clone(),
        };
        StreamSchema {
            stream: StreamName::new(self.stream.name()),
            columns: self
                .columns
                .iter()
                .map(|column| Column::new(column.name, column_type(column)))
                .collect(),
            key: self.stream.key().iter().map(|&key| key.to_owned()).collect(),
            replication_key: self.stream.replication_key().map(str::to_owned),
            method: self.method,
            winner: self.stream.winner(&self.columns),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use replication::stream::WinnerRule;

    use super::*;

    #[test]
    fn keys_come_along_and_order_is_the_schemas() {
        let selected =
            SelectedStream::with_columns(BrontoStream::Contact, ["status", "email"]).unwrap();
        let names: Vec<_> = selected.columns().iter().map(|column| column.name).collect();
        assert_eq!(names, ["id", "email", "status", "modified"]);
        assert!(!selected.has("listIds"));
    }

    #[test]
    fn an_unknown_column_is_named_with_its_nearest() {
        let error = SelectedStream::with_columns(BrontoStream::List, ["activCount"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Stream `list` has no column `activCount`; did you mean `activeCount`?"
        );
    }

    #[test]
    fn ranks_of_unselected_columns_are_left_out() {
        let selected =
            SelectedStream::with_columns(BrontoStream::Unsubscribe, ["complaint"]).unwrap();
        let schema = selected.schema(NumberForm::Decimal);
        assert_eq!(schema.winner, WinnerRule::Greatest(vec!["complaint".to_owned()]));
    }

    #[test]
    fn lexemes_are_json_and_nothing_else_changes() {
        let selected = SelectedStream::all(BrontoStream::Contact);
        let (decimal, lexeme) =
            (selected.schema(NumberForm::Decimal), selected.schema(NumberForm::Lexeme));
        for (left, right) in decimal.columns.iter().zip(&lexeme.columns) {
            assert_eq!(left.name, right.name);
            let expected = match &left.column_type {
                ColumnType::Number => &ColumnType::Json,
                other => other,
            };
            assert_eq!(&right.column_type, expected);
        }
    }
}
