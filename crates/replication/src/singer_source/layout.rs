//! From a stream's JSON Schema to columns: which column each field goes to, decided once per schema.
//!
//! Objects are flattened to `a__b`; arrays of plain values are lists; a field of several plain types has a column for each of
//! them; whatever has no fixed shape (untyped, free objects, arrays of anything else, objects or arrays beside plain values)
//! is kept as a JSON document, which loses nothing.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;
use singer::{
    PropertyType,
    schema::{Shape, TextFormat},
};

use super::items::Items;
use crate::{
    placement::{has_reserved_suffix, with_suffix},
    stream::{Column, ColumnType},
    system,
};

/// How the values of a column are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// A string, kept as it is. Dates, times of day and UUIDs are such.
    Text,
    /// Any value, kept as its text.
    Json,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A number written as a string (or as a number).
    NumberText,
    /// True or false.
    Boolean,
    /// A date-time.
    Timestamp,
    /// An array of plain values.
    List(Box<ValueKind>),
    /// An array of objects, kept as its text.
    Objects(Items),
}

impl ValueKind {
    /// How the values of a column are read that the loader has rendered.
    fn of(column_type: &ColumnType) -> Self {
        match column_type {
            ColumnType::Text => Self::Text,
            ColumnType::Json => Self::Json,
            ColumnType::Integer => Self::Integer,
            ColumnType::Number => Self::Number,
            ColumnType::Boolean => Self::Boolean,
            ColumnType::Timestamp => Self::Timestamp,
            ColumnType::List(item) => Self::List(Box::new(Self::of(item))),
            ColumnType::Objects(items) => Self::Objects(items.clone()),
        }
    }

    /// The column that holds such values.
    pub(super) fn column_type(&self) -> ColumnType {
        match self {
            Self::Text => ColumnType::Text,
            Self::Json => ColumnType::Json,
            Self::Integer => ColumnType::Integer,
            Self::Number | Self::NumberText => ColumnType::Number,
            Self::Boolean => ColumnType::Boolean,
            Self::Timestamp => ColumnType::Timestamp,
            Self::List(item) => ColumnType::List(Box::new(item.column_type())),
            Self::Objects(items) => ColumnType::Objects(items.clone()),
        }
    }

    /// Whether a row can be identified by such values.
    pub(super) fn can_be_key(&self) -> bool {
        !matches!(self, Self::Json | Self::List(_) | Self::Objects(_))
    }

    /// What a value must be, for people.
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Json | Self::Objects(_) => "a value",
            Self::Integer => "a whole number",
            Self::Number | Self::NumberText => "a number",
            Self::Boolean => "true or false",
            Self::Timestamp => "a date-time",
            Self::List(_) => "an array",
        }
    }
}

/// A column and how its values are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedColumn {
    pub(super) name: String,
    pub(super) kind: ValueKind,
    /// The field of the record in which it stands, where that is an object.
    pub(super) object: Option<String>,
    /// The field whose values of one type it holds.
    pub(super) one_type_of: Option<String>,
}

/// The columns of a stream, and where each field of a record goes.
#[derive(Debug)]
pub(super) struct Layout {
    /// The names of columns that fields have; none where fields of several types are kept whole.
    splitting: Option<HashSet<String>>,
    pub(super) columns: Vec<PlannedColumn>,
    pub(super) fields: FieldTree,
    /// Fields that are left out because the loader has columns of these names itself.
    pub(super) left_out: Vec<String>,
}

/// The fields of an object.
#[derive(Debug, Default)]
pub(super) struct FieldTree {
    /// The way to the object, as people read it: empty for the record, `a.` for the object in field `a`.
    pub(super) path: String,
    names: Vec<String>,
    /// The names as JSON has them, of those that are written as they are; the others are empty.
    quoted: Vec<String>,
    targets: Vec<FieldTarget>,
    positions: HashMap<String, usize>,
}

/// Where a field goes.
#[derive(Debug)]
pub(super) enum FieldTarget {
    /// Into the column of this position.
    Column(usize),
    /// Into the columns of its own fields.
    Object(FieldTree),
    /// Into one of the columns of these positions, by the type of its value.
    OneOf(Vec<usize>),
    /// Nowhere.
    Nowhere,
}

impl FieldTree {
    /// The target of a field. `cursor` is where the next field is expected: taps write fields in one order, so most
    /// are found without a look-up.
    pub(super) fn find(&self, name: &str, cursor: &mut usize) -> Option<&FieldTarget> {
        if self.names.get(*cursor).is_none_or(|expected| expected != name) {
            *cursor = *self.positions.get(name)?;
        }
        let target = self.targets.get(*cursor);
        *cursor += 1;
        target
    }

