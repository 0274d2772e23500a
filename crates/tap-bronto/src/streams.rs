//! Bronto's five streams: one definition each, built on the client's tables of fields.
//!
//! Names, keys, methods and types follow Stitch's Bronto v1 reference, because existing queries rely on them. What the
//! API has beyond that reference comes as further columns. Columns stand in the order of the API's schema; activities,
//! which have no id of their own, start with one that [`crate::activity_id`] makes.

mod selected;

use bronto_client::{ACTIVITY, CONTACT, Kind, LIST, ObjectTable, UNSUBSCRIBE};
use replication::stream::{ColumnType, Method, StreamName, WinnerRule};

pub(crate) use selected::RowForm;
pub use selected::{NumberForm, SelectedStream, UnfitMethod, UnknownColumn};

/// A stream of the tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrontoStream {
    /// Contacts.
    Contact,
    /// What contacts did.
    InboundActivity,
    /// What was sent to contacts.
    OutboundActivity,
    /// Lists of contacts.
    List,
    /// Unsubscriptions.
    Unsubscribe,
}

/// A column of a stream before selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamColumn {
    /// Its name: the element's name in the API.
    pub name: &'static str,
    /// Its type in batches and tables.
    pub column_type: ColumnType,
    /// Where its values come from.
    pub origin: Origin,
    /// What it means.
    pub documentation: &'static str,
}

/// Where a column's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A field of the API's object, by its index in the object's table.
    Field(usize),
    /// The id that the tap makes for an activity.
    ActivityId,
}

impl BrontoStream {
    /// All streams, in the order in which they are offered.
    pub const ALL: [Self; 5] = [
        Self::Contact,
        Self::InboundActivity,
        Self::OutboundActivity,
        Self::List,
        Self::Unsubscribe,
    ];

