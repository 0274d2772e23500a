//! Bronto's streams as a [`Source`](replication::source::Source): rows from SOAP answers straight into Arrow batches.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | what can be set, and reading it from JSON and the environment |
//! | [`streams`] | the five streams, their columns and selections |
//! | [`catalog`] | the same as a Singer catalog, written and read |
//! | [`custom_fields`] | columns for the fields that accounts define for their contacts |
//! | [`activity_id`] | ids for activities, which have none |
//! | [`lines`], [`rendering`] | rows as JSON: while they are read, and out of batches |
//! | [`rereading`] | spans that are read again, to be compared with a destination |
//! | [`source`] | the account: workers, one per stream |
//!
//! Inside, `window` holds the model of the server on which completeness rests, and lays the windows; `reader` reads
//! them whole; `page` turns answers into `rows`, as `columns` or `lines`; `seen` keeps repeated reads from repeating
//! rows; `replay` reads rejects again.
//!
//! In a program:
//!
//! ```no_run
//! use tap_bronto::{BrontoSource, TapConfig};
//!
//! let config = TapConfig { settle_seconds: 300, ..TapConfig::new("3D5A2C10-…".into()) };
//! let source = BrontoSource::new(config)?;
//! # Ok::<(), replication::source::SourceError>(())
//! ```

pub mod activity_id;
pub mod allocation;
mod bookmark;
pub mod catalog;
mod check;
mod columns;
pub mod config;
pub mod custom_fields;
mod failure;
mod fingerprint;
pub mod lines;
mod nearest;
mod page;
mod passes;
mod reader;
mod reading;
pub mod recorded;
pub mod rendering;
mod replay;
pub mod rereading;
mod rows;
mod scope;
mod seen;
pub mod source;
pub mod streams;
mod window;

pub use activity_id::IdScheme;
pub use config::TapConfig;
pub use reader::default_start_date;
pub use replay::BrontoRejects;
pub use source::BrontoSource;
pub use streams::{BrontoStream, NumberForm, SelectedStream, UnfitMethod};