    /// The target of the field that is expected at `cursor`, if its name in quotes is what the text begins with; and how
    /// long that is.
    pub(super) fn expected(&self, text: &str, cursor: &mut usize) -> Option<(usize, &FieldTarget)> {
        let quoted = self.quoted.get(*cursor)?;
        if quoted.is_empty() || !text.starts_with(quoted) {
            return None;
        }
        let target = self.targets.get(*cursor)?;
        *cursor += 1;
        Some((quoted.len(), target))
    }

    /// The fields and their targets.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&String, &FieldTarget)> {
        self.names.iter().zip(&self.targets)
    }

    fn add(&mut self, name: &str, target: FieldTarget) {
        self.positions.insert(name.to_owned(), self.names.len());
        self.names.push(name.to_owned());
        let quoted = serde_json::Value::from(name).to_string();
        let is_plain = quoted.len() == name.len() + 2;
        self.quoted.push(if is_plain { quoted } else { String::new() });
        self.targets.push(target);
    }
}

impl Layout {
    /// Plans the columns of a stream with these fields.
    pub(super) fn of(properties: &IndexMap<String, PropertyType>) -> Self {
        let mut names = Vec::new();
        properties.iter().for_each(|(name, property)| column_names(property, name, &mut names));
        Self::planned(properties, Some(names.into_iter().collect()))
    }

    /// Plans the fields of an array's items, where a field of several types is kept whole.
    pub(super) fn of_items(properties: &IndexMap<String, PropertyType>) -> Self {
        Self::planned(properties, None)
    }

    fn planned(
        properties: &IndexMap<String, PropertyType>,
        splitting: Option<HashSet<String>>,
    ) -> Self {
        let kept_whole = fields_kept_whole(properties);
        let mut layout = Self { splitting, ..Self::empty() };
        let mut fields = FieldTree::default();
        for (name, property) in properties {
            let target = if is_system_column(name) {
                layout.left_out.push(name.clone());
                FieldTarget::Nowhere
            } else if kept_whole.contains(name.as_str()) {
                layout.add_column(name.clone(), ValueKind::Json, None)
            } else {
                layout.target_of(property, name, &format!("{name}."), None)
            };
            fields.add(name, target);
        }
        layout.fields = fields;
        layout
    }

    fn empty() -> Self {
        let fields = FieldTree::default();
        Self { splitting: None, columns: Vec::new(), fields, left_out: Vec::new() }
    }

    /// A field for each column.
    pub(super) fn of_columns(columns: &[Column]) -> Self {
        let mut layout = Self::empty();
        for column in columns {
            let kind = ValueKind::of(&column.column_type);
            layout.add_column(column.name.clone(), kind, column.object.as_deref());
        }
        layout.take_columns();
        layout
    }

    /// Takes records that name columns, too, as the fields that became them. No field of the stream has such a name: two
    /// that share one are kept whole.
    pub(super) fn take_columns(&mut self) {
        for (index, column) in self.columns.iter().enumerate() {
            if !self.fields.positions.contains_key(&column.name) {
                self.fields.add(&column.name, FieldTarget::Column(index));
            }
        }
    }

    /// The user columns.
    pub(super) fn stream_columns(&self) -> Vec<Column> {
        self.columns
            .iter()
            .map(|column| {
                Column::new(&column.name, column.kind.column_type())
                    .within(column.object.clone())
                    .as_one_type_of(column.one_type_of.clone())
            })
            .collect()
    }

    fn target_of(
        &mut self,
        property: &PropertyType,
        column: &str,
        path: &str,
        object: Option<&str>,
    ) -> FieldTarget {
        let Some(properties) = flattened(property) else {
            return match self.types(property, column) {
                Some(kinds) => self.add_types(kinds, column, object),
                None => self.add_column(column.to_owned(), value_kind(property), object),
            };
        };
        let mut fields = FieldTree { path: path.to_owned(), ..FieldTree::default() };
        for (name, property) in properties {
            let (column_name, path) = (nested_name(column, name), format!("{path}{name}."));
            let object = Some(object.unwrap_or(column));
            let target = self.target_of(property, &column_name, &path, object);
            fields.add(name, target);
        }
        FieldTarget::Object(fields)
    }

