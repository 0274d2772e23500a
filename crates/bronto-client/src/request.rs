//! What can be asked: the functions of the API and the parameters of the reads.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::lexical;
use crate::object::ObjectTable;
use crate::object_tables::{ACTIVITY, CONTACT, FIELD, LIST, UNSUBSCRIBE};

/// A function of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// Exchanges the token for a session.
    Login,
    /// Ends a session.
    Logout,
    /// Reads contacts, page by page.
    ReadContacts,
    /// Reads lists, page by page.
    ReadLists,
    /// Reads the definitions of custom fields, page by page.
    ReadFields,
    /// Reads unsubscriptions, page by page.
    ReadUnsubscribes,
    /// Reads what contacts did, through a cursor.
    ReadRecentInboundActivities,
    /// Reads what was sent to contacts, through a cursor.
    ReadRecentOutboundActivities,
}

impl Function {
    /// The name of the function's request element.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Logout => "logout",
            Self::ReadContacts => "readContacts",
            Self::ReadLists => "readLists",
            Self::ReadFields => "readFields",
            Self::ReadUnsubscribes => "readUnsubscribes",
            Self::ReadRecentInboundActivities => "readRecentInboundActivities",
            Self::ReadRecentOutboundActivities => "readRecentOutboundActivities",
        }
    }

    /// Whether `element` is the name of the function's response element.
    pub(crate) fn is_answered_by(self, element: &str) -> bool {
        element.strip_suffix("Response") == Some(self.name())
    }

    /// Whether the end of what can be read is fault 116.
    pub(crate) fn ends_with_fault(self) -> bool {
        matches!(self, Self::ReadRecentInboundActivities | Self::ReadRecentOutboundActivities)
    }
}

impl fmt::Display for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// One read: one page, or one step of a cursor. Its `Display` text is for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadRequest {
    /// `readContacts`.
    Contacts(ReadContacts),
    /// `readLists`.
    Lists(ReadLists),
    /// `readFields`.
    Fields(ReadFields),
    /// `readUnsubscribes`.
    Unsubscribes(ReadUnsubscribes),
    /// `readRecentInboundActivities` or `readRecentOutboundActivities`.
    Activities(ReadActivities),
}

/// Contacts modified within a window, one page of them.
///
/// The lower bound is sent with the operator `AfterOrSameDay`, the upper with `Before`. The
/// documentation doesn't say whether the first compares instants or calendar days; either way
/// nothing inside the window is missing, but **rows before the window may come** and are the
/// caller's to drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadContacts {
    /// The window's first instant.
    pub modified_from: DateTime<Utc>,
    /// The first instant after the window.
    pub modified_before: DateTime<Utc>,
    /// The page, from 1. Only an empty page is the end; a short one proves nothing.
    pub page: u32,
    /// What to fill in besides the plain fields.
    pub include: ContactIncludes,
    /// The ids of the custom fields to return, as [`ReadFields`] tells them; none asked, none
    /// returned. An id that the account doesn't have is fault 401.
    pub fields: Vec<String>,
}

/// The parts of a contact that come only when asked for. Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContactIncludes {
    /// `listIds`.
    pub lists: bool,
    /// `SMSKeywordIDs`.
    pub sms_keywords: bool,
    /// The five `geoIP…` fields.
    pub geo_ip: bool,
    /// Browsers, mail programs and operating system.
    pub technology: bool,
    /// Orders and revenue.
    pub rfm: bool,
    /// Last delivery, open and click.
    pub engagement: bool,
    /// `segmentIds`.
    pub segments: bool,
}

impl ContactIncludes {
    /// Everything there is.
    pub fn all() -> Self {
        Self {
            lists: true,
            sms_keywords: true,
            geo_ip: true,
            technology: true,
            rfm: true,
            engagement: true,
            segments: true,
        }
    }
}

/// All lists, one page of them. There is no window: the API can't select lists by time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLists {
    /// The page, from 1. Only an empty page is the end.
    pub page: u32,
    /// Lists per page, 10 to 5000; `None` leaves it to the server.
    pub page_size: Option<u32>,
}

