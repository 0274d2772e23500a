//! The codes of faults: what they mean, who must act and what to do.
//!
//! Codes, names and meanings follow Bronto's documentation of its error codes; which ones to try
//! again follows what its official clients did.

use std::fmt;

/// Whether a failed request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// No: it would fail again.
    No,
    /// Yes, after a new login.
    AfterLogin,
    /// Yes, after a pause.
    Soon,
    /// Yes, after a long pause.
    Slowly,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Who runs this program: token, permission, address.
    Operator,
    /// Bronto.
    Service,
    /// What lies between this program and Bronto.
    Network,
    /// This program.
    Program,
}

/// The codes of the faults that a reader can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each code's meaning stands in the table below")]
pub enum FaultCode {
    UnknownError,
    InvalidToken,
    InvalidSessionToken,
    InvalidAccess,
    InvalidInputArray,
    InvalidParameter,
    InvalidRequest,
    ShardOffline,
    SiteInactive,
    RequiredFields,
    UnauthorizedIp,
    InvalidFilter,
    ReadError,
    PageSizeExceeded,
    PageSizeTooLow,
    EndOfQuery,
    NoSuchContact,
    TooManySearchItems,
    TooManyLists,
    TooManySegments,
    InvalidField,
    InvalidList,
    MissingDeliveryGroup,
    NoSuchDeliveryGroup,
    InvalidStartDate,
    InvalidActivityTypes,
    InvalidActivitySize,
    NoContactFilter,
    /// A code that the table doesn't hold.
    Other(u32),
    /// A fault without a code.
    Unknown,
}

/// What is known about a code.
struct Entry {
    code: FaultCode,
    number: u32,
    name: &'static str,
    meaning: &'static str,
    retry: Retry,
    blame: Blame,
    remedy: &'static str,
}

const REPORT: &str = "This is a bug in this program; report it with the fault code";
const WAIT: &str = "Bronto has trouble of its own; run again later";
const CHECK_TOKEN: &str = "Check the SOAP API token under Home > Settings > Data Exchange: it must exist, be active \
     and belong to this account";

const fn entry(
    (code, number, name): (FaultCode, u32, &'static str),
    meaning: &'static str,
    (retry, blame): (Retry, Blame),
    remedy: &'static str,
) -> Entry {
    Entry { code, number, name, meaning, retry, blame, remedy }
}

/// The codes of the table.
const ENTRIES: &[Entry] = &[
    entry(
        (FaultCode::UnknownError, 101, "UNKNOWN_ERROR"),
        "An unknown error of the API",
        (Retry::Soon, Blame::Service),
        WAIT,
    ),
    entry(
        (FaultCode::InvalidToken, 102, "INVALID_TOKEN"),
        "The token is not valid",
        (Retry::No, Blame::Operator),
        CHECK_TOKEN,
    ),
    entry(
        (FaultCode::InvalidSessionToken, 103, "INVALID_SESSION_TOKEN"),
        "The session is not valid any more",
        (Retry::AfterLogin, Blame::Service),
        WAIT,
    ),
    entry(
        (FaultCode::InvalidAccess, 104, "INVALID_ACCESS"),
        "The token may not use this function",
        (Retry::No, Blame::Operator),
        "Give the SOAP API token the permission Read, under Home > Settings > Data Exchange",
    ),
    entry(
        (FaultCode::InvalidInputArray, 105, "INVALID_INPUT_ARRAY"),
        "The request names no item",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::InvalidParameter, 106, "INVALID_PARAMETER"),
        "A parameter could not be verified",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::InvalidRequest, 107, "INVALID_REQUEST"),
        "The request could not be understood, or its session is stale",
        (Retry::AfterLogin, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::ShardOffline, 108, "SHARD_OFFLINE"),
        "The API is down for maintenance",
        (Retry::Slowly, Blame::Service),
        "Bronto is down for maintenance; run again later",
    ),
    entry(
        (FaultCode::SiteInactive, 109, "SITE_INACTIVE"),
        "The account is marked as inactive",
        (Retry::No, Blame::Operator),
        "Ask Bronto to activate the account",
    ),
    entry(
        (FaultCode::RequiredFields, 110, "REQUIRED_FIELDS"),
        "The request lacks required fields",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::UnauthorizedIp, 111, "UNAUTHORIZED_IP"),
        "The token may not be used from this IP address",
        (Retry::No, Blame::Operator),
        "Allow this machine's public IP address for the SOAP API token, or run where it is allowed",
    ),
    entry(
        (FaultCode::InvalidFilter, 112, "INVALID_FILTER"),
        "The filter type is neither AND nor OR",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::ReadError, 113, "READ_ERROR"),
        "The results of the query could not be read",
        (Retry::Soon, Blame::Service),
        WAIT,
    ),
    entry(
        (FaultCode::PageSizeExceeded, 114, "PAGE_SIZE_EXCEEDED"),
        "The page size is above the limit",
        (Retry::No, Blame::Operator),
        "Lower the page size",
    ),
    entry(
        (FaultCode::PageSizeTooLow, 115, "PAGE_SIZE_TOO_LOW"),
        "The page size is below the limit",
        (Retry::No, Blame::Operator),
        "Raise the page size",
    ),
    entry(
        (FaultCode::EndOfQuery, 116, "END_OF_QUERY"),
        "The end of the result set",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::NoSuchContact, 302, "NO_SUCH_CONTACT"),
        "The contact does not exist",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::TooManySearchItems, 311, "TOO_MANY_SEARCH_ITEMS"),
        "The contact filter has too many items",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::TooManyLists, 312, "TOO_MANY_LISTS"),
        "The contact filter has too many lists",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::TooManySegments, 313, "TOO_MANY_SEGMENTS"),
        "The contact filter has too many segments",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::InvalidField, 401, "INVALID_FIELD"),
        "A custom field id is not valid",
        (Retry::No, Blame::Operator),
        "A custom field was removed in Bronto; run again so that the fields are read anew",
    ),
    entry(
        (FaultCode::InvalidList, 501, "INVALID_LIST"),
        "A list id is not valid",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::MissingDeliveryGroup, 802, "MISSING_DELIVERY_GROUP"),
        "The request lacks a delivery group",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::NoSuchDeliveryGroup, 803, "NO_SUCH_DELIVERY_GROUP"),
        "The delivery group does not exist",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::InvalidStartDate, 1201, "INVALID_START_DATE"),
        "The start date is not valid",
        (Retry::No, Blame::Operator),
        "Activities reach back about 30 days; choose a later start date",
    ),
    entry(
        (FaultCode::InvalidActivityTypes, 1202, "INVALID_ACTIVITY_TYPES"),
        "The activity types are not valid",
        (Retry::No, Blame::Program),
        REPORT,
    ),
    entry(
        (FaultCode::InvalidActivitySize, 1203, "INVALID_ACTIVITY_SIZE"),
        "The number of activities per page is not valid",
        (Retry::No, Blame::Operator),
        "Set the page size of activities between 1000 and 5000",
    ),
    entry(
        (FaultCode::NoContactFilter, 1204, "NO_CONTACT_FILTER"),
        "Activities can not be selected by contact",
        (Retry::No, Blame::Program),
        REPORT,
    ),
];

