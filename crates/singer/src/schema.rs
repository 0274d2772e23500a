//! JSON Schema, read as far as it says which values a column can hold.
//!
//! A loader needs to know the shapes of a field's values to give it a column. It doesn't need a
//! validator: what doesn't fit a column is noticed when it is written there. So limits, patterns
//! and lists of allowed values are passed over, references and alternatives are resolved, and where
//! a schema says nothing usable the field counts as untyped, which loses nothing.

mod reader;

use indexmap::IndexMap;
use serde_json::Value;

use self::reader::Reader;

/// The fields of a stream, in the order of its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSchema {
    /// The fields by name.
    pub properties: IndexMap<String, PropertyType>,
}

/// Which values a field can hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertyType {
    /// The shapes that are listed, each kind once.
    shapes: Vec<Shape>,
    is_nullable: bool,
    is_untyped: bool,
}

/// One kind of value. Alternatives of the same kind are merged: a number absorbs an integer, a
/// plain text absorbs a text with a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number {
        /// What values are a multiple of, as written, such as `0.01`: says how many decimals.
        multiple_of: Option<String>,
    },
    /// A string.
    Text(TextFormat),
    /// An object, with the fields that are listed; none if its fields are free.
    Object(IndexMap<String, PropertyType>),
    /// An array of such items.
    Array(Box<PropertyType>),
}

/// The formats of a string that mean something to a loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// Any string.
    Plain,
    /// An RFC 3339 time with an offset.
    DateTime,
    /// A date.
    Date,
    /// A time of day.
    Time,
    /// A UUID.
    Uuid,
    /// An exact decimal number, written as a string (`singer.decimal`).
    Decimal,
}

/// Why a schema can't be read. Every kind is the tap's fault; trying again won't help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The stream's schema lists no fields.
    #[error("The schema has no object `properties`")]
    NoProperties,
    /// A keyword has a value that it can't have.
    #[error("`{keyword}` at {} of the schema is not {expected}", place(.path))]
    InvalidKeyword {
        /// The place, as field names from the outside in.
        path: Vec<String>,
        /// The keyword.
        keyword: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// A reference leads nowhere, or out of the schema.
    #[error("`$ref` at {} of the schema leads to nothing in it: `{reference}`", place(.path))]
    UnresolvedReference {
        /// The place, as field names from the outside in.
        path: Vec<String>,
        /// The reference.
        reference: String,
    },
    /// The schema has too many places, or they lie too deep.
    #[error("The schema is too large or too deep at {}", place(.path))]
    TooLarge {
        /// The place, as field names from the outside in.
        path: Vec<String>,
    },
}

fn place(path: &[String]) -> String {
    if path.is_empty() { "the top".to_owned() } else { format!("`{}`", path.join(".")) }
}

impl SchemaError {
    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        "The tap describes this stream in a way that can't be loaded: deselect the stream, use \
         another version of the tap, or report the fault to its authors"
    }
}

impl StreamSchema {
    /// Reads the JSON Schema of a stream's records.
    ///
    /// # Errors
    /// [`SchemaError`] names the place that can't be read.
    pub fn read(schema: &Value) -> Result<Self, SchemaError> {
        let top = Reader::new(schema).property(schema)?;
        let is_listed = schema.get("properties").is_some();
        let properties = top.shapes.into_iter().find_map(|shape| match shape {
            Shape::Object(properties) if is_listed || !properties.is_empty() => Some(properties),
            _ => None,
        });
        properties.map(|properties| Self { properties }).ok_or(SchemaError::NoProperties)
    }
}

impl PropertyType {
    /// The one shape that values have besides null; `None` if there are several or if it isn't
    /// said.
    #[must_use]
    pub fn shape(&self) -> Option<&Shape> {
        match self.shapes.as_slice() {
            [shape] if !self.is_untyped => Some(shape),
            _ => None,
        }
    }

    /// All shapes that are listed; empty if anything goes.
    #[must_use]
    pub fn shapes(&self) -> &[Shape] {
        if self.is_untyped { &[] } else { &self.shapes }
    }

    /// Whether null is listed as a value, or anything goes.
    #[must_use]
    pub fn is_nullable(&self) -> bool {
        self.is_nullable || self.is_untyped
    }

    fn untyped() -> Self {
        Self { is_untyped: true, ..Self::default() }
    }

    fn of(shape: Shape) -> Self {
        Self { shapes: vec![shape], ..Self::default() }
    }

    fn null() -> Self {
        Self { is_nullable: true, ..Self::default() }
    }

