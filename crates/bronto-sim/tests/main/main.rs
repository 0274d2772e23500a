//! The simulated server from outside: over HTTP, as programs and people meet it.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

mod account;
mod behaviours;
mod calls;
mod control;
mod description;
mod documentation;
mod failures;
mod peers;
mod program;
mod soap;