/// The definitions of all custom fields, one page of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFields {
    /// The page, from 1. Only an empty page is the end.
    pub page: u32,
    /// Fields per page, 10 to 5000; `None` leaves it to the server.
    pub page_size: Option<u32>,
}

/// Unsubscriptions within a window, one page of them. Whether the server takes the window's ends
/// as part of it is unknown; what lies outside is the caller's to drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadUnsubscribes {
    /// Where the window starts.
    pub start: DateTime<Utc>,
    /// Where the window ends.
    pub end: DateTime<Utc>,
    /// The page, from 1. Only an empty page is the end.
    pub page: u32,
}

/// Activities of all types within a window, one step of a cursor.
///
/// The cursor lives in the session, one at a time, and no id of it is exchanged. The window is
/// at its end when [`Page::end_of_query`](crate::Page::end_of_query) is set or a page is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadActivities {
    /// What contacts did, or what was sent to them.
    pub direction: Direction,
    /// Where the window starts; only about the last 30 days can be read.
    pub start: DateTime<Utc>,
    /// Where the window ends.
    pub end: DateTime<Utc>,
    /// Activities per page, 1000 to 5000.
    pub size: u32,
    /// Whether to open the window or to go on with it.
    pub cursor: Cursor,
}

/// The two kinds of activities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// What contacts did: opens, clicks, bounces and so on.
    Inbound,
    /// What was sent to contacts.
    Outbound,
}

/// The step of a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cursor {
    /// Opens the query and returns its first page.
    First,
    /// Returns the next page of the query that this session has open.
    Next,
}

impl ReadRequest {
    /// The function that the request calls.
    pub fn function(&self) -> Function {
        match self {
            Self::Contacts(_) => Function::ReadContacts,
            Self::Lists(_) => Function::ReadLists,
            Self::Fields(_) => Function::ReadFields,
            Self::Unsubscribes(_) => Function::ReadUnsubscribes,
            Self::Activities(read) => match read.direction {
                Direction::Inbound => Function::ReadRecentInboundActivities,
                Direction::Outbound => Function::ReadRecentOutboundActivities,
            },
        }
    }

    /// The table of the objects that the request returns.
    pub fn object(&self) -> &'static ObjectTable {
        match self {
            Self::Contacts(_) => &CONTACT,
            Self::Lists(_) => &LIST,
            Self::Fields(_) => &FIELD,
            Self::Unsubscribes(_) => &UNSUBSCRIBE,
            Self::Activities(_) => &ACTIVITY,
        }
    }

    /// The activity window whose cursor the request opens or moves.
    pub(crate) fn activities(&self) -> Option<&ReadActivities> {
        match self {
            Self::Activities(read) => Some(read),
            _ => None,
        }
    }
}

impl ReadActivities {
    /// Whether `self` goes on with the query that `other` opened.
    pub(crate) fn is_same_query(&self, other: &Self) -> bool {
        let query = |read: &Self| (read.direction, read.start, read.end, read.size);
        query(self) == query(other)
    }
}

impl fmt::Display for ReadRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = lexical::utc_text;
        match self {
            Self::Contacts(read) => {
                let from = instant(read.modified_from);
                let before = instant(read.modified_before);
                write!(formatter, "page {} of {from} to {before}", read.page)
            }
            Self::Lists(ReadLists { page, .. }) | Self::Fields(ReadFields { page, .. }) => {
                write!(formatter, "page {page}")
            }
            Self::Unsubscribes(read) => {
                let (start, end) = (instant(read.start), instant(read.end));
                write!(formatter, "page {} of {start} to {end}", read.page)
            }
            Self::Activities(read) => {
                let (start, end) = (instant(read.start), instant(read.end));
                let step = match read.cursor {
                    Cursor::First => "first",
                    Cursor::Next => "next",
                };
                write!(formatter, "{step} page of {start} to {end}")
            }
        }
    }
}
