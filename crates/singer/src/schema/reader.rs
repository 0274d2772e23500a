//! Walks a JSON Schema from the outside in and says which shapes each place can have.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{PropertyType, SchemaError, Shape, TextFormat};

/// How many places a schema may have once its references are followed. References to references
/// can make a short text describe an endless schema.
const MAX_PLACES: usize = 100_000;

/// How many schemas may be open at once: places within each other, alternatives, and references to references. It bounds
/// the stack.
const MAX_DEPTH: usize = 128;

/// Walks a schema from the outside in.
pub(super) struct Reader<'schema> {
    root: &'schema Value,
    path: Vec<String>,
    /// The references being followed: meeting one of them again means that the schema is recursive.
    open_references: Vec<&'schema str>,
    depth: usize,
    places: usize,
}

impl<'schema> Reader<'schema> {
    /// A reader of the schema `root`, which references are looked up in.
    pub(super) fn new(root: &'schema Value) -> Self {
        Self { root, path: Vec::new(), open_references: Vec::new(), depth: 0, places: 0 }
    }

    pub(super) fn property(&mut self, schema: &'schema Value) -> Result<PropertyType, SchemaError> {
        self.places += 1;
        if self.places > MAX_PLACES || self.depth == MAX_DEPTH {
            return Err(SchemaError::TooLarge { path: self.path.clone() });
        }
        self.depth += 1;
        let property = self.open(schema);
        self.depth -= 1;
        property
    }

    fn open(&mut self, schema: &'schema Value) -> Result<PropertyType, SchemaError> {
        let keywords = match schema {
            Value::Object(keywords) => keywords,
            Value::Bool(_) => return Ok(PropertyType::untyped()),
            _ => return Err(self.invalid("properties", "made of schemas")),
        };
        if let Some(reference) = keywords.get("$ref") {
            return self.reference(reference);
        }
        if let Some(types) = keywords.get("type") {
            return self.typed(types, keywords);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(alternatives) = keywords.get(keyword) {
                return self.union(alternatives);
            }
        }
        if let Some(parts) = keywords.get("allOf") {
            return self.all_of(parts);
        }
        self.implied(keywords)
    }

    fn reference(&mut self, reference: &'schema Value) -> Result<PropertyType, SchemaError> {
        let Some(reference) = reference.as_str() else {
            return Err(self.invalid("$ref", "a string"));
        };
        if self.open_references.contains(&reference) {
            return Ok(PropertyType::untyped());
        }
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let Some(target) = target else {
            return Err(SchemaError::UnresolvedReference {
                path: self.path.clone(),
                reference: reference.to_owned(),
            });
        };
        self.open_references.push(reference);
        let property = self.property(target);
        self.open_references.pop();
        property
    }