    /// The plain types that a field has, where these are several and each can have a column.
    fn types(&self, property: &PropertyType, column: &str) -> Option<Vec<ValueKind>> {
        let kinds = plain_kinds(property).filter(|kinds| kinds.len() > 1)?;
        let taken = self.splitting.as_ref()?;
        let is_free = |kind: &ValueKind| !taken.contains(&with_suffix(column, &kind.column_type()));
        kinds.iter().all(is_free).then_some(kinds)
    }

    fn add_types(
        &mut self,
        kinds: Vec<ValueKind>,
        field: &str,
        object: Option<&str>,
    ) -> FieldTarget {
        let positions = kinds.into_iter().map(|kind| {
            self.add_column(with_suffix(field, &kind.column_type()), kind, object);
            let position = self.columns.len() - 1;
            self.columns[position].one_type_of = Some(field.to_owned());
            position
        });
        FieldTarget::OneOf(positions.collect())
    }

    fn add_column(&mut self, name: String, kind: ValueKind, object: Option<&str>) -> FieldTarget {
        let object = object.map(str::to_owned);
        self.columns.push(PlannedColumn { name, kind, object, one_type_of: None });
        FieldTarget::Column(self.columns.len() - 1)
    }
}

/// The fields of an object that becomes columns.
fn flattened(property: &PropertyType) -> Option<&IndexMap<String, PropertyType>> {
    match property.shape() {
        Some(Shape::Object(properties)) if !properties.is_empty() => Some(properties),
        _ => None,
    }
}

fn nested_name(column: &str, name: &str) -> String {
    format!("{column}__{name}")
}

fn value_kind(property: &PropertyType) -> ValueKind {
    match property.shape() {
        Some(Shape::Array(items)) => match items.shape() {
            Some(Shape::Object(properties)) if !properties.is_empty() => {
                ValueKind::Objects(Items::of(properties))
            }
            Some(shape) => {
                plain_kind(shape).map_or(ValueKind::Json, |item| ValueKind::List(Box::new(item)))
            }
            None => ValueKind::Json,
        },
        _ => match plain_kinds(property).as_deref() {
            Some([kind]) => kind.clone(),
            _ => ValueKind::Json,
        },
    }
}

/// The kinds of a field that only has plain values. Numbers that are written as texts, too, are of one kind.
fn plain_kinds(property: &PropertyType) -> Option<Vec<ValueKind>> {
    let kinds: Option<Vec<ValueKind>> = property.shapes().iter().map(plain_kind).collect();
    let mut kinds = kinds.filter(|kinds| !kinds.is_empty())?;
    if kinds.contains(&ValueKind::NumberText) {
        kinds.retain(|kind| !matches!(kind, ValueKind::Integer | ValueKind::Number));
    }
    Some(kinds)
}

fn plain_kind(shape: &Shape) -> Option<ValueKind> {
    match shape {
        Shape::Boolean => Some(ValueKind::Boolean),
        Shape::Integer => Some(ValueKind::Integer),
        Shape::Number { .. } => Some(ValueKind::Number),
        Shape::Text(TextFormat::DateTime) => Some(ValueKind::Timestamp),
        Shape::Text(TextFormat::Decimal) => Some(ValueKind::NumberText),
        Shape::Text(_) => Some(ValueKind::Text),
        Shape::Object(_) | Shape::Array(_) => None,
    }
}

/// The loader adds these columns to every row itself; a tap's own, of whatever letter case, can't stand beside them.
fn is_system_column(name: &str) -> bool {
    system::row_columns().iter().any(|column| column.name.eq_ignore_ascii_case(name))
}

