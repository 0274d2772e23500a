//! DuckDB as a destination: one schema of one file.
//!
//! Four decisions shape this crate:
//! - **One open database per file and process** (module `file`). DuckDB locks a file against other processes but not against
//!   a second opening in its own, whose commits would vanish. So a registry hands out connections, and lets the file go
//!   now and then so that people can query it while a long run goes on.
//! - **Rows go straight from Arrow into `merge`** (module `batch`), without a staging table.
//! - **No primary key on user tables**, which would double the cost of a merge. Keys are unique because the loader merges
//!   by them, under a claim, one unit at a time.
//! - **DuckDB is blocking**, so all of it runs on the runtime's blocking threads (module `session`).

mod batch;
mod check;
mod claim;
mod config;
mod creation;
mod destination;
mod failure;
mod file;
mod ledger;
mod rejects;
mod scan;
mod session;
mod sql;
mod table;
mod transaction;
mod version;

pub use config::{DEFAULT_MEMORY_LIMIT, DuckDbConfig};
pub use destination::DuckDb;
