//! What is known of custom fields from run to run: `fields` in the state of contacts.
//!
//! ```json
//! {"0bbc…a1001": {"name": "loyalty_points", "type": "number", "bronto_type": "integer"}}
//! ```
//!
//! `name` and `type` are those of the column and never change. `bronto_name` (where it differs from the column's) and
//! `bronto_type` are what Bronto last said, so that a change is told once; `removed` marks a field that is gone, whose
//! name stays taken. A field whose definition can't be read is not gone: it stays as it is, and is asked for.

use std::collections::BTreeMap;

use bronto_client::RowDefect;
use replication::source::{SourceError, SourceErrorKind};
use serde_json::{Map, Value, json};

use super::{
    CustomField, FieldKind,
    definition::{Definitions, FieldDefinition},
    naming::Names,
};

/// The key in the state of the stream.
pub(crate) const FIELDS: &str = "fields";

/// What is known of the custom fields, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownFields {
    fields: BTreeMap<String, KnownField>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownField {
    column: String,
    kind: FieldKind,
    bronto_name: String,
    bronto_type: String,
    is_removed: bool,
}

/// Something that changed in Bronto.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    text: String,
    needs_attention: bool,
}

impl News {
    /// Says it in the log.
    pub(super) fn log(&self) {
        if self.needs_attention {
            tracing::warn!("{}", self.text);
        } else {
            tracing::info!("{}", self.text);
        }
    }
}

impl KnownFields {
    /// Reads what is stored.
    ///
    /// # Errors
    /// [`SourceErrorKind::Configuration`] if it can't be understood: columns would change their names or types.
    pub(crate) fn read(stored: Option<&Value>) -> Result<Self, SourceError> {
        match stored {
            None | Some(Value::Null) => Ok(Self::default()),
            Some(Value::Object(stored)) => {
                let read =
                    |(id, field): (&String, &Value)| Some((id.clone(), KnownField::read(field)?));
                let fields = stored.iter().map(read).collect::<Option<_>>();
                Ok(Self { fields: fields.ok_or_else(unusable)? })
            }
            Some(_) => Err(unusable()),
        }
    }

    /// What is to be stored.
    pub(crate) fn to_json(&self) -> Value {
        let fields = self.fields.iter().map(|(id, field)| (id.clone(), field.to_json()));
        Value::Object(fields.collect())
    }