/// Objects whose columns would share a name with other columns, such as `a: {b}` beside `a__b`, or have a name that is
/// kept for the loader. They are kept whole.
///
/// Keeping one whole gives its own name to a column, which may clash in turn, so this repeats until all names differ.
fn fields_kept_whole(properties: &IndexMap<String, PropertyType>) -> HashSet<&str> {
    let mut kept_whole: HashSet<&str> = properties
        .iter()
        .filter(|(name, property)| {
            flattened(property).is_some() && has_reserved_column(name, property)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    loop {
        let mut owners: HashMap<String, Vec<&str>> = HashMap::new();
        for (name, property) in properties {
            let mut columns = Vec::new();
            if kept_whole.contains(name.as_str()) {
                columns.push(name.clone());
            } else {
                column_names(property, name, &mut columns);
            }
            for column in columns {
                owners.entry(column).or_default().push(name);
            }
        }
        let before = kept_whole.len();
        let clashing = owners.values().filter(|owners| owners.len() > 1).flatten();
        kept_whole
            .extend(clashing.filter(|name| properties.get(**name).and_then(flattened).is_some()));
        if kept_whole.len() == before {
            return kept_whole;
        }
    }
}

/// Whether a column of the object would be called like one that the loader makes when a type changes.
fn has_reserved_column(name: &str, property: &PropertyType) -> bool {
    let mut columns = Vec::new();
    column_names(property, name, &mut columns);
    columns.iter().any(|column| has_reserved_suffix(column))
}

fn column_names(property: &PropertyType, column: &str, names: &mut Vec<String>) {
    match flattened(property) {
        Some(properties) => {
            for (name, property) in properties {
                column_names(property, &nested_name(column, name), names);
            }
        }
        None => names.push(column.to_owned()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn columns(properties: &Value) -> Vec<String> {
        let schema = singer::StreamSchema::read(&json!({"properties": properties})).unwrap();
        let layout = Layout::of(&schema.properties);
        layout.columns.iter().map(|column| format!("{} {:?}", column.name, column.kind)).collect()
    }

    #[test]
    fn each_shape_has_its_column() {
        let properties = json!({
            "text": {"type": ["null", "string"]},
            "day": {"type": "string", "format": "date"},
            "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
            "count": {"type": "integer"},
            "price": {"type": "number"},
            "exact": {"type": "string", "format": "singer.decimal"},
            "flag": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
            "rows": {"type": "array", "items": {"type": "object"}},
            "free": {"type": "object"},
            "mixed": {"type": ["string", "integer", "null"]},
            "exact_or_number": {"type": ["string", "number"], "format": "singer.decimal"},
            "object_or_text": {"type": ["object", "string"], "properties": {"a": {"type": "string"}}},
            "anything": {},
        });
        assert_eq!(
            columns(&properties),
            [
                "text Text",
                "day Text",
                "at Timestamp",
                "count Integer",
                "price Number",
                "exact NumberText",
                "flag Boolean",
                "tags List(Text)",
                "grid Json",
                "rows Json",
                "free Json",
                "mixed__st Text",
                "mixed__bi Integer",
                "exact_or_number NumberText",
                "object_or_text Json",
                "anything Json",
            ]
        );
    }

    #[test]
    fn several_types_need_a_name_each() {
        let properties = json!({
            "a": {"properties": {"b": {"type": ["boolean", "number", "string"]}}},
            "c": {"type": ["integer", "string"]},
            "c__st": {"type": "string"}});
        let expected =
            ["a__b__bo Boolean", "a__b__de Number", "a__b__st Text", "c Json", "c__st Text"];
        assert_eq!(columns(&properties), expected);
        let items = json!({"rows": {"type": "array", "items": {"properties": properties}}});
        assert_eq!(columns(&items).len(), 1);
    }

    #[test]
    fn objects_are_flattened() {
        let properties = json!({
            "a": {"type": ["object", "null"], "properties": {
                "b": {"type": "string"},
                "c": {"properties": {"d": {"type": "integer"}}}}},
            "e": {"type": "string"}});
        assert_eq!(columns(&properties), ["a__b Text", "a__c__d Integer", "e Text"]);
    }

    #[test]
    fn objects_whose_columns_would_clash_are_kept_whole() {
        let properties = json!({
            "a__b": {"type": "string"},
            "a": {"properties": {"b": {"type": "string"}}}});
        assert_eq!(columns(&properties), ["a__b Text", "a Json"]);
        let properties = json!({"a": {"properties": {
            "b__c": {"type": "string"},
            "b": {"properties": {"c": {"type": "string"}}}}}});
        assert_eq!(columns(&properties), ["a Json"]);
        // `title__de` would be taken for the numbers of a column `title`.
        let properties = json!({"title": {"properties": {
            "de": {"type": "string"}, "en": {"type": "string"}}}});
        assert_eq!(columns(&properties), ["title Json"]);
        // Keeping `p__q` whole makes it clash with `p.q`.
        let properties = json!({
            "p__q__r": {"type": "string"},
            "p__q": {"properties": {"r": {"type": "string"}}},
            "p": {"properties": {"q": {"type": "string"}}}});
        assert_eq!(columns(&properties), ["p__q__r Text", "p__q Json", "p Json"]);
    }

    #[test]
    fn g19_the_loaders_own_columns_win() {
        let schema = json!({"properties": {"_SDC_sequence": {"type": "integer"}, "_sdc_deleted_at": {"type": "string"}}});
        let schema = singer::StreamSchema::read(&schema).unwrap();
        let layout = Layout::of(&schema.properties);
        assert_eq!(layout.left_out, ["_SDC_sequence"]);
        assert_eq!(layout.columns.len(), 1);
    }
}
