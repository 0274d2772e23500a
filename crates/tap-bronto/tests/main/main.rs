//! The tap against the simulated server, as a source and as a program.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

mod account;
mod again;
mod behaviours;
mod checking;
mod corpus;
mod custom_fields;
mod documentation;
mod peers;
mod planning;
mod program;
mod resumption;
mod seeded;
mod table;
mod whole;
mod whole_account;