    fn typed(
        &mut self,
        types: &'schema Value,
        keywords: &'schema Map<String, Value>,
    ) -> Result<PropertyType, SchemaError> {
        const EXPECTED: &str = "a JSON type or a list of them";
        let names: Option<Vec<&str>> = match types {
            Value::String(name) => Some(vec![name]),
            Value::Array(names) => names.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let names = names.ok_or_else(|| self.invalid("type", EXPECTED))?;
        names.into_iter().try_fold(PropertyType::default(), |property, name| {
            let one = match name {
                "null" => PropertyType::null(),
                "boolean" => PropertyType::of(Shape::Boolean),
                "integer" => PropertyType::of(Shape::Integer),
                "number" => PropertyType::of(Shape::Number {
                    multiple_of: keywords.get("multipleOf").and_then(number_text),
                }),
                "string" => PropertyType::of(Shape::Text(text_format(keywords))),
                "object" => PropertyType::of(Shape::Object(self.properties(keywords)?)),
                "array" => PropertyType::of(Shape::Array(Box::new(self.items(keywords)?))),
                _ => return Err(self.invalid("type", EXPECTED)),
            };
            Ok(property.or(one))
        })
    }

    fn properties(
        &mut self,
        keywords: &'schema Map<String, Value>,
    ) -> Result<IndexMap<String, PropertyType>, SchemaError> {
        let properties = match keywords.get("properties") {
            None => return Ok(IndexMap::new()),
            Some(Value::Object(properties)) => properties,
            Some(_) => return Err(self.invalid("properties", "an object")),
        };
        let mut read = IndexMap::with_capacity(properties.len());
        for (name, property) in properties {
            self.path.push(name.clone());
            read.insert(name.clone(), self.property(property)?);
            self.path.pop();
        }
        Ok(read)
    }

    fn items(
        &mut self,
        keywords: &'schema Map<String, Value>,
    ) -> Result<PropertyType, SchemaError> {
        self.path.push("items".to_owned());
        let items = match keywords.get("items") {
            None => PropertyType::untyped(),
            Some(by_position @ Value::Array(_)) => self.union(by_position)?,
            Some(items) => self.property(items)?,
        };
        self.path.pop();
        Ok(items)
    }

    fn union(&mut self, alternatives: &'schema Value) -> Result<PropertyType, SchemaError> {
        let Value::Array(alternatives) = alternatives else {
            return Err(self.invalid("anyOf", "a list of schemas"));
        };
        alternatives.iter().try_fold(PropertyType::default(), |property, alternative| {
            Ok(property.or(self.property(alternative)?))
        })
    }

    /// All of several schemas hold at once. One that says something decides; several objects add
    /// up; anything cleverer counts as untyped.
    fn all_of(&mut self, parts: &'schema Value) -> Result<PropertyType, SchemaError> {
        let Value::Array(parts) = parts else {
            return Err(self.invalid("allOf", "a list of schemas"));
        };
        let mut said = Vec::new();
        for part in parts {
            let part = self.property(part)?;
            if !part.is_untyped {
                said.push(part);
            }
        }
        let are_objects = said.iter().all(|part| matches!(part.shape(), Some(Shape::Object(_))));
        if said.len() == 1 || are_objects {
            let merged = said.into_iter().reduce(PropertyType::or);
            Ok(merged.unwrap_or_else(PropertyType::untyped))
        } else {
            Ok(PropertyType::untyped())
        }
    }

    /// A schema without a type: other keywords may give it away.
    fn implied(
        &mut self,
        keywords: &'schema Map<String, Value>,
    ) -> Result<PropertyType, SchemaError> {
        if keywords.contains_key("properties") {
            return Ok(PropertyType::of(Shape::Object(self.properties(keywords)?)));
        }
        if keywords.contains_key("items") {
            return Ok(PropertyType::of(Shape::Array(Box::new(self.items(keywords)?))));
        }
        let values = match (keywords.get("enum"), keywords.get("const")) {
            (Some(Value::Array(values)), _) => values.as_slice(),
            (_, Some(value)) => std::slice::from_ref(value),
            _ => return Ok(PropertyType::untyped()),
        };
        Ok(values
            .iter()
            .map(|value| match value {
                Value::Null => PropertyType::null(),
                Value::Bool(_) => PropertyType::of(Shape::Boolean),
                Value::String(_) => PropertyType::of(Shape::Text(TextFormat::Plain)),
                Value::Number(number) if number.is_i64() => PropertyType::of(Shape::Integer),
                Value::Number(_) => PropertyType::of(Shape::Number { multiple_of: None }),
                Value::Array(_) | Value::Object(_) => PropertyType::untyped(),
            })
            .fold(PropertyType::default(), PropertyType::or))
    }

    fn invalid(&self, keyword: &'static str, expected: &'static str) -> SchemaError {
        SchemaError::InvalidKeyword { path: self.path.clone(), keyword, expected }
    }
}

fn number_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn text_format(keywords: &Map<String, Value>) -> TextFormat {
    match keywords.get("format").and_then(Value::as_str) {
        Some("date-time") => TextFormat::DateTime,
        Some("date") => TextFormat::Date,
        Some("time") => TextFormat::Time,
        Some("uuid") => TextFormat::Uuid,
        Some("singer.decimal" | "x-singer.decimal") => TextFormat::Decimal,
        _ => TextFormat::Plain,
    }
}
