//! Bronto's answers: pages of every read, faults and logins.
#![no_main]

#[path = "../properties/answers.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|body: &[u8]| property::holds(body, 16));
