//! Client of the Bronto SOAP API v4: envelopes, sessions, faults and typed reads.
//!
//! The crate knows the Bronto service and nothing else: no Singer, no Arrow, no destination. A
//! [`Client`] holds the token and the limits; each worker asks it for a [`Session`] of its own,
//! as Bronto advises; a session sends one [`ReadRequest`] at a time, retries what may be retried,
//! and decodes the answer straight into the caller's [`RowSink`], one call per value.
//!
//! Three rules shape everything here:
//!
//! * **A part is never taken for the whole.** An answer counts only when its envelope is complete
//!   and is the answer to what was asked. A truncated document, an empty body, bare text, HTML, a
//!   second root or another operation's element is an error, never a short page.
//! * **A page is never dropped for one object.** An object that can't be decoded is handed to
//!   [`RowSink::reject_row`] with its raw text, and the page goes on.
//! * **A cursor is never guessed.** A request for the next activities whose answer was lost isn't
//!   repeated, because the server may have moved on: the caller gets
//!   [`ClientError::CursorLost`] and begins the window again.
//!
//! The token appears in no message, log event or `Debug` text; faults whose text carries it lose
//! that text.

mod bodies;
mod client;
mod config;
pub mod decode;
mod endpoint;
mod envelope;
mod error;
mod fault;
mod fault_code;
mod inflow;
pub mod lexical;
mod object;
mod object_tables;
mod request;
mod resolver;
mod session;
mod sink;
mod spare;
mod statistics;
mod transport;

pub use bodies::Room;
pub use client::Client;
pub use config::{Backoff, ClientConfig, RootCertificate};
pub use decode::AnswerDefect;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Class, ClientError};
pub use fault::Fault;
pub use fault_code::{Blame, FaultCode, Retry};
pub use object::{Field, Kind, ObjectTable};
pub use object_tables::{ACTIVITY, CONTACT, FIELD, LIST, UNSUBSCRIBE};
pub use request::{
    ContactIncludes, Cursor, Direction, Function, ReadActivities, ReadContacts, ReadFields,
    ReadLists, ReadRequest, ReadUnsubscribes,
};
pub use resolver::Resolver;
pub use session::{Page, Session, SessionCost};
pub use sink::{PlainText, RowDefect, RowSink};
pub use spare::Spare;
pub use statistics::Statistics;