    /// The stream's name, which is also its table's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::InboundActivity => "inbound_activity",
            Self::OutboundActivity => "outbound_activity",
            Self::List => "list",
            Self::Unsubscribe => "unsubscribe",
        }
    }

    /// The stream's name in the form of the core.
    #[must_use]
    pub fn stream_name(self) -> StreamName {
        StreamName::new(self.name())
    }

    /// The stream of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }

    /// The API's object behind the stream's rows.
    #[must_use]
    pub fn object(self) -> &'static ObjectTable {
        match self {
            Self::Contact => &CONTACT,
            Self::InboundActivity | Self::OutboundActivity => &ACTIVITY,
            Self::List => &LIST,
            Self::Unsubscribe => &UNSUBSCRIBE,
        }
    }

    /// Whether it is one of the two streams of activities.
    #[must_use]
    pub fn is_activity(self) -> bool {
        matches!(self, Self::InboundActivity | Self::OutboundActivity)
    }

    /// The columns that identify a row.
    #[must_use]
    pub fn key(self) -> &'static [&'static str] {
        match self {
            Self::Unsubscribe => &["contactId", "deliveryId", "created"],
            _ => &["id"],
        }
    }

    /// The column that bookmarks are about.
    #[must_use]
    pub fn replication_key(self) -> Option<&'static str> {
        match self {
            Self::Contact => Some("modified"),
            Self::InboundActivity | Self::OutboundActivity => Some("createdDate"),
            Self::List => None,
            Self::Unsubscribe => Some("created"),
        }
    }

    /// How the stream is read unless somebody chooses otherwise. The API can select lists by nothing, so they come whole.
    #[must_use]
    pub fn method(self) -> Method {
        self.methods()[0]
    }

    /// How it can be read. Of activities the API gives the last 30 days, which are no table.
    #[must_use]
    pub fn methods(self) -> &'static [Method] {
        match self {
            Self::Contact | Self::Unsubscribe => &[Method::Incremental, Method::FullTable],
            Self::InboundActivity | Self::OutboundActivity => &[Method::Incremental],
            Self::List => &[Method::FullTable],
        }
    }

    /// Who wins when rows share a key. A contact changes, so its latest version wins. Unsubscriptions that share a key
    /// are different events that Stitch's key can't tell apart; which one stays must not depend on the order of reads.
    pub(crate) fn winner(self, columns: &[StreamColumn]) -> WinnerRule {
        match self {
            Self::Contact => WinnerRule::ReplicationKey,
            Self::InboundActivity | Self::OutboundActivity | Self::List => WinnerRule::Sequence,
            Self::Unsubscribe => {
                let ranks = ["method", "complaint"].into_iter();
                let selected =
                    ranks.filter(|name| columns.iter().any(|column| column.name == *name));
                WinnerRule::Greatest(selected.map(str::to_owned).collect())
            }
        }
    }

    /// Whether a column always comes along: keys, and the replication key.
    #[must_use]
    pub fn is_automatic(self, column: &str) -> bool {
        self.key().contains(&column) || self.replication_key() == Some(column)
    }

    /// Every column of the stream.
    #[must_use]
    pub fn columns(self) -> Vec<StreamColumn> {
        let id = self.is_activity().then_some(StreamColumn {
            name: "id",
            column_type: ColumnType::Text,
            origin: Origin::ActivityId,
            documentation: "A digest of what identifies the activity, which has no id in Bronto.",
        });
        let fields = self.object().fields.iter().enumerate();
        let fields = fields.filter_map(|(index, field)| {
            Some(StreamColumn {
                name: field.name,
                column_type: self.column_type(field.name, field.kind)?,
                origin: Origin::Field(index),
                documentation: field.documentation,
            })
        });
        id.into_iter().chain(fields).collect()
    }

    /// The type of a field's column; none for a field that is no single column. Only the replication keys of contacts
    /// and activities are date-times in Stitch's reference; all other dates are strings, and counts are numbers.
    fn column_type(self, name: &str, kind: Kind) -> Option<ColumnType> {
        Some(match kind {
            Kind::DateTime if self.replication_key() == Some(name) && self != Self::Unsubscribe => {
                ColumnType::Timestamp
            }
            Kind::Text | Kind::DateTime => ColumnType::Text,
            Kind::Boolean => ColumnType::Boolean,
            Kind::Integer if self == Self::List => ColumnType::Integer,
            Kind::Integer | Kind::Float | Kind::Decimal => ColumnType::Number,
            Kind::TextList => ColumnType::List(Box::new(ColumnType::Text)),
            Kind::CustomFields | Kind::PassedOver => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of Stitch's published reference, without those that the tap adds.
    const STITCH_CONTACT: &str = "SMSKeywordIDs averageOrderValue conversionAmount created customSource deleted email \
        firstOrderDate geoIPCity geoIPCountry geoIPCountryCode geoIPStateRegion geoIPZip id lastClickDate \
        lastDeliveryDate lastOpenDate lastOrderDate lastOrderTotal listIds mobileBrowser mobileEmailClient \
        mobileNumber modified msgPref numBounces numClicks numConversions numOpens numSends operatingSystem \
        primaryBrowser primaryEmailClient source status totalOrders totalRevenue";
    const STITCH_ACTIVITY: &str = "activityType automatorName bounceReason bounceType contactId contactStatus \
        createdDate deliveryId deliveryStart deliveryType emailAddress ftafEmails id keywordId linkName linkUrl listId \
        listLabel listName messageId messageName mobileNumber orderId segmentId segmentName skipReason smsKeywordName \
        socialActivity socialNetwork unsubscribeMethod webformAction webformId webformName workflowId workflowName";

    fn names(stream: BrontoStream) -> Vec<&'static str> {
        stream.columns().iter().map(|column| column.name).collect()
    }

    #[test]
    fn every_column_of_the_reference_is_there() {
        for (stream, reference, more) in [
            (BrontoStream::Contact, STITCH_CONTACT, 4),
            (BrontoStream::InboundActivity, STITCH_ACTIVITY, 1),
            (BrontoStream::OutboundActivity, STITCH_ACTIVITY, 1),
            (BrontoStream::List, "activeCount id label name status", 1),
            (BrontoStream::Unsubscribe, "complaint contactId created deliveryId method", 0),
        ] {
            let names = names(stream);
            let reference: Vec<&str> = reference.split_whitespace().collect();
            for column in &reference {
                assert!(names.contains(column), "{}.{column}", stream.name());
            }
            assert_eq!(names.len(), reference.len() + more, "{}", stream.name());
        }
    }

    #[test]
    fn types_follow_the_reference() {
        let of = |stream: BrontoStream, wanted: &ColumnType| -> Vec<&'static str> {
            let columns = stream.columns();
            columns
                .iter()
                .filter(|column| column.column_type == *wanted)
                .map(|column| column.name)
                .collect()
        };
        let contact = BrontoStream::Contact;
        assert_eq!(of(contact, &ColumnType::Timestamp), ["modified"]);
        assert_eq!(of(contact, &ColumnType::Boolean), ["deleted"]);
        assert_eq!(of(contact, &ColumnType::Number).len(), 10);
        let lists = ["listIds", "segmentIds", "SMSKeywordIDs"];
        assert_eq!(of(contact, &ColumnType::List(Box::new(ColumnType::Text))), lists);
        assert_eq!(of(BrontoStream::InboundActivity, &ColumnType::Timestamp), ["createdDate"]);
        assert_eq!(of(BrontoStream::List, &ColumnType::Integer), ["activeCount"]);
        assert_eq!(of(BrontoStream::Unsubscribe, &ColumnType::Text).len(), 5);
    }

    #[test]
    fn keys_and_replication_keys_are_columns() {
        for stream in BrontoStream::ALL {
            let names = names(stream);
            assert!(stream.key().iter().all(|key| names.contains(key)));
            assert!(stream.replication_key().is_none_or(|key| names.contains(&key)));
            assert_eq!(BrontoStream::named(stream.name()), Some(stream));
        }
        assert_eq!(names(BrontoStream::OutboundActivity)[0], "id");
    }
}
