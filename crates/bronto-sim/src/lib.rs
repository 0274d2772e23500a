//! A simulated Bronto account, and the SOAP server that answers for it.
//!
//! Bronto's API was shut down in 2022, so nothing can be tested against it. This crate stands in: a
//! made-up but lifelike account, served the way the documentation says, with every point that the
//! documentation leaves open, and every failure, as a switchable [`Behaviour`]. It shares no code with
//! `bronto-client`, so that a misreading of the API can't hide in both.
//!
//! The same configuration gives the same account, byte for byte. [`RunningServer::truth`] says what the
//! account holds, for comparison with what a reader made of it.
//!
//! The program `bronto-sim` serves an account on the command line; tests and the demo start one in their
//! own process with [`Server::start`].

mod account;
mod behaviour;
mod chance;
mod clock;
mod config;
mod control;
mod fault;
mod filter;
mod instant;
mod reads;
mod request;
mod response;
mod row;
mod schema;
mod server;
mod service;
mod session;
mod settings;
mod statistics;
mod truth;
mod wsdl;
mod xml;

pub use account::custom_field::{CustomField, FieldChange, UnknownField};
pub use account::mutation::{Mutation, MutationReport};
pub use account::{Table, UnknownTable};
pub use behaviour::{Behaviour, BehaviourError, behaviours};
pub use clock::ClockMode;
pub use config::{DEFAULT_TOKEN, Permissions, SimConfig, TokenGrant, default_now};
pub use server::{RunningServer, Server, StartError};
pub use statistics::Stats;
