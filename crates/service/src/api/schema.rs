//! The forms of bodies and parameters, as JSON Schema: what is documented is what is checked.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A form, and those that it refers to.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    /// Its name.
    pub(crate) name: String,
    /// All forms by name, its own among them.
    pub(crate) components: BTreeMap<String, Value>,
}

/// Where the OpenAPI document keeps forms.
const FOLDER: &str = "#/components/schemas/";

/// The form of a type.
pub(crate) fn form<T: ToSchema>() -> Form {
    let name = T::name().into_owned();
    let mut referred = Vec::new();
    T::schemas(&mut referred);
    referred.push((name.clone(), T::schema()));
    let json = |schema| serde_json::to_value(schema).unwrap_or_default();
    let forms: BTreeMap<String, Value> =
        referred.into_iter().map(|(name, schema)| (name, json(schema))).collect();
    let plain = |(name, schema): (&String, &Value)| (name.clone(), with_embedded(schema, &forms));
    Form { name, components: forms.iter().map(plain).collect() }
}

/// A form with the fields of those that it embeds among its own.
fn with_embedded(schema: &Value, forms: &BTreeMap<String, Value>) -> Value {
    let Some(parts) = schema.get("allOf").and_then(Value::as_array) else { return schema.clone() };
    let (mut properties, mut required) = (BTreeMap::new(), Vec::new());
    let mut whole = Map::new();
    for part in parts {
        let name =
            part.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(FOLDER));
        let part = name.and_then(|name| forms.get(name)).unwrap_or(part);
        properties.extend(part["properties"].as_object().cloned().into_iter().flatten());
        required.extend(part["required"].as_array().cloned().into_iter().flatten());
        // The form's own part, which says what it is, comes last.
        whole.extend(part.as_object().cloned().unwrap_or_default());
    }
    whole.extend([
        ("properties".to_owned(), Value::Object(properties.into_iter().collect())),
        ("required".to_owned(), Value::Array(required)),
    ]);
    whole.extend(schema.get("description").map(|text| ("description".to_owned(), text.clone())));
    Value::Object(whole)
}

/// A reference to a form.
pub(crate) fn reference(name: &str) -> Value {
    serde_json::json!({ "$ref": format!("{FOLDER}{name}") })
}

impl Form {
    /// The form itself.
    pub(crate) fn root(&self) -> &Value {
        self.components.get(&self.name).unwrap_or(&Value::Null)
    }

    /// The names of its fields; none if it takes any.
    pub(crate) fn fields(&self) -> Option<Vec<&str>> {
        let fields = self.root().get("properties")?.as_object()?;
        Some(fields.keys().map(String::as_str).collect())
    }

    /// The first part of a document that doesn't fit the form: a key that it doesn't know, or something else where it has
    /// fields. Types of single values are left to whoever reads them.
    pub(crate) fn misfit(&self, document: &Value) -> Option<Misfit> {
        self.search(self.root(), document, "")
    }

    fn search(&self, schema: &Value, document: &Value, place: &str) -> Option<Misfit> {
        // Whether it may be missing is seen when it is read.
        if document.is_null() {
            return None;
        }
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let referred = self.components.get(name.strip_prefix(FOLDER)?)?;
            return self.search(referred, document, place);
        }
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            let is_form = |choice: &&Value| choice.get("type") != Some(&Value::from("null"));
            return self.search(choices.iter().find(is_form)?, document, place);
        }
        if let (Some(items), Some(elements)) = (schema.get("items"), document.as_array()) {
            let inner =
                |(position, element)| self.search(items, element, &format!("{place}/{position}"));
            return elements.iter().enumerate().find_map(inner);
        }
        let known = schema.get("properties").and_then(Value::as_object)?;
        // A list would be taken for the fields in their order.
        let Some(fields) = document.as_object() else {
            return Some(Misfit::NoFields { pointer: place.to_owned() });
        };
        for (key, value) in fields {
            let inner = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
            let Some(schema) = known.get(key) else {
                let nearest = nearest(key, known.keys().map(String::as_str)).map(str::to_owned);
                return Some(Misfit::UnknownKey { pointer: inner, key: key.clone(), nearest });
            };
            if let Some(found) = self.search(schema, value, &inner) {
                return Some(found);
            }
        }
        None
    }
}

/// What doesn't fit a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// A key that it doesn't know.
    UnknownKey {
        /// Where it is.
        pointer: String,
        /// The key.
        key: String,
        /// The nearest that is known.
        nearest: Option<String>,
    },
    /// Something else where it has fields.
    NoFields {
        /// Where it is.
        pointer: String,
    },
}

/// The known name that a word was perhaps meant to be.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let distance = |name: &&str| strsim::damerau_levenshtein(word, name);
    // A long word is no slip of the hand, and its distance is dear.
    let name = known.filter(|_| word.len() <= 64).min_by_key(distance)?;
    (distance(&name) * 3 <= name.chars().count().max(3)).then_some(name)
}

/// What to do about a name that isn't known.
pub(crate) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || "Leave it out; the reference under /api/reference lists what is known".to_owned(),
        |name| format!("Did you mean `{name}`?"),
    )
}
