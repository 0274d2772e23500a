//! The streams as a Singer catalog: written for discovery, and read back as a selection.

use std::collections::BTreeSet;

use replication::stream::{ColumnType, Method, StreamSchema};
use serde_json::{Map, Value, json};
use singer::{Catalog, CatalogEntry, CatalogError, Metadata, Selection};

use crate::{
    custom_fields::{CustomField, CustomSelection, CustomWish},
    nearest,
    streams::{BrontoStream, SelectedStream, StreamColumn},
};

/// The key in a field's metadata that holds a custom field's id, by which it is known whatever its name becomes.
const FIELD_ID: &str = "bronto-field-id";

/// What the tap offers of an account with these custom fields. The same bytes every time: it depends on nothing but
/// them and this program's version.
#[must_use]
pub fn discover(custom_fields: &[CustomField]) -> Catalog {
    let mut streams: Vec<CatalogEntry> = BrontoStream::ALL.into_iter().map(entry).collect();
    for contact in streams.iter_mut().filter(|entry| entry.stream == BrontoStream::Contact.name()) {
        for field in custom_fields {
            let mut property = json_type(&field.kind.column_type(), false);
            property["description"] = field.documentation().into();
            contact.schema["properties"][&field.column] = property;
            contact.metadata.push(
                Metadata::new(["properties", &field.column])
                    .with("inclusion", "available")
                    .with("selected-by-default", true)
                    .with(FIELD_ID, field.id.as_str()),
            );
        }
    }
    Catalog { streams, other: Map::new() }
}

/// Marks every stream of a catalog as selected, and every column that its schema or metadata names, whether or not it
/// has metadata of its own.
pub fn select_all(catalog: &mut Catalog) {
    for entry in &mut catalog.streams {
        let properties = entry.schema.get("properties").and_then(Value::as_object);
        let fields = properties.into_iter().flat_map(Map::keys);
        let fields = fields.map(|name| vec!["properties".to_owned(), name.clone()]);
        for place in std::iter::once(Vec::new()).chain(fields) {
            if entry.metadata_of(&place).is_none() {
                entry.metadata.push(Metadata::new(place));
            }
        }
        for metadata in &mut entry.metadata {
            metadata.metadata.insert("selected".to_owned(), true.into());
        }
    }
}

/// The streams and columns that a catalog selects, in the tap's own order.
///
/// Fields of contacts that the tap doesn't know are custom fields, of which the account will tell. One that the catalog
/// doesn't have, perhaps because it was added later, is not selected.
///
/// # Errors
/// [`CatalogError`] for a stream or column that the tap doesn't have, with the name that was probably meant. Whether
/// anything is selected is for the caller to judge.
pub fn selection(catalog: &Catalog) -> Result<Vec<SelectedStream>, CatalogError> {
    let mut selected = Vec::new();
    for entry in &catalog.streams {
        let stream = known_stream(&entry.tap_stream_id)?;
        check_fields(stream, entry)?;
        let mut complete = entry.clone();
        // Keys are automatic whatever the catalog says of them.
        complete.key_properties = Some(stream.key().iter().map(|&key| key.to_owned()).collect());
        add_mentioned_fields(stream, &mut complete);
        let selection = Selection::of(&complete);
        if !selection.is_selected() {
            continue;
        }
        let method = chosen_method(entry)?;
        let columns = stream.columns();
        let names = columns.iter().map(|column| column.name).filter(|name| selection.field(name));
        let chosen = SelectedStream::with_columns(stream, names).map_err(|unknown| {
            CatalogError::UnknownField {
                stream: unknown.stream.to_owned(),
                field: unknown.column,
                nearest: unknown.nearest,
            }
        })?;
        let chosen = chosen.with_custom_fields(custom_fields(stream, entry, &selection));
        selected.push(match method {
            Some(method) => {
                chosen.with_method(method).map_err(|unfit| unfit_method(entry, unfit.reason()))?
            }
            None => chosen,
        });
    }
    selected.sort_by_key(SelectedStream::stream);
    Ok(selected)
}

/// The custom fields that an entry selects.
fn custom_fields(
    stream: BrontoStream,
    entry: &CatalogEntry,
    selection: &Selection,
) -> CustomSelection {
    let own = stream.columns();
    let is_custom = |name: &&str| !own.iter().any(|column| column.name == *name);
    let wishes =
        field_names(entry).into_iter().filter(is_custom).filter(|name| selection.field(name));
    let wish = |name: &str| {
        let id =
            entry.metadata_of(&["properties", name]).and_then(|metadata| metadata.text(FIELD_ID));
        CustomWish { name: name.to_owned(), id: id.map(str::to_owned) }
    };
    CustomSelection::Only(wishes.map(wish).collect())
}