    /// Whether a field has, or had, this name, or the column of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.values().any(|field| field.column == name || field.bronto_name == name)
    }

    /// All fields that Bronto has or had, by id, as they were when it was asked last.
    pub(crate) fn all(&self) -> Vec<CustomField> {
        let field = |(id, field): (&String, &KnownField)| CustomField {
            id: id.clone(),
            column: field.column.clone(),
            kind: field.kind,
            name: field.bronto_name.clone(),
            bronto_type: field.bronto_type.clone(),
            label: String::new(),
        };
        self.fields.iter().map(field).collect()
    }

    /// The fields that Bronto has, by id.
    pub(super) fn present(&self, definitions: &Definitions) -> Vec<CustomField> {
        let present = self.fields.iter().filter_map(|(id, field)| {
            let (name, bronto_type, label) = match definitions.fields.get(id) {
                Some(FieldDefinition { name, bronto_type, label }) => {
                    (name.clone(), bronto_type.clone(), label.clone())
                }
                None if definitions.unreadable.contains_key(id) => {
                    (field.bronto_name.clone(), field.bronto_type.clone(), String::new())
                }
                None => return None,
            };
            let (column, kind) = (field.column.clone(), field.kind);
            Some(CustomField { id: id.clone(), column, kind, name, bronto_type, label })
        });
        present.collect()
    }

    /// Takes what Bronto has now, and fixes columns for fields that were never seen. `is_resumed` says whether contacts
    /// were read before.
    ///
    /// # Errors
    /// [`SourceErrorKind::Unsound`] if a field may be gone, or may have the definition whose id can't be read.
    pub(super) fn update(
        &mut self,
        definitions: &Definitions,
        is_resumed: bool,
    ) -> Result<Vec<News>, SourceError> {
        let is_first = self.fields.is_empty();
        let mut news = Vec::new();
        if let Some(reason) = &definitions.nameless {
            if let Some(field) = self.missing(definitions) {
                return Err(doubtful(&field.bronto_name, reason));
            }
            news.push(attention(format!(
                "A custom field has a definition whose id can't be read ({reason}); it is left out"
            )));
        }
        for (id, reason) in &definitions.unreadable {
            news.push(self.unreadable(id, reason));
        }
        for (id, field) in &mut self.fields {
            if definitions.unreadable.contains_key(id) {
                field.is_removed = false;
                continue;
            }
            match definitions.fields.get(id) {
                Some(definition) => {
                    field.follow(&definition.name, &definition.bronto_type, &mut news);
                }
                None if !field.is_removed => {
                    field.is_removed = true;
                    news.push(attention(format!(
                        "The custom field `{}` is gone from Bronto; its column `{}` is left out from now on, and \
                         what is stored in it stays",
                        field.bronto_name, field.column
                    )));
                }
                None => {}
            }
        }
        let mut names = Names::of(self.fields.values().map(|field| field.column.as_str()));
        for (id, definition) in &definitions.fields {
            if self.fields.contains_key(id) {
                continue;
            }
            let column = names.take(&definition.name, id);
            let kind = FieldKind::of(&definition.bronto_type);
            if column != definition.name {
                news.push(told(format!(
                    "The custom field `{}` ({id}) gets the column `{column}`: its own name is taken, or can't be a \
                     column's",
                    definition.name
                )));
            }
            if !is_first {
                news.push(told(format!(
                    "The custom field `{}` is new in Bronto: column `{column}` ({}) from now on; contacts get it as \
                     they are modified, or all at a full refresh",
                    definition.name,
                    kind.name()
                )));
            }
            let (bronto_name, bronto_type) =
                (definition.name.clone(), definition.bronto_type.clone());
            let field = KnownField { column, kind, bronto_name, bronto_type, is_removed: false };
            self.fields.insert(id.clone(), field);
        }
        if is_first && !self.fields.is_empty() {
            let count = self.fields.len();
            news.push(if is_resumed {
                attention(format!(
                    "Contacts have {count} custom fields, which were not read until now; contacts get them as they \
                     are modified, or all at a full refresh of `contact`"
                ))
            } else {
                told(format!("Contacts have {count} custom fields"))
            });
        }
        Ok(news)
    }

    /// A field that should be there and isn't.
    fn missing(&self, definitions: &Definitions) -> Option<&KnownField> {
        let Definitions { fields, unreadable, .. } = definitions;
        let is_there = |id: &String| fields.contains_key(id) || unreadable.contains_key(id);
        let mut known = self.fields.iter();
        known.find(|(id, field)| !field.is_removed && !is_there(id)).map(|(_, field)| field)
    }

    fn unreadable(&self, id: &str, reason: &RowDefect) -> News {
        attention(match self.fields.get(id) {
            Some(field) => format!(
                "The definition of the custom field `{}` ({id}) can't be read ({reason}); its column `{}` stays as it \
                 is, and goes on to be filled",
                field.bronto_name, field.column
            ),
            None => format!(
                "The definition of the custom field {id} can't be read ({reason}); the field is left out until it can \
                 be. Correct its name or label in Bronto"
            ),
        })
    }
}

impl KnownField {
    /// Takes what Bronto says of the field now.
    fn follow(&mut self, name: &str, bronto_type: &str, news: &mut Vec<News>) {
        let column = &self.column;
        if std::mem::take(&mut self.is_removed) {
            news.push(told(format!("The custom field `{name}` is back; its column is `{column}`")));
        }
        if self.bronto_name != name {
            news.push(told(format!(
                "The custom field `{}` is called `{name}` in Bronto now; its column stays `{column}`",
                self.bronto_name
            )));
            name.clone_into(&mut self.bronto_name);
        }
        if self.bronto_type != bronto_type {
            news.push(self.retyped(bronto_type));
            bronto_type.clone_into(&mut self.bronto_type);
        }
    }

    /// What a change of type means. The column keeps its own: values that are there already must keep their meaning.
    fn retyped(&self, bronto_type: &str) -> News {
        let Self { column, kind, bronto_name, .. } = self;
        let (old, kept) = (&self.bronto_type, kind.name());
        let change = format!(
            "The custom field `{bronto_name}` changed its type from `{old}` to `{bronto_type}` in Bronto"
        );
        if kind.holds_any_text() || FieldKind::of(bronto_type) == *kind {
            return told(format!("{change}; its column `{column}` stays as it is"));
        }
        attention(format!(
            "{change}, but its column `{column}` stays a {kept}: contacts whose content is no {kept} are rejected. To \
             hold them, rename the column in the destination, remove the field from `{FIELDS}` in the state of \
             `contact`, and replicate contacts from the start"
        ))
    }