/// A code that the table doesn't hold.
const OTHER: Entry = entry(
    (FaultCode::Unknown, 0, "OTHER"),
    "A fault that Bronto does not document for reads",
    (Retry::No, Blame::Service),
    "Look the code up in Bronto's list of error codes, and report it so that it becomes known here",
);

/// A fault without a code: the service failed before its own error handling, so this is treated
/// like 101.
const UNKNOWN: Entry = entry(
    (FaultCode::Unknown, 0, "UNKNOWN"),
    "A fault without a code",
    (Retry::Soon, Blame::Service),
    WAIT,
);

impl FaultCode {
    /// The code with that number.
    pub fn from_number(number: u32) -> Self {
        let known = ENTRIES.iter().find(|entry| entry.number == number);
        known.map_or(Self::Other(number), |entry| entry.code)
    }

    /// The number, unless the fault had none.
    pub fn number(self) -> Option<u32> {
        match self {
            Self::Other(number) => Some(number),
            Self::Unknown => None,
            known => Some(known.entry().number),
        }
    }

    /// The name in Bronto's documentation or client, such as `INVALID_TOKEN`.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// What the code means, in a sentence without a full stop.
    pub fn meaning(self) -> &'static str {
        self.entry().meaning
    }

    /// Whether to send the request again. For 107 the answer holds only for a session that has
    /// worked before: Bronto answers 107 for a stale session too, as its Java client knew.
    pub fn retry(self) -> Retry {
        self.entry().retry
    }

    /// Whose fault it is.
    pub fn blame(self) -> Blame {
        self.entry().blame
    }

    /// What the operator should do, in a sentence without a full stop.
    pub fn remedy(self) -> &'static str {
        self.entry().remedy
    }

    /// Whether Bronto's text for the code contains the token.
    pub(crate) fn carries_token(self) -> bool {
        matches!(self, Self::InvalidToken | Self::UnauthorizedIp)
    }

    fn entry(self) -> &'static Entry {
        match self {
            Self::Other(_) => &OTHER,
            Self::Unknown => &UNKNOWN,
            known => ENTRIES.iter().find(|entry| entry.code == known).unwrap_or(&UNKNOWN),
        }
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => number.fmt(formatter),
            None => formatter.pad("without a code"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_row() {
        for entry in ENTRIES {
            assert_eq!(FaultCode::from_number(entry.number), entry.code);
            assert_eq!(entry.code.number(), Some(entry.number));
            assert_eq!(entry.code.name(), entry.name);
            assert!(!entry.meaning.ends_with('.') && !entry.remedy.ends_with('.'));
            assert!(entry.meaning.starts_with(char::is_uppercase), "{}", entry.meaning);
        }
        assert_eq!(FaultCode::from_number(42).number(), Some(42));
        assert_eq!(FaultCode::Unknown.number(), None);
    }

    /// What to do about each code, as the table of the API's documentation and its official
    /// clients have it.
    #[test]
    fn codes_are_retried_as_the_official_clients_did() {
        let retry = |number| FaultCode::from_number(number).retry();
        assert_eq!([101, 113].map(retry), [Retry::Soon; 2]);
        assert_eq!([103, 107].map(retry), [Retry::AfterLogin; 2]);
        assert_eq!(retry(108), Retry::Slowly);
        for number in (102..=1300).filter(|n| ![103, 107, 108, 113].contains(n)) {
            assert_eq!(retry(number), Retry::No, "{number}");
        }
        assert_eq!(FaultCode::Unknown.retry(), Retry::Soon);
        let blame = |number| FaultCode::from_number(number).blame();
        assert_eq!([102, 104, 109, 111].map(blame), [Blame::Operator; 4]);
        assert_eq!([105, 106, 110, 112].map(blame), [Blame::Program; 4]);
        assert_eq!([101, 103, 108, 113].map(blame), [Blame::Service; 4]);
    }
}