/// The fields that an entry has in its schema or mentions in its metadata, each once.
fn field_names(entry: &CatalogEntry) -> BTreeSet<&str> {
    let properties = entry.schema.get("properties").and_then(Value::as_object);
    let in_schema = properties.into_iter().flat_map(Map::keys).map(String::as_str);
    in_schema.chain(entry.mentioned_fields().map(|(name, _)| name)).collect()
}

fn known_stream(name: &str) -> Result<BrontoStream, CatalogError> {
    BrontoStream::named(name).ok_or_else(|| CatalogError::UnknownStream {
        stream: name.to_owned(),
        nearest: nearest::name(name, BrontoStream::ALL.map(BrontoStream::name)),
    })
}

/// Every field that the entry has in its schema or mentions in its metadata must exist; whether a contact's does can
/// only the account tell.
fn check_fields(stream: BrontoStream, entry: &CatalogEntry) -> Result<(), CatalogError> {
    if stream == BrontoStream::Contact {
        return Ok(());
    }
    let columns = stream.columns();
    for name in field_names(entry) {
        if !columns.iter().any(|column| column.name == name) {
            return Err(CatalogError::UnknownField {
                stream: stream.name().to_owned(),
                field: name.to_owned(),
                nearest: nearest::name(name, columns.iter().map(|column| column.name)),
            });
        }
    }
    Ok(())
}

/// A column that only the entry's metadata names is one all the same: its schema is ours to say.
fn add_mentioned_fields(stream: BrontoStream, entry: &mut CatalogEntry) {
    let own = schema(&SelectedStream::all(stream));
    let mentioned: Vec<String> =
        entry.mentioned_fields().map(|(name, _)| name.to_owned()).collect();
    if let Some(properties) = entry.schema.get_mut("properties").and_then(Value::as_object_mut) {
        for name in mentioned {
            let property = own["properties"].get(&name).cloned().unwrap_or_else(|| json!({}));
            properties.entry(name).or_insert(property);
        }
    }
}

/// What the entry says of the stream's method, in the metadata or beside it. What a discovery wrote as forced is no
/// choice.
fn asked_method(entry: &CatalogEntry) -> Option<&str> {
    let metadata = entry.metadata_of::<&str>(&[]);
    let chosen = metadata.and_then(|metadata| metadata.text("replication-method"));
    chosen.or(entry.replication_method.as_deref())
}

/// The method that the entry chooses, if it does.
fn chosen_method(entry: &CatalogEntry) -> Result<Option<Method>, CatalogError> {
    match asked_method(entry) {
        None => Ok(None),
        Some("INCREMENTAL") => Ok(Some(Method::Incremental)),
        Some("FULL_TABLE") => Ok(Some(Method::FullTable)),
        Some(_) => Err(unfit_method(entry, "the tap has `INCREMENTAL` and `FULL_TABLE`")),
    }
}

fn unfit_method(entry: &CatalogEntry, reason: &str) -> CatalogError {
    CatalogError::UnfitMethod {
        stream: entry.tap_stream_id.clone(),
        method: asked_method(entry).unwrap_or_default().to_owned(),
        reason: reason.to_owned(),
    }
}

fn method(stream: BrontoStream) -> &'static str {
    match stream.method() {
        Method::Incremental => "INCREMENTAL",
        Method::FullTable => "FULL_TABLE",
    }
}

fn entry(stream: BrontoStream) -> CatalogEntry {
    let replication_key = stream.replication_key();
    let mut of_stream = Metadata::new::<String>([])
        .with("inclusion", "available")
        .with("selected-by-default", true)
        .with("table-key-properties", stream.key());
    if stream.methods().len() == 1 {
        of_stream = of_stream.with("forced-replication-method", method(stream));
    }
    if let Some(key) = replication_key {
        of_stream = of_stream.with("valid-replication-keys", vec![key]);
    }
    let fields = stream.columns().into_iter().map(|column| {
        let is_automatic = stream.is_automatic(column.name);
        Metadata::new(["properties", column.name])
            .with("inclusion", if is_automatic { "automatic" } else { "available" })
            .with("selected-by-default", true)
    });
    CatalogEntry {
        tap_stream_id: stream.name().to_owned(),
        stream: stream.name().to_owned(),
        schema: schema(&SelectedStream::all(stream)),
        key_properties: Some(stream.key().iter().map(|&key| key.to_owned()).collect()),
        replication_key: replication_key.map(str::to_owned),
        replication_method: Some(method(stream).to_owned()),
        metadata: std::iter::once(of_stream).chain(fields).collect(),
        other: Map::new(),
    }
}

