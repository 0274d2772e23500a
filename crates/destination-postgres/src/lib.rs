//! PostgreSQL as a destination.
//!
//! Rows go by `copy … (format binary)`, encoded straight from their Arrow columns, into a temporary stage; from there
//! one statement inserts what is new and updates what differs and wins; arrays become subtables. A whole commit unit
//! is one transaction on one connection, which is thrown away when anything about it is in doubt.
//!
//! The parts: [`PostgresConfig`] says where and who; `connection` and `tls` get there; `layout` decides which tables
//! and columns a stream has; `sql` writes every statement; `encode` makes the rows' bytes; `claim`, `unit`, `merge` and
//! `activate` are the commit protocol's primitives; `failure` puts what goes wrong into words.

mod activate;
mod check;
mod claim;
mod config;
mod connection;
mod destination;
mod encode;
mod failure;
mod layout;
mod ledger;
mod limits;
mod lookup;
mod merge;
mod nested;
mod numeric;
mod password;
mod patience;
mod prepare;
mod reading;
mod scan;
mod session;
mod sql;
mod sql_type;
mod tls;
mod unit;

pub use config::{PostgresConfig, Resolver};
pub use destination::Postgres;