    /// What either of two types can hold.
    fn or(mut self, other: Self) -> Self {
        self.is_nullable |= other.is_nullable;
        self.is_untyped |= other.is_untyped;
        for shape in other.shapes {
            self.add(shape);
        }
        self
    }

    fn add(&mut self, shape: Shape) {
        for known in &mut self.shapes {
            match (known, &shape) {
                (Shape::Boolean, Shape::Boolean)
                | (Shape::Integer | Shape::Number { .. }, Shape::Integer) => return,
                (known @ Shape::Integer, Shape::Number { .. }) => {
                    *known = Shape::Number { multiple_of: None };
                    return;
                }
                (Shape::Number { multiple_of: known }, Shape::Number { multiple_of }) => {
                    if known != multiple_of {
                        *known = None;
                    }
                    return;
                }
                (Shape::Text(known), Shape::Text(format)) => {
                    if known != format {
                        *known = TextFormat::Plain;
                    }
                    return;
                }
                (Shape::Object(known), Shape::Object(properties)) => {
                    add_properties(known, properties);
                    return;
                }
                (Shape::Array(known), Shape::Array(items)) => {
                    **known = std::mem::take(&mut **known).or((**items).clone());
                    return;
                }
                _ => {}
            }
        }
        self.shapes.push(shape);
    }
}

