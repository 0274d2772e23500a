//! The client against servers: scripted ones for every way in which HTTP and sessions can go
//! wrong, and the simulated account for the whole walk.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

mod corpus;
mod faults;
mod secrecy;
mod server;
mod sessions;
mod simulated;
mod transport;
