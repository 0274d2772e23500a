//! A Singer catalog with its selection, as the tap reads it.
#![no_main]

#[path = "../properties/catalog.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|text: &str| property::holds(text));