    fn read(stored: &Value) -> Option<Self> {
        let text = |key: &str| stored.get(key).and_then(Value::as_str).map(str::to_owned);
        let column = text("name").filter(|name| !name.is_empty())?;
        Some(Self {
            kind: FieldKind::named(&text("type")?)?,
            bronto_name: text("bronto_name").unwrap_or_else(|| column.clone()),
            bronto_type: text("bronto_type").unwrap_or_default(),
            is_removed: stored.get("removed").and_then(Value::as_bool).unwrap_or_default(),
            column,
        })
    }

    fn to_json(&self) -> Value {
        let mut stored = Map::new();
        stored.insert("name".to_owned(), json!(self.column));
        stored.insert("type".to_owned(), json!(self.kind.name()));
        if self.bronto_name != self.column {
            stored.insert("bronto_name".to_owned(), json!(self.bronto_name));
        }
        stored.insert("bronto_type".to_owned(), json!(self.bronto_type));
        if self.is_removed {
            stored.insert("removed".to_owned(), json!(true));
        }
        Value::Object(stored)
    }
}

fn told(text: String) -> News {
    News { text, needs_attention: false }
}

fn attention(text: String) -> News {
    News { text, needs_attention: true }
}

fn doubtful(name: &str, reason: &str) -> SourceError {
    SourceError::new(
        SourceErrorKind::Unsound,
        format!(
            "The custom field `{name}` is gone from Bronto, or has the definition whose id can't be read ({reason})"
        ),
        "Correct the names and labels of custom fields in Bronto, or leave custom fields out of the selection",
    )
}

