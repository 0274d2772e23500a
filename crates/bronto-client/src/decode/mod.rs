//! Answers: from the bytes of a body to calls on a sink.
//!
//! One pass over the document with quick-xml's pull parser, reading from a slice, without a tree
//! and without recursion. Text that came in one piece is handed on borrowed from the body. Because
//! the parser takes an end of input, a second root or bare text for ordinary events, everything
//! that makes a document *whole* is checked here: see [`AnswerDefect`]. Elements in their plainest
//! form, which is almost all of them, are read past the parser, at a fraction of its cost.
//!
//! In layers: `document` makes text of bytes, `pull` reads leaves and skips subtrees, `soap` walks
//! envelope, body and response, `row` reads one object, and `tags` tells its fields apart.

mod document;
mod fault;
#[cfg(test)]
mod property;
mod pull;
mod row;
mod soap;
mod tags;
#[cfg(test)]
mod tests;

use secrecy::SecretString;

use crate::fault::Fault;
use crate::object::ObjectTable;
use crate::request::Function;
use crate::sink::RowSink;
use document::Document;
use pull::{Leaf, Pull};
use row::RowReader;
pub(crate) use soap::require_utf8;

/// The deepest nesting of elements that is accepted. Bronto's answers reach 7.
pub const MAX_DEPTH: usize = 64;

/// The longest single value that is accepted, in bytes. An object with a longer one is rejected.
pub const MAX_TEXT_BYTES: usize = 16 << 20;

/// The most names of unknown elements that are kept of one answer.
const MAX_UNKNOWN_NAMES: usize = 16;

/// What an answer was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The operation's response.
    Response(T),
    /// A SOAP fault.
    Fault(Fault),
}

/// A page that has been decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Objects in the page, rejected ones included.
    pub count: usize,
    /// Objects handed to [`RowSink::reject_row`].
    pub rejected: usize,
    /// Names of elements inside objects that the object's table doesn't hold; at most a few.
    pub unknown_elements: Vec<String>,
}

/// Why a body is not the answer to what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerDefect {
    /// Nothing, or white space.
    #[error("The answer is empty")]
    Empty,
    /// It says that it is compressed, and can't be decompressed to its end.
    #[error("The answer's compression is damaged")]
    Compression,
    /// Text without any markup.
    #[error("The answer is plain text where XML was due")]
    PlainText,
    /// A web page, usually from something between this program and the service.
    #[error("The answer is an HTML page where XML was due")]
    Html,
    /// Some other XML.
    #[error("The answer is XML, but not a SOAP 1.1 envelope")]
    NotSoap,
    /// The document ends before its last element does.
    #[error("The answer ends in the middle")]
    Truncated,
    /// Not well-formed, or not the structure of a SOAP answer.
    #[error("The answer is malformed near byte {position}: {reason}")]
    Malformed {
        /// Where, in bytes from the start of the document.
        position: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Elements are nested deeper than [`MAX_DEPTH`].
    #[error("The answer nests elements deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The answer says that it is written in something else than UTF-8.
    #[error("The answer is written in `{encoding}`, but only UTF-8 is understood")]
    Encoding {
        /// The encoding's name.
        encoding: String,
    },
    /// A complete SOAP answer, but to something else.
    #[error("The answer holds `{found}` where `{expected}Response` was due")]
    WrongOperation {
        /// The function that was called.
        expected: Function,
        /// The element found.
        found: String,
    },
    /// A login was answered without a session.
    #[error("The answer to the login holds no session")]
    NoSession,
}

impl AnswerDefect {
    /// Whether the same request may well get a proper answer next time.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Empty
            | Self::Compression
            | Self::PlainText
            | Self::Html
            | Self::NotSoap
            | Self::Truncated
            | Self::Malformed { .. }
            | Self::NoSession => true,
            Self::TooDeep | Self::Encoding { .. } | Self::WrongOperation { .. } => false,
        }
    }
}

/// Decodes the answer to a read into a sink.
///
/// [`Session::read`](crate::Session::read) does this with what it receives; on its own the
/// function serves recorded answers, benchmarks and fuzzing. On error, what the sink received is
/// incomplete and must be dropped.
///
/// ```
/// use bronto_client::{Function, LIST, RowDefect, RowSink, decode};
///
/// struct Names(Vec<String>);
/// impl RowSink for Names {
///     fn clear(&mut self) { self.0.clear(); }
///     fn value(&mut self, field: usize, text: &str) {
///         if LIST.fields[field].name == "name" { self.0.push(text.to_owned()); }
///     }
///     fn end_row(&mut self, _raw: &str) {}
///     fn reject_row(&mut self, _raw: &str, _reason: &RowDefect) {}
/// }
///
/// let body = br#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
///     <b:readListsResponse xmlns:b="http://api.bronto.com/v4">
///         <return><name>news &amp; views</name></return>
///     </b:readListsResponse></s:Body></s:Envelope>"#;
/// let mut names = Names(Vec::new());
/// decode::rows(Function::ReadLists, &LIST, body, &mut names)?;
/// assert_eq!(names.0, ["news & views"]);
/// # Ok::<(), bronto_client::AnswerDefect>(())
/// ```
///
/// # Errors
///
/// [`AnswerDefect`] for everything that isn't the complete answer to `function`.
pub fn rows<S: RowSink>(
    function: Function,
    table: &'static ObjectTable,
    body: &[u8],
    sink: &mut S,
) -> Result<Answer<Rows>, AnswerDefect> {
    let document = Document::new(body)?;
    let mut reader = RowReader::new(table, &document, sink);
    let fault = soap::walk(&document, function, |pull, item| reader.read(pull, item))?;
    match fault {
        Some(fault) => Ok(Answer::Fault(fault)),
        None => Ok(Answer::Response(reader.finish()?)),
    }
}

/// Decodes the answer to a login: the id of the new session.
///
/// [`Client::session`](crate::Client::session) does this with what it receives; on its own the function serves recorded
/// answers and fuzzing.
///
/// # Errors
///
/// [`AnswerDefect`] for everything that isn't the complete answer to a login.
pub fn session_id(body: &[u8]) -> Result<Answer<SecretString>, AnswerDefect> {
    let document = Document::new(body)?;
    let mut id = String::new();
    let fault = soap::walk(&document, Function::Login, |pull, item| {
        if item.open(pull)? {
            match pull.leaf()? {
                Leaf::Text(text) => text.trim().clone_into(&mut id),
                Leaf::Gathered => pull.gathered().trim().clone_into(&mut id),
                Leaf::Defect(_) => {}
            }
        }
        Ok(())
    })?;
    document.require_utf8()?;
    match fault {
        Some(fault) => Ok(Answer::Fault(fault)),
        None if id.is_empty() => Err(AnswerDefect::NoSession),
        None => Ok(Answer::Response(id.into())),
    }
}

/// Checks the answer to a logout, whose content is of no interest.
pub(crate) fn acknowledgement(body: &[u8]) -> Result<Answer<()>, AnswerDefect> {
    let document = Document::new(body)?;
    let fault = soap::walk(&document, Function::Logout, skip)?;
    Ok(fault.map_or(Answer::Response(()), Answer::Fault))
}

/// Looks for a SOAP fault in an answer whose HTTP status says that something failed.
pub(crate) fn fault_in(function: Function, body: &[u8]) -> Option<Fault> {
    let document = Document::new(body).ok()?;
    soap::walk(&document, function, skip).ok()?
}

/// Passes an item over.
fn skip(pull: &mut Pull<'_>, item: &soap::Item) -> Result<(), AnswerDefect> {
    if item.open(pull)? { pull.skip() } else { Ok(()) }
}
