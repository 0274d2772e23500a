//! The core of Backstitch: what a source and a destination are, what flows between them, and the commit protocol that
//! makes every row arrive exactly once.
//!
//! Data flows one way: a [`source::Source`] sends [`event::Event`]s through a bounded channel; the loader gathers them
//! into commit units; each unit becomes one transaction of a [`destination::Destination`], together with the bookmarks
//! that it makes true. Nothing here knows Bronto, SQL or a command line.

pub mod audit;
mod books;
pub mod claim;
pub mod clock;
mod collision;
mod commit;
#[cfg(feature = "contract")]
pub mod contract;
pub mod destination;
pub mod edit;
pub mod event;
mod gather;
mod hold;
pub mod ledger;
mod offenders;
pub mod placement;
pub mod progress;
mod records;
pub mod reject;
pub mod reject_limit;
pub mod replay;
mod report;
pub mod row;
pub mod run;
pub mod scan;
pub mod sequence;
pub mod singer_source;
pub mod singer_tap;
pub mod source;
pub mod stream;
pub mod system;
pub mod unit;
mod waiting;
mod winner;

pub use arrow;
pub use books::BooksError;
