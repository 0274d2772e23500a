//! A Singer state, and what the tap's streams make of their parts.
#![no_main]

#[path = "../properties/state.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|text: &str| property::holds(text));
