//! The objects of the reads, in schema order, with every field of the WSDL.

use crate::object::{Field, Kind, ObjectTable};
use Kind::{Boolean, CustomFields, DateTime, Decimal, Float, Integer, PassedOver, Text, TextList};

/// The element of a contact that holds what Bronto works out by itself.
const READ_ONLY: &str = "readOnlyContactData";

const fn field(name: &'static str, kind: Kind, documentation: &'static str) -> Field {
    Field { name, group: None, kind, documentation }
}

const fn read_only(name: &'static str, kind: Kind, documentation: &'static str) -> Field {
    Field { name, group: Some(READ_ONLY), kind, documentation }
}

/// A contact, as `readContacts` returns it.
pub static CONTACT: ObjectTable = ObjectTable {
    name: "contactObject",
    fields: &[
        field("id", Text, "The contact's id; never changes."),
        field("email", Text, "The e-mail address; absent for contacts that only get SMS."),
        field("mobileNumber", Text, "The mobile number, without the leading `+`."),
        field(
            "status",
            Text,
            "`active`, `onboarding`, `transactional`, `bounce`, `unconfirmed` or `unsub`.",
        ),
        field("msgPref", Text, "The preferred form of messages: `html` or `text`."),
        field(
            "source",
            Text,
            "How the contact was added: `manual`, `import`, `api`, `webform` or `sforcereport`.",
        ),
        field("customSource", Text, "Free text given when the contact was added."),
        field("created", DateTime, "When the contact was added; never changes."),
        field("modified", DateTime, "When the contact's data last changed."),
        field("deleted", Boolean, "Whether the contact has been deleted."),
        field("listIds", TextList, "The lists that the contact is on."),
        field("segmentIds", TextList, "The segments that the contact belongs to."),
        field("fields", CustomFields, "The custom fields asked for, by field id."),
        field("SMSKeywordIDs", TextList, "The SMS keywords that the contact subscribes to."),
        field("numSends", Integer, "Messages sent to the contact."),
        field("numBounces", Integer, "Messages that bounced."),
        field("numOpens", Integer, "Opens, repeated ones included."),
        field("numClicks", Integer, "Clicks, repeated ones included."),
        field("numConversions", Integer, "Conversions."),
        field("conversionAmount", Float, "The sum of all conversions."),
        read_only("geoIPCity", Text, "The city of the last known address that isn't mobile."),
        read_only("geoIPStateRegion", Text, "The state or region of that address."),
        read_only("geoIPZip", Text, "The postal code of that address."),
        read_only("geoIPCountry", Text, "The country of that address."),
        read_only("geoIPCountryCode", Text, "The code of that country."),
        read_only("primaryBrowser", Text, "The browser used most."),
        read_only("mobileBrowser", Text, "The mobile browser used most."),
        read_only("primaryEmailClient", Text, "The mail program used most."),
        read_only("mobileEmailClient", Text, "The mobile mail program used most."),
        read_only("operatingSystem", Text, "The operating system used most."),
        read_only("firstOrderDate", DateTime, "When the contact first ordered."),
        read_only("lastOrderDate", DateTime, "When the contact last ordered."),
        read_only("lastOrderTotal", Decimal, "The amount of the last order."),
        read_only("totalOrders", Integer, "The number of orders."),
        read_only("totalRevenue", Decimal, "The sum of all orders."),
        read_only("averageOrderValue", Decimal, "The average amount of an order."),
        read_only("lastDeliveryDate", DateTime, "When a message was last delivered."),
        read_only("lastOpenDate", DateTime, "When the contact last opened a message."),
        read_only("lastClickDate", DateTime, "When the contact last clicked a link."),
        field("consentDate", Text, "When consent was given, in the form in which it was stored."),
        field("consentIp", Text, "The address from which consent was given."),
        field("lastUnsubscribeDate", Text, "When the contact last unsubscribed."),
    ],
};

/// A list of contacts, as `readLists` returns it.
pub static LIST: ObjectTable = ObjectTable {
    name: "mailListObject",
    fields: &[
        field("id", Text, "The list's id."),
        field("name", Text, "The internal name."),
        field("label", Text, "The name that customers see."),
        field("activeCount", Integer, "Active contacts on the list; recomputed nightly."),
        field("status", Text, "`active`, `deleted` or `tmp`."),
        field("visibility", Text, "Whether customers see the list."),
    ],
};

/// The definition of a custom field of contacts, as `readFields` returns it.
pub static FIELD: ObjectTable = ObjectTable {
    name: "fieldObject",
    fields: &[
        field("id", Text, "The field's id; never changes."),
        field("name", Text, "The internal name; can be changed."),
        field("label", Text, "The name that customers see."),
        field(
            "type",
            Text,
            "`text`, `textarea`, `password`, `checkbox`, `radio`, `select`, `integer`, `currency`, \
             `float` or `date`.",
        ),
        field("visibility", Text, "Whether customers see the field."),
        field("options", PassedOver, "The choices of a field that has any."),
    ],
};