/// Adds the fields of one alternative of an object to those of another.
fn add_properties(
    known: &mut IndexMap<String, PropertyType>,
    properties: &IndexMap<String, PropertyType>,
) {
    for (name, property) in properties {
        match known.get_mut(name) {
            Some(known) => *known = std::mem::take(known).or(property.clone()),
            None => {
                known.insert(name.clone(), property.clone());
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    /// A short notation for assertions: `text|null`, `{a:integer}`, `[text]`, `any`.
    fn notation(property: &PropertyType) -> String {
        let mut parts: Vec<String> = property.shapes().iter().map(shape_notation).collect();
        if property.is_untyped {
            parts.push("any".into());
        } else if property.is_nullable() {
            parts.push("null".into());
        }
        parts.join("|")
    }

    fn shape_notation(shape: &Shape) -> String {
        match shape {
            Shape::Boolean => "boolean".into(),
            Shape::Integer => "integer".into(),
            Shape::Number { multiple_of: None } => "number".into(),
            Shape::Number { multiple_of: Some(step) } => format!("number/{step}"),
            Shape::Text(TextFormat::Plain) => "text".into(),
            Shape::Text(format) => format!("{format:?}"),
            Shape::Object(properties) => {
                let fields = properties
                    .iter()
                    .map(|(name, property)| format!("{name}:{}", notation(property)));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            }
            Shape::Array(items) => format!("[{}]", notation(items)),
        }
    }

    fn read(property: &Value) -> String {
        let schema = json!({"type": "object", "properties": {"f": property}, "definitions": {
            "name": {"type": "string"},
            "tree": {"type": "object", "properties": {"left": {"$ref": "#/definitions/tree"}}}}});
        notation(&StreamSchema::read(&schema).unwrap().properties["f"])
    }

    #[test]
    fn m08_types_and_lists_of_types() {
        assert_eq!(read(&json!({"type": "string"})), "text");
        assert_eq!(read(&json!({"type": ["null", "integer"]})), "integer|null");
        assert_eq!(read(&json!({"type": ["integer", "number"]})), "number");
        assert_eq!(read(&json!({"type": ["string", "integer", "null"]})), "text|integer|null");
        assert_eq!(read(&json!({"type": "boolean", "selected": true})), "boolean");
        assert_eq!(read(&json!({"type": "null"})), "null");
        assert_eq!(read(&json!({})), "any");
        assert_eq!(read(&json!(true)), "any");
        assert_eq!(read(&json!({"enum": ["a", null]})), "text|null");
        assert_eq!(read(&json!({"const": 1.5})), "number");
    }

    #[test]
    fn m08_alternatives() {
        let time = json!({"type": "string", "format": "date-time"});
        assert_eq!(read(&json!({"anyOf": [time, {"type": "null"}]})), "DateTime|null");
        assert_eq!(read(&json!({"anyOf": [time, {"type": ["string", "null"]}]})), "text|null");
        assert_eq!(
            read(&json!({"oneOf": [{"type": "integer"}, {"type": "boolean"}]})),
            "integer|boolean"
        );
        assert_eq!(read(&json!({"anyOf": [{"type": "integer"}, {}]})), "any");
        assert_eq!(
            read(
                &json!({"anyOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"a": {"type": "number"}, "b": {}}}]})
            ),
            "{a:number,b:any}"
        );
        assert_eq!(read(&json!({"allOf": [{"type": "string"}, {"description": "x"}]})), "text");
        assert_eq!(read(&json!({"allOf": [{"type": "string"}, {"type": "integer"}]})), "any");
    }

    #[test]
    fn m08_nested_objects_and_arrays() {
        assert_eq!(
            read(
                &json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}})
            ),
            "{a:[text]}"
        );
        assert_eq!(
            read(&json!({"type": ["object", "null"], "additionalProperties": true})),
            "{}|null"
        );
        assert_eq!(
            read(&json!({"items": [{"type": "integer"}, {"type": "string"}]})),
            "[integer|text]"
        );
        assert_eq!(read(&json!({"type": "array"})), "[any]");
    }

    #[test]
    fn m08_references() {
        assert_eq!(read(&json!({"$ref": "#/definitions/name"})), "text");
        assert_eq!(read(&json!({"$ref": "#/definitions/tree"})), "{left:any}");
        let schema = json!({"properties": {"a": {"properties": {"b": {"$ref": "other.json#/x"}}}}});
        assert_eq!(
            StreamSchema::read(&schema).unwrap_err().to_string(),
            "`$ref` at `a.b` of the schema leads to nothing in it: `other.json#/x`"
        );
    }

    #[test]
    fn m09_formats() {
        for (format, expected) in [
            ("date-time", "DateTime"),
            ("date", "Date"),
            ("time", "Time"),
            ("uuid", "Uuid"),
            ("singer.decimal", "Decimal"),
            ("x-singer.decimal", "Decimal"),
            ("email", "text"),
        ] {
            assert_eq!(read(&json!({"type": "string", "format": format})), expected);
        }
        let exact: Value =
            serde_json::from_str(r#"{"type":"number","multipleOf":0.0000100}"#).unwrap();
        assert_eq!(read(&exact), "number/0.0000100");
    }

    #[test]
    fn m08_a_schema_without_properties_is_refused() {
        for schema in [json!({}), json!({"type": "object"}), json!({"type": "string"}), json!(true)]
        {
            assert_eq!(StreamSchema::read(&schema), Err(SchemaError::NoProperties));
        }
        assert!(StreamSchema::read(&json!({"properties": {}})).unwrap().properties.is_empty());
        let referred =
            json!({"$ref": "#/definitions/row", "definitions": {"row": {"properties": {"a": {}}}}});
        assert_eq!(StreamSchema::read(&referred).unwrap().properties.len(), 1);
    }

    #[test]
    fn nonsense_is_named_by_its_place() {
        let message = |schema: &Value| StreamSchema::read(schema).unwrap_err().to_string();
        assert_eq!(
            message(&json!({"properties": {"a": {"type": "strnig"}}})),
            "`type` at `a` of the schema is not a JSON type or a list of them"
        );
        assert_eq!(
            message(&json!({"properties": []})),
            "`properties` at the top of the schema is not an object"
        );
        assert_eq!(
            message(&json!({"properties": {"a": 1}})),
            "`properties` at `a` of the schema is not made of schemas"
        );
    }

    #[test]
    fn a_schema_that_explodes_is_refused() {
        let mut definitions = Map::new();
        for level in 0..40 {
            let next = json!({"$ref": format!("#/definitions/{}", level + 1)});
            definitions.insert(level.to_string(), json!({"properties": {"a": next, "b": next}}));
        }
        definitions.insert("40".into(), json!({}));
        let schema =
            json!({"properties": {"f": {"$ref": "#/definitions/0"}}, "definitions": definitions});
        assert!(matches!(StreamSchema::read(&schema), Err(SchemaError::TooLarge { .. })));
    }

    #[test]
    fn a_long_chain_of_references_costs_no_stack() {
        let chain = |length: usize| {
            let link =
                |level: usize| json!({"anyOf": [{"$ref": format!("#/definitions/{}", level + 1)}]});
            let mut definitions: Map<_, _> =
                (0..length).map(|level| (level.to_string(), link(level))).collect();
            definitions.insert(length.to_string(), json!({"type": "string"}));
            json!({"properties": {"f": {"$ref": "#/definitions/0"}}, "definitions": definitions})
        };
        assert!(StreamSchema::read(&chain(30)).is_ok());
        let error = StreamSchema::read(&chain(2_000)).unwrap_err();
        assert_eq!(error.to_string(), "The schema is too large or too deep at `f`");
    }
}