fn unusable() -> SourceError {
    SourceError::new(
        SourceErrorKind::Configuration,
        "`fields` in the state of `contact` is not an object of ids with `name` and `type` of a column",
        "Correct it; without it, custom fields get their columns anew, perhaps with other names and types",
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn definitions(fields: &[(&str, &str, &str)]) -> Definitions {
        let define = |(id, name, kind): &(&str, &str, &str)| {
            let label = format!("Label of {name}");
            let definition = FieldDefinition {
                name: (*name).to_owned(),
                label,
                bronto_type: (*kind).to_owned(),
            };
            ((*id).to_owned(), definition)
        };
        Definitions { fields: fields.iter().map(define).collect(), ..Definitions::default() }
    }

    fn texts(news: &[News]) -> String {
        let line = |news: &News| {
            let level = if news.needs_attention { "WARNING" } else { "INFO" };
            format!("{level} {}", news.text)
        };
        news.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// What there is after each of these reads, and what was said about the last.
    fn after(reads: &[&[(&str, &str, &str)]]) -> (KnownFields, String) {
        let mut known = KnownFields::default();
        let mut said = String::new();
        for read in reads {
            said = texts(&known.update(&definitions(read), false).unwrap());
            // Everything goes through the state.
            known = KnownFields::read(Some(&known.to_json())).unwrap();
        }
        (known, said)
    }

    const FIRST: &[(&str, &str, &str)] =
        &[("id-1", "points", "integer"), ("id-2", "opt_in", "checkbox"), ("id-3", "born", "date")];

    #[test]
    fn a_first_look_fixes_columns_and_is_short() {
        let (known, said) = after(&[FIRST]);
        assert_eq!(said, "INFO Contacts have 3 custom fields");
        let stored = json!({
            "id-1": {"name": "points", "type": "number", "bronto_type": "integer"},
            "id-2": {"name": "opt_in", "type": "boolean", "bronto_type": "checkbox"},
            "id-3": {"name": "born", "type": "date", "bronto_type": "date"},
        });
        assert_eq!(known.to_json(), stored);
        assert_eq!(after(&[FIRST, FIRST]), (known, String::new()));
    }

    #[test]
    fn renamed_removed_added_and_retyped_fields_are_told_once() {
        let now: &[(&str, &str, &str)] = &[
            ("id-1", "credits", "text"),
            ("id-3", "born", "text"),
            ("id-4", "points", "currency"),
            ("id-5", "Email", "radio"),
        ];
        let (known, said) = after(&[FIRST, now]);
        insta::assert_snapshot!(said, @"
        INFO The custom field `points` is called `credits` in Bronto now; its column stays `points`
        WARNING The custom field `credits` changed its type from `integer` to `text` in Bronto, but its column `points` stays a number: contacts whose content is no number are rejected. To hold them, rename the column in the destination, remove the field from `fields` in the state of `contact`, and replicate contacts from the start
        WARNING The custom field `opt_in` is gone from Bronto; its column `opt_in` is left out from now on, and what is stored in it stays
        INFO The custom field `born` changed its type from `date` to `text` in Bronto; its column `born` stays as it is
        INFO The custom field `points` (id-4) gets the column `points_id-4`: its own name is taken, or can't be a column's
        INFO The custom field `points` is new in Bronto: column `points_id-4` (number) from now on; contacts get it as they are modified, or all at a full refresh
        INFO The custom field `Email` (id-5) gets the column `Email_id-5`: its own name is taken, or can't be a column's
        INFO The custom field `Email` is new in Bronto: column `Email_id-5` (text) from now on; contacts get it as they are modified, or all at a full refresh
        ");
        assert_eq!(after(&[FIRST, now, now]), (known.clone(), String::new()));
        let present = known.present(&definitions(now));
        let columns: Vec<_> =
            present.iter().map(|field| (field.column.as_str(), field.kind)).collect();
        let expected = [
            ("points", FieldKind::Number),
            ("born", FieldKind::Date),
            ("points_id-4", FieldKind::Number),
            ("Email_id-5", FieldKind::Text),
        ];
        assert_eq!(columns, expected);
    }

    #[test]
    fn a_field_that_comes_back_has_its_column_again() {
        let gone = &FIRST[1..];
        let taken: &[(&str, &str, &str)] = &[("id-9", "points", "text")];
        let (known, said) = after(&[FIRST, gone, FIRST]);
        assert_eq!(said, "INFO The custom field `points` is back; its column is `points`");
        assert_eq!(known.to_json()["id-1"].get("removed"), None);
        let (known, _) = after(&[FIRST, &[gone, taken].concat()]);
        assert_eq!(known.to_json()["id-9"]["name"], "points_id-9", "the name stays taken");
    }

    #[test]
    fn a_definition_that_can_not_be_read_leaves_its_column_as_it_is() {
        let (mut known, _) = after(&[FIRST]);
        let mut now = definitions(&FIRST[1..]);
        now.unreadable.insert("id-1".to_owned(), RowDefect::BareAmpersand);
        now.unreadable.insert("id-4".to_owned(), RowDefect::NotUtf8);
        let before = known.clone();
        let said = texts(&known.update(&now, true).unwrap());
        insta::assert_snapshot!(said, @"
        WARNING The definition of the custom field `points` (id-1) can't be read (An ampersand begins no reference); its column `points` stays as it is, and goes on to be filled
        WARNING The definition of the custom field id-4 can't be read (The text has bytes that are not UTF-8); the field is left out until it can be. Correct its name or label in Bronto
        ");
        assert_eq!(known, before);
        let present = known.present(&now);
        assert_eq!(present.len(), 3);
        assert_eq!((present[0].id.as_str(), present[0].kind), ("id-1", FieldKind::Number));
        // One that was taken for removed is not.
        known.update(&definitions(&FIRST[1..]), true).unwrap();
        known.update(&now, true).unwrap();
        assert_eq!(known, before);
    }

    #[test]
    fn nothing_is_removed_for_a_definition_that_may_be_its_own() {
        let (mut known, _) = after(&[FIRST]);
        let before = known.clone();
        let nameless = Some("why".to_owned());
        let whole = Definitions { nameless: nameless.clone(), ..definitions(FIRST) };
        let said = texts(&known.update(&whole, true).unwrap());
        assert!(said.starts_with("WARNING A custom field has a definition"), "{said}");
        let lacking = Definitions { nameless, ..definitions(&FIRST[1..]) };
        let error = known.update(&lacking, true).unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Unsound);
        assert!(error.to_string().contains("`points`"), "{error}");
        assert_eq!(known, before);
    }

    #[test]
    fn that_contacts_read_before_lack_the_fields_is_said() {
        let said = |is_resumed| {
            texts(&KnownFields::default().update(&definitions(FIRST), is_resumed).unwrap())
        };
        assert!(said(true).starts_with("WARNING Contacts have 3 custom fields, which were not"));
        assert_eq!(said(false), "INFO Contacts have 3 custom fields");
    }

    #[test]
    fn a_field_goes_by_its_name_too() {
        let (known, _) = after(&[FIRST, &[("id-1", "credits", "integer")], &[]]);
        for name in ["points", "credits", "opt_in"] {
            assert!(known.has(name), "{name}");
        }
        assert!(!known.has("email"));
    }

    #[test]
    fn a_state_that_can_not_be_understood_is_named() {
        for stored in [
            json!([]),
            json!({"id": {}}),
            json!({"id": {"name": "x", "type": "integer"}}),
            json!({"id": {"name": "", "type": "text"}}),
        ] {
            let error = KnownFields::read(Some(&stored)).unwrap_err();
            assert_eq!(error.kind, SourceErrorKind::Configuration, "{stored}");
        }
        assert_eq!(KnownFields::read(Some(&Value::Null)).unwrap(), KnownFields::default());
    }
}