/// The JSON Schema of a stream's records, with the columns that batches of this schema have besides the stream's own:
/// custom fields.
#[must_use]
pub fn record_schema(selected: &SelectedStream, batches: &StreamSchema) -> Value {
    let mut schema = schema(selected);
    for column in batches.columns.iter().filter(|column| !selected.has(&column.name)) {
        schema["properties"][&column.name] = match column.column_type {
            // Numbers that come with their digits.
            ColumnType::Json => json_type(&ColumnType::Number, false),
            ref other => json_type(other, false),
        };
    }
    schema
}

/// The JSON Schema of a stream's records, custom fields aside. All but the keys may be null, because the API may leave out any field.
#[must_use]
pub fn schema(selected: &SelectedStream) -> Value {
    let stream = selected.stream();
    let property = |column: &StreamColumn| {
        let mut property = json_type(&column.column_type, stream.key().contains(&column.name));
        property["description"] = column.documentation.into();
        (column.name.to_owned(), property)
    };
    let properties: Map<String, Value> = selected.columns().iter().map(property).collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn json_type(column_type: &ColumnType, is_key: bool) -> Value {
    let typed =
        |name: &str| if is_key { json!({"type": name}) } else { json!({"type": ["null", name]}) };
    match column_type {
        ColumnType::Text => typed("string"),
        ColumnType::Integer => typed("integer"),
        ColumnType::Number => typed("number"),
        ColumnType::Boolean => typed("boolean"),
        ColumnType::Timestamp => {
            let mut property = typed("string");
            property["format"] = "date-time".into();
            property
        }
        ColumnType::Json | ColumnType::Objects(_) => json!({}),
        ColumnType::List(item) => {
            let mut property = typed("array");
            property["items"] = json_type(item, true);
            property
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn columns(selected: &[SelectedStream]) -> Vec<(&'static str, usize)> {
        selected
            .iter()
            .map(|selected| (selected.stream().name(), selected.columns().len()))
            .collect()
    }

    #[test]
    fn t14_discovery_is_deterministic_and_accepted_back_whole() {
        let text = discover(&[]).to_json();
        assert_eq!(text, discover(&[]).to_json());
        let catalog = Catalog::parse(&text).unwrap();
        let all = BrontoStream::ALL.into_iter().map(SelectedStream::all);
        let all: Vec<_> =
            all.map(|stream| stream.with_custom_fields(CustomSelection::NONE)).collect();
        assert_eq!(selection(&catalog).unwrap(), all);
    }

    #[test]
    fn a_column_that_only_the_metadata_names_is_selected() {
        let mut catalog = discover(&[]);
        let contact = catalog.streams.iter_mut().find(|entry| entry.stream == "contact").unwrap();
        contact.schema["properties"].as_object_mut().unwrap().remove("email").unwrap();
        let selected = selection(&catalog).unwrap();
        assert!(selected.iter().any(|stream| stream.has("email")));
    }

    #[test]
    fn everything_that_a_trimmed_catalog_names_can_be_selected() {
        let trimmed = r#"{"streams": [{"stream": "list", "schema": {"properties": {
            "name": {"selected": false}, "label": {}}}, "metadata": [
            {"breadcrumb": ["properties", "status"], "metadata": {"selected": false}}]}]}"#;
        let mut catalog = Catalog::parse(trimmed).unwrap();
        assert_eq!(columns(&selection(&catalog).unwrap()), []);
        select_all(&mut catalog);
        let selected = selection(&catalog).unwrap();
        let named = ["name", "label", "status"];
        assert!(selected.len() == 1 && named.iter().all(|column| selected[0].has(column)));
        assert!(!selected[0].has("activeCount"), "what the catalog leaves out stays out");
    }

    #[test]
    fn t11_t13_every_field_has_metadata_and_keys_are_automatic() {
        for entry in discover(&[]).streams {
            let stream = BrontoStream::named(&entry.tap_stream_id).unwrap();
            for column in stream.columns() {
                let metadata = entry.metadata_of(&["properties", column.name]).unwrap();
                assert_eq!(
                    metadata.text("inclusion") == Some("automatic"),
                    stream.is_automatic(column.name)
                );
            }
        }
    }

    #[test]
    fn schemas_are_as_stitch_has_them() {
        let list = discover(&[]).stream("list").unwrap().schema.clone();
        let id = json!({"type": "string", "description": "The list's id."});
        assert_eq!(list["properties"]["id"], id);
        assert_eq!(list["properties"]["activeCount"]["type"], json!(["null", "integer"]));
        assert_eq!(
            (&list["type"], &list["additionalProperties"]),
            (&json!("object"), &json!(false))
        );
        let contact = schema(&SelectedStream::all(BrontoStream::Contact));
        let property = |name: &str| {
            let mut property = contact["properties"][name].clone();
            property.as_object_mut().unwrap().shift_remove("description");
            property
        };
        assert_eq!(
            property("modified"),
            json!({"type": ["null", "string"], "format": "date-time"})
        );
        assert_eq!(property("created"), json!({"type": ["null", "string"]}));
        assert_eq!(property("totalRevenue"), json!({"type": ["null", "number"]}));
        assert_eq!(
            property("listIds"),
            json!({"type": ["null", "array"], "items": {"type": "string"}})
        );
    }

    #[test]
    fn t16_marks_decide() {
        let mut catalog = discover(&[]);
        let deselect = |catalog: &mut Catalog, stream: &str, breadcrumb: &[&str]| {
            let entry = catalog.streams.iter_mut().find(|entry| entry.stream == stream).unwrap();
            let place = entry
                .metadata
                .iter_mut()
                .find(|metadata| metadata.breadcrumb == breadcrumb)
                .unwrap();
            place.metadata.insert("selected".to_owned(), false.into());
        };
        deselect(&mut catalog, "list", &[]);
        deselect(&mut catalog, "contact", &["properties", "email"]);
        deselect(&mut catalog, "contact", &["properties", "id"]);
        let chosen = selection(&catalog).unwrap();
        let expected = [
            ("contact", 40),
            ("inbound_activity", 36),
            ("outbound_activity", 36),
            ("unsubscribe", 5),
        ];
        assert_eq!(columns(&chosen), expected);
        assert!(chosen[0].has("id") && !chosen[0].has("email"));
        select_all(&mut catalog);
        assert_eq!(selection(&catalog).unwrap().len(), 5);
    }

    #[test]
    fn methods_are_taken_from_the_metadata_or_the_entry() {
        let chosen = |stream: &str, of_entry: Option<&str>, of_metadata: Option<&str>| {
            let mut catalog = discover(&[]);
            catalog.streams.retain(|entry| entry.stream == stream);
            let entry = &mut catalog.streams[0];
            entry.replication_method = of_entry.map(str::to_owned);
            if let Some(method) = of_metadata {
                let of_stream = entry.metadata.iter_mut().find(|one| one.breadcrumb.is_empty());
                let of_stream = &mut of_stream.unwrap().metadata;
                of_stream.insert("replication-method".to_owned(), method.into());
            }
            selection(&catalog)
                .map(|selected| selected[0].method())
                .map_err(|error| error.to_string())
        };
        let (incremental, full) = (Some("INCREMENTAL"), Some("FULL_TABLE"));
        assert_eq!(chosen("contact", None, None), Ok(Method::Incremental));
        assert_eq!(chosen("contact", incremental, full), Ok(Method::FullTable));
        assert_eq!(chosen("unsubscribe", full, None), Ok(Method::FullTable));
        assert_eq!(chosen("contact", full, incremental), Ok(Method::Incremental));
        assert_eq!(chosen("list", full, full), Ok(Method::FullTable));
        let refusals = [
            chosen("list", full, incremental),
            chosen("inbound_activity", incremental, full),
            chosen("contact", incremental, Some("LOG_BASED")),
        ];
        let refusals: Vec<_> = refusals.into_iter().map(Result::unwrap_err).collect();
        insta::assert_snapshot!(refusals.join("\n"), @r"
        The catalog asks for `INCREMENTAL` as replication method of `list`: Bronto has no date to select lists by, so every run reads them all
        The catalog asks for `FULL_TABLE` as replication method of `inbound_activity`: Bronto gives the activities of the last 30 days only, and with each run the older ones would go
        The catalog asks for `LOG_BASED` as replication method of `contact`: the tap has `INCREMENTAL` and `FULL_TABLE`
        ");
    }

    #[test]
    fn unknown_names_are_errors_with_the_nearest() {
        let error = |text: &str| selection(&Catalog::parse(text).unwrap()).unwrap_err().to_string();
        assert_eq!(
            error(
                r#"{"streams": [{"tap_stream_id": "contacts", "stream": "contacts", "schema": {}}]}"#
            ),
            "The tap has no stream `contacts`; did you mean `contact`?"
        );
        let unknown = "Stream `list` has no field `activecounts`; did you mean `activeCount`?";
        assert_eq!(
            error(
                r#"{"streams": [{"stream": "list", "schema": {"properties": {"activecounts": {}}}}]}"#
            ),
            unknown
        );
        assert_eq!(
            error(
                r#"{"streams": [{"stream": "list", "schema": {}, "metadata": [
                {"breadcrumb": ["properties", "activecounts"], "metadata": {"selected": true}}]}]}"#
            ),
            unknown
        );
    }
}
