//! The tap's configuration file.
#![no_main]

#[path = "../properties/settings.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|text: &str| property::holds(text));
