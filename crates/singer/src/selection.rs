//! The rules by which a catalog's marks resolve to streams and fields.
//!
//! Every place of a stream (the stream, a field, a field inside an object, the items of an array)
//! is decided in this order, the parent first:
//!
//! 1. A parent that isn't selected deselects everything below it.
//! 2. `inclusion: unsupported` is never selected, `inclusion: automatic` always; keys are automatic.
//! 3. `selected`, if it is there: in the metadata, or the old way inside the schema.
//! 4. `selected-by-default`, if it is there.
//! 5. The parent's value; for a stream, no.
//!
//! A stream with no metadata at all and no mark in its schema is selected with all its fields.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::catalog::{Catalog, CatalogEntry, Inclusion, flag, inclusion};

/// Which places of one stream are selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    is_selected: bool,
    /// Every place below the stream that the schema has.
    places: BTreeMap<Vec<String>, bool>,
}

/// Why a selection can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// A run would replicate nothing.
    #[error("The catalog selects no stream")]
    NothingSelected,
}

impl SelectionError {
    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NothingSelected => {
                "Set `selected` to true in the metadata of each wanted stream's empty breadcrumb"
            }
        }
    }
}

impl Catalog {
    /// The selected streams with their selections, in the catalog's order.
    ///
    /// # Errors
    /// [`SelectionError::NothingSelected`] if there are none: a run that does nothing and succeeds
    /// would hide a mistake in the catalog.
    pub fn selected(&self) -> Result<Vec<(&CatalogEntry, Selection)>, SelectionError> {
        let selected: Vec<_> = self
            .streams
            .iter()
            .map(|entry| (entry, Selection::of(entry)))
            .filter(|(_, selection)| selection.is_selected())
            .collect();
        if selected.is_empty() {
            return Err(SelectionError::NothingSelected);
        }
        Ok(selected)
    }
}

impl Selection {
    /// Resolves the marks of one stream.
    #[must_use]
    pub fn of(entry: &CatalogEntry) -> Self {
        let mut resolver = Resolver { entry, keys: entry.keys(), places: BTreeMap::new() };
        let unmarked = entry.metadata.is_empty();
        let is_selected = resolver.decide(&[], &entry.schema, unmarked);
        resolver.descend(&mut Vec::new(), &entry.schema, is_selected);
        Self { is_selected, places: resolver.places }
    }

    /// Whether the stream is replicated at all.
    #[must_use]
    pub fn is_selected(&self) -> bool {
        self.is_selected
    }

    /// Whether a field of the top level is selected; no for a field that the schema doesn't have.
    #[must_use]
    pub fn field(&self, name: &str) -> bool {
        self.place(&["properties", name])
    }

    /// Whether the place with this breadcrumb is selected; no for one that the schema doesn't have.
    fn place(&self, breadcrumb: &[&str]) -> bool {
        if breadcrumb.is_empty() {
            return self.is_selected;
        }
        let breadcrumb: Vec<String> = breadcrumb.iter().map(|&step| step.to_owned()).collect();
        self.places.get(&breadcrumb).copied().unwrap_or(false)
    }
}

/// Walks a schema and decides place by place.
struct Resolver<'entry> {
    entry: &'entry CatalogEntry,
    keys: Vec<&'entry str>,
    places: BTreeMap<Vec<String>, bool>,
}