/// An unsubscription, as `readUnsubscribes` returns it.
pub static UNSUBSCRIBE: ObjectTable = ObjectTable {
    name: "unsubscribeObject",
    fields: &[
        field("contactId", Text, "The contact that unsubscribed."),
        field("deliveryId", Text, "The delivery that caused it; absent if none did."),
        field(
            "method",
            Text,
            "`subscriber`, `admin`, `bulk`, `listcleaning`, `fbl`, `complaint`, `account`, `api` \
             or `unclassified`.",
        ),
        field("complaint", Text, "What the contact wrote."),
        field("created", DateTime, "When it happened."),
    ],
};

/// An activity, as `readRecentInboundActivities` and `readRecentOutboundActivities` return it.
/// Activities have no id, and two that are equal in all fields can be two real events.
pub static ACTIVITY: ObjectTable = ObjectTable {
    name: "recentActivityObject",
    fields: &[
        field("createdDate", DateTime, "When the activity was recorded."),
        field("contactId", Text, "The contact; absent if none is known."),
        field("listId", Text, "The list that the delivery went to."),
        field("segmentId", Text, "The segment that the delivery went to."),
        field("keywordId", Text, "The SMS keyword."),
        field("messageId", Text, "The message."),
        field("deliveryId", Text, "The delivery."),
        field("workflowId", Text, "The workflow that sent the message."),
        field("activityType", Text, "What happened, such as `open`, `click`, `bounce` or `send`."),
        field("emailAddress", Text, "The contact's e-mail address."),
        field("mobileNumber", Text, "The contact's mobile number."),
        field("contactStatus", Text, "The contact's status."),
        field("messageName", Text, "The name of the message."),
        field("deliveryType", Text, "`bulk`, `test`, `split`, `trigger` or `ftaf`."),
        field("deliveryStart", DateTime, "When the delivery began."),
        field("workflowName", Text, "The name of the workflow."),
        field("segmentName", Text, "The name of the segment."),
        field("listName", Text, "The internal name of the list."),
        field("listLabel", Text, "The name of the list that customers see."),
        field("automatorName", Text, "The name of the automator."),
        field("smsKeywordName", Text, "The name of the SMS keyword."),
        field(
            "bounceType",
            Text,
            "For bounces, hard: `bad_email`, `destination_unreachable`, \
             `rejected_message_content`; soft: `temporary_contact_issue`, \
             `destination_temporarily_unavailable`, `deferred_message_content`, `unclassified`.",
        ),
        field("bounceReason", Text, "For bounces: what the receiving server said."),
        field("skipReason", Text, "For skipped contacts: why."),
        field("linkName", Text, "For clicks: the name of the link."),
        field("linkUrl", Text, "For clicks: the address of the link."),
        field("orderId", Text, "For conversions: the order."),
        field("unsubscribeMethod", Text, "For unsubscriptions: how."),
        field("ftafEmails", Text, "For messages passed on to a friend: the addresses."),
        field(
            "socialNetwork",
            Text,
            "For social activity: `facebook`, `twitter`, `linkedin`, `digg` or `myspace`.",
        ),
        field("socialActivity", Text, "For social activity: `view` or `share`."),
        field("webformType", Text, "For web forms: the kind of form."),
        field("webformAction", Text, "For web forms: `submitted` or `view`."),
        field("webformName", Text, "For web forms: the form's name."),
        field("webformId", Text, "For web forms: the form."),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Place;

    #[test]
    fn tables_have_the_fields_of_the_wsdl() {
        let tables = [&CONTACT, &LIST, &UNSUBSCRIBE, &ACTIVITY, &FIELD];
        assert_eq!(tables.map(|table| table.fields.len()), [42, 6, 5, 35, 6]);
        let grouped = CONTACT.fields.iter().filter(|field| field.group.is_some()).count();
        assert_eq!(grouped, 19);
    }

    #[test]
    fn names_are_unique_and_documented_and_fit_the_bit_set() {
        for table in [&CONTACT, &LIST, &UNSUBSCRIBE, &ACTIVITY, &FIELD] {
            assert!(table.fields.len() <= 64, "{}", table.name);
            for (index, field) in table.fields.iter().enumerate() {
                assert_eq!(table.index_of(field.name), Some(index), "{}", field.name);
                assert!(field.documentation.ends_with('.'), "{}", field.name);
            }
        }
    }

    #[test]
    fn a_field_is_found_from_any_start_and_only_where_it_belongs() {
        for table in [&CONTACT, &ACTIVITY] {
            for (index, field) in table.fields.iter().enumerate() {
                for start in 0..=table.fields.len() + 1 {
                    let place = table.locate(field.name, field.group, start);
                    assert_eq!(place, Some(Place::Field(index)), "{} {start}", field.name);
                }
            }
        }
        let city = CONTACT.index_of("geoIPCity").unwrap_or_default();
        assert_eq!(CONTACT.locate("readOnlyContactData", None, 0), Some(Place::Group(city)));
        assert_eq!(CONTACT.locate("geoIPCity", None, 0), None);
        assert_eq!(CONTACT.locate("id", Some("readOnlyContactData"), 0), None);
        assert_eq!(CONTACT.locate("unheardOf", None, 7), None);
    }
}
