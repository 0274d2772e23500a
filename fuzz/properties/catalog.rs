//! What holds for every catalog that people and runners can write.
//!
//! Reading it never panics, and writing it again changes nothing. What the tap makes of it is a part of what the tap has,
//! with all keys; selecting everything selects every stream that the catalog names.

use singer::{Catalog, Selection, StreamSchema};
use tap_bronto::catalog;

/// Checks all that holds for a catalog. Panics where it doesn't.
pub(crate) fn holds(text: &str) {
    let Ok(mut catalog) = Catalog::parse(text) else { return };
    let again = Catalog::parse(&catalog.to_json()).expect("what was written can be read");
    assert_eq!(again, catalog);
    for entry in &catalog.streams {
        let selection = Selection::of(entry);
        if !selection.is_selected() {
            assert!(entry.keys().iter().all(|key| !selection.field(key)));
        }
        drop(StreamSchema::read(&entry.schema));
    }
    if let Ok(selected) = catalog::selection(&catalog) {
        for stream in &selected {
            assert!(stream.stream().key().iter().all(|key| stream.has(key)), "keys are automatic");
        }
    }
    catalog::select_all(&mut catalog);
    if let Ok(selected) = catalog::selection(&catalog) {
        let unsupported = catalog.to_json().contains("unsupported");
        assert!(unsupported || selected.len() == catalog.streams.len(), "all is selected");
    }
}