impl Resolver<'_> {
    fn descend(&mut self, breadcrumb: &mut Vec<String>, schema: &Value, parent: bool) {
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                breadcrumb.extend(["properties".to_owned(), name.clone()]);
                self.visit(breadcrumb, property, parent);
                breadcrumb.truncate(breadcrumb.len() - 2);
            }
        }
        if let Some(items @ Value::Object(_)) = schema.get("items") {
            breadcrumb.push("items".to_owned());
            self.visit(breadcrumb, items, parent);
            breadcrumb.pop();
        }
    }

    fn visit(&mut self, breadcrumb: &mut Vec<String>, schema: &Value, parent: bool) {
        let is_selected = parent && self.decide(breadcrumb, schema, parent);
        self.places.insert(breadcrumb.clone(), is_selected);
        self.descend(breadcrumb, schema, is_selected);
    }

    /// Decides a place whose parent is selected; `inherited` is what holds if nothing is said.
    fn decide(&self, breadcrumb: &[String], schema: &Value, inherited: bool) -> bool {
        let metadata = self.entry.metadata_of(breadcrumb);
        let is_key = matches!(breadcrumb, [_, name] if self.keys.contains(&name.as_str()));
        let included = metadata
            .and_then(crate::Metadata::inclusion)
            .or_else(|| schema.get("inclusion").and_then(inclusion));
        match included {
            Some(Inclusion::Unsupported) => return false,
            Some(Inclusion::Automatic) => return true,
            _ if is_key => return true,
            _ => {}
        }
        metadata
            .and_then(|metadata| metadata.flag("selected"))
            .or_else(|| schema.get("selected").and_then(flag))
            .or_else(|| metadata.and_then(|metadata| metadata.flag("selected-by-default")))
            .unwrap_or(inherited)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(schema: &Value, metadata: &Value) -> CatalogEntry {
        let catalog = json!({"streams": [{"stream": "s", "schema": schema, "metadata": metadata}]});
        Catalog::try_from(catalog).unwrap().streams.remove(0)
    }

    fn field_selected(stream: &Value, field: &Value) -> bool {
        let schema = json!({"properties": {"f": {}}});
        let metadata = json!([
            {"breadcrumb": [], "metadata": stream},
            {"breadcrumb": ["properties", "f"], "metadata": field},
        ]);
        Selection::of(&entry(&schema, &metadata)).field("f")
    }

    /// The full matrix of parent, inclusion, `selected` and `selected-by-default`, with booleans
    /// written both ways.
    #[test]
    fn t16_resolution_order() {
        let flags = [None, Some(true), Some(false)];
        for parent in [true, false] {
            for inclusion in [None, Some("available"), Some("automatic"), Some("unsupported")] {
                for selected in flags {
                    for by_default in flags {
                        for as_text in [true, false] {
                            let write = |flag: bool| {
                                if as_text { json!(flag.to_string()) } else { json!(flag) }
                            };
                            let mut field = json!({});
                            if let Some(inclusion) = inclusion {
                                field["inclusion"] = json!(inclusion);
                            }
                            if let Some(flag) = selected {
                                field["selected"] = write(flag);
                            }
                            if let Some(flag) = by_default {
                                field["selected-by-default"] = write(flag);
                            }
                            let expected = parent
                                && match inclusion {
                                    Some("unsupported") => false,
                                    Some("automatic") => true,
                                    _ => selected.or(by_default).unwrap_or(true),
                                };
                            let stream = json!({"selected": write(parent)});
                            assert_eq!(
                                field_selected(&stream, &field),
                                expected,
                                "{parent} {field}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn t13_keys_cannot_be_deselected() {
        let stream = json!({"selected": true, "table-key-properties": ["f"]});
        assert!(field_selected(&stream, &json!({"selected": false, "inclusion": "available"})));
    }

    #[test]
    fn t17_no_metadata_selects_everything_and_silent_metadata_nothing() {
        let schema = json!({"properties": {"f": {"properties": {"g": {}}}}});
        let all = Selection::of(&entry(&schema, &json!([])));
        assert!(all.is_selected() && all.field("f"));
        assert!(all.place(&["properties", "f", "properties", "g"]));
        assert!(!all.field("missing"));
        let silent = json!([{"breadcrumb": [], "metadata": {"row-count": 1}}]);
        assert!(!Selection::of(&entry(&schema, &silent)).is_selected());
    }

    #[test]
    fn t18_marks_inside_the_schema_count() {
        let schema = json!({"selected": "true", "properties": {
            "kept": {}, "dropped": {"selected": "false"}, "key": {"inclusion": "automatic", "selected": false}}});
        let selection = Selection::of(&entry(&schema, &json!([])));
        assert!(selection.field("kept") && selection.field("key") && !selection.field("dropped"));
        let schema = json!({"selected": false, "properties": {"f": {"selected": true}}});
        let selection = Selection::of(&entry(&schema, &json!([])));
        assert!(!selection.is_selected() && !selection.field("f"));
    }

    #[test]
    fn t19_the_default_selection_holds_where_nothing_is_marked() {
        assert!(field_selected(&json!({"selected-by-default": true}), &json!({})));
        assert!(!field_selected(
            &json!({"selected-by-default": false}),
            &json!({"selected": true})
        ));
    }

    #[test]
    fn t20_a_catalog_that_selects_nothing_is_an_error() {
        let stream = |name: &str, selected: bool| {
            json!({"stream": name, "schema": {}, "metadata": [
                {"breadcrumb": [], "metadata": {"selected": selected}}]})
        };
        let none = Catalog::try_from(json!({"streams": [stream("a", false)]})).unwrap();
        assert_eq!(none.selected().unwrap_err(), SelectionError::NothingSelected);
        let one = json!({"streams": [stream("a", false), stream("b", true)]});
        let one = Catalog::try_from(one).unwrap();
        let selected = one.selected().unwrap();
        assert_eq!(selected.len(), 1);
        assert_eq!(selected[0].0.tap_stream_id, "b");
    }
}
