//! The Singer protocol: messages, catalog, selection and state.
//!
//! Singer is the line protocol that taps (sources) and targets (destinations) speak to each other:
//! one JSON object a line on standard output. This crate knows the protocol and nothing else: it
//! neither reads a source nor writes a table, and it opens no file.
//!
//! | module | holds |
//! |---|---|
//! | [`message`] | the lines themselves, read one at a time |
//! | [`writer`] | the lines, written without an intermediate tree of values |
//! | [`json`] | exact and fast writing of JSON values into a byte buffer |
//! | [`instant`] | times as the protocol writes them, exact to the microsecond |
//! | [`schema`] | JSON Schema, read as far as it says which values a column can hold |
//! | [`catalog`] | what a tap offers, and what was chosen from it |
//! | [`selection`] | the rules by which that choice resolves to streams and fields |
//! | [`state`] | bookmarks, carried between runs |
//! | [`metric`] | the metric lines in a tap's log |
//!
//! Two rules hold everywhere. Numbers keep their text and never pass through a binary float. An
//! error names the stream and the field, and never repeats a value, because a line may hold
//! personal data.

pub mod catalog;
pub mod instant;
pub mod json;
pub mod line;
pub mod message;
pub mod metric;
pub mod schema;
pub mod selection;
pub mod state;
pub mod writer;

pub use catalog::{Catalog, CatalogEntry, CatalogError, Inclusion, Metadata};
pub use line::LineShape;
pub use message::{Message, MessageError, RecordMessage, SchemaMessage, StateMessage};
pub use metric::Metric;
pub use schema::{PropertyType, SchemaError, StreamSchema};
pub use selection::{Selection, SelectionError};
pub use state::{State, StateError};
pub use writer::{MessageWriter, RecordFrame, RecordHeader};
