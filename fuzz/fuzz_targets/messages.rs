//! The lines of a Singer tap, and the schemas in them.
#![no_main]

#[path = "../properties/messages.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|line: &str| property::holds(line));
