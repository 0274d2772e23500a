//! The catalogs and configurations that fuzzing starts from, held to the same rules without it.

use std::{fs, path::Path};

#[path = "../../../../fuzz/properties/catalog.rs"]
mod catalog;
#[path = "../../../../fuzz/properties/settings.rs"]
mod settings;

/// The texts of one corpus.
fn corpus(name: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn every_catalog_of_the_corpus_selects_what_the_tap_has() {
    let catalogs = corpus("catalog");
    assert!(catalogs.len() >= 4);
    catalogs.iter().for_each(|text| catalog::holds(text));
    catalog::holds(&tap_bronto::catalog::discover(&[]).to_json());
}

#[test]
fn every_configuration_of_the_corpus_is_within_limits_or_refused() {
    let configurations = corpus("settings");
    assert!(configurations.len() >= 4);
    configurations.iter().for_each(|text| settings::holds(text));
}
