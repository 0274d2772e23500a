//! The API's types as tables: operations, complex types, element order, repetition and nillability.
//!
//! The WSDL is rendered from these tables, and the tests hold every response against them.

/// The API's namespace.
pub(crate) const NAMESPACE: &str = "http://api.bronto.com/v4";
/// The namespace of SOAP 1.1 envelopes.
pub(crate) const SOAP_NAMESPACE: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// A function of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    Login,
    Logout,
    ReadContacts,
    ReadFields,
    ReadLists,
    ReadRecentInboundActivities,
    ReadRecentOutboundActivities,
    ReadUnsubscribes,
}

impl Operation {
    /// Every operation served, in the order of the WSDL.
    pub(crate) const ALL: [Self; 8] = [
        Self::Login,
        Self::Logout,
        Self::ReadContacts,
        Self::ReadFields,
        Self::ReadLists,
        Self::ReadRecentInboundActivities,
        Self::ReadRecentOutboundActivities,
        Self::ReadUnsubscribes,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Logout => "logout",
            Self::ReadContacts => "readContacts",
            Self::ReadFields => "readFields",
            Self::ReadLists => "readLists",
            Self::ReadRecentInboundActivities => "readRecentInboundActivities",
            Self::ReadRecentOutboundActivities => "readRecentOutboundActivities",
            Self::ReadUnsubscribes => "readUnsubscribes",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// Whether the call carries a session header; all but `login` do.
    pub(crate) fn needs_session(self) -> bool {
        self != Self::Login
    }

    /// Whether the call needs the *read* permission.
    pub(crate) fn is_read(self) -> bool {
        !matches!(self, Self::Login | Self::Logout)
    }
}

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementType {
    /// A type of XML Schema, such as `string`.
    Xs(&'static str),
    /// A type of this API, such as `contactObject`.
    Api(&'static str),
}

/// An element of a complex type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: &'static str,
    pub(crate) kind: ElementType,
    pub(crate) required: bool,
    pub(crate) repeated: bool,
    pub(crate) nillable: bool,
}

impl Element {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }

    const fn nillable(mut self) -> Self {
        self.nillable = true;
        self
    }
}

/// A complex type: its elements in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComplexType {
    pub(crate) name: &'static str,
    /// Attributes of the declaration besides its name.
    pub(crate) attributes: &'static str,
    /// The type it extends.
    pub(crate) base: Option<&'static str>,
    pub(crate) elements: &'static [Element],
}

impl ComplexType {
    /// The type with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        COMPLEX_TYPES.iter().find(|complex| complex.name == name)
    }

    /// The elements of the base, then its own.
    pub(crate) fn all_elements(&self) -> impl Iterator<Item = &'static Element> {
        let base = self.base.and_then(Self::named);
        base.map_or(&[][..], |base| base.elements).iter().chain(self.elements)
    }
}

/// A type that is one of a list of words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enumeration {
    pub(crate) name: &'static str,
    pub(crate) values: &'static [&'static str],
}

const fn optional(name: &'static str, kind: ElementType) -> Element {
    Element { name, kind, required: false, repeated: false, nillable: false }
}

const fn xs(name: &'static str, kind: &'static str) -> Element {
    optional(name, ElementType::Xs(kind))
}

const fn string(name: &'static str) -> Element {
    xs(name, "string")
}

const fn date_time(name: &'static str) -> Element {
    xs(name, "dateTime")
}

const fn boolean(name: &'static str) -> Element {
    xs(name, "boolean")
}

const fn long(name: &'static str) -> Element {
    xs(name, "long")
}

const fn int(name: &'static str) -> Element {
    xs(name, "int")
}

const fn api(name: &'static str, kind: &'static str) -> Element {
    optional(name, ElementType::Api(kind))
}

const fn complex(name: &'static str, elements: &'static [Element]) -> ComplexType {
    ComplexType { name, attributes: "", base: None, elements }
}

/// Elements that several filters repeat.
const fn strings(name: &'static str) -> Element {
    string(name).repeated().nillable()
}

const fn string_values(name: &'static str) -> Element {
    api(name, "stringValue").repeated().nillable()
}

const fn date_values(name: &'static str) -> Element {
    api(name, "dateValue").repeated().nillable()
}

const fn results(kind: &'static str) -> Element {
    api("return", kind).repeated()
}

const ACTIVITY_TYPES_FILTER: &[Element] = &[strings("types")];

/// Every complex type that the served operations reach, by name.
pub(crate) const COMPLEX_TYPES: &[ComplexType] = &[
    complex("ApiException", &[int("errorCode").required().nillable()]),
    complex("contactField", &[string("fieldId"), string("content")]),
    complex("contactFilter", CONTACT_FILTER),
    ComplexType {
        attributes: " final=\"extension restriction\"",
        ..complex("contactObject", CONTACT)
    },
    complex("dateValue", &[date_time("value"), api("operator", "filterOperator")]),
    complex("fieldObject", FIELD),
    complex(
        "fieldOptionObject",
        &[string("label"), string("value"), boolean("isDefault").required()],
    ),
    complex("fieldsFilter", NAMED_FILTER),
    complex("login", &[string("apiToken")]),
    complex("loginResponse", &[string("return")]),
    complex("logout", &[]),
    complex("logoutResponse", &[api("return", "writeResult")]),
    complex("mailListFilter", NAMED_FILTER),
    complex("mailListObject", LIST),
    complex("readContacts", READ_CONTACTS),
    complex("readContactsResponse", &[results("contactObject")]),
    complex(
        "readFields",
        &[api("filter", "fieldsFilter"), int("pageNumber").required(), int("pageSize")],
    ),
    complex("readFieldsResponse", &[results("fieldObject")]),
    complex(
        "readLists",
        &[api("filter", "mailListFilter"), int("pageNumber").required(), int("pageSize")],
    ),
    complex("readListsResponse", &[results("mailListObject")]),
    complex("readOnlyContactData", READ_ONLY_CONTACT_DATA),
    complex("readRecentInboundActivities", &[api("filter", "recentInboundActivitySearchRequest")]),
    complex("readRecentInboundActivitiesResponse", &[results("recentActivityObject")]),
    complex(
        "readRecentOutboundActivities",
        &[api("filter", "recentOutboundActivitySearchRequest")],
    ),
    complex("readRecentOutboundActivitiesResponse", &[results("recentActivityObject")]),
    complex(
        "readUnsubscribes",
        &[api("filter", "unsubscribeFilter"), int("pageNumber").required()],
    ),
    complex("readUnsubscribesResponse", &[results("unsubscribeObject")]),
    complex("recentActivityObject", ACTIVITY),
    ComplexType {
        attributes: " abstract=\"true\"",
        ..complex("recentActivitySearchRequest", ACTIVITY_SEARCH)
    },
    ComplexType {
        base: Some("recentActivitySearchRequest"),
        ..complex("recentInboundActivitySearchRequest", ACTIVITY_TYPES_FILTER)
    },
    ComplexType {
        base: Some("recentActivitySearchRequest"),
        ..complex("recentOutboundActivitySearchRequest", ACTIVITY_TYPES_FILTER)
    },
    complex(
        "resultItem",
        &[
            string("id"),
            boolean("isNew"),
            boolean("isError"),
            int("errorCode").required(),
            string("errorString"),
        ],
    ),
    complex("sessionHeader", &[string("sessionId"), boolean("disableHistory")]),
    complex("stringValue", &[api("operator", "filterOperator"), string("value")]),
    complex(
        "unsubscribeFilter",
        &[string("contactId"), string("deliveryId"), date_time("start"), date_time("end")],
    ),
    complex("unsubscribeObject", UNSUBSCRIBE),
    complex(
        "writeResult",
        &[int("errors").repeated().nillable(), api("results", "resultItem").repeated().nillable()],
    ),
];

const CONTACT_FILTER: &[Element] = &[
    api("type", "filterType"),
    strings("id"),
    string_values("email"),
    string_values("mobileNumber"),
    strings("status"),
    date_values("created"),
    date_values("modified"),
    strings("listId"),
    strings("segmentId"),
    strings("SMSKeywordID"),
    strings("msgPref"),
    strings("source"),
    string_values("customSource"),
];

const NAMED_FILTER: &[Element] = &[api("type", "filterType"), strings("id"), string_values("name")];

const READ_CONTACTS: &[Element] = &[
    api("filter", "contactFilter"),
    boolean("includeLists"),
    string("fields").repeated(),
    int("pageNumber").required(),
    boolean("includeSMSKeywords"),
    boolean("includeGeoIPData"),
    boolean("includeTechnologyData"),
    boolean("includeRFMData"),
    boolean("includeEngagementData"),
    boolean("includeSegments"),
];

const CONTACT: &[Element] = &[
    string("id"),
    string("email"),
    string("mobileNumber"),
    string("status"),
    string("msgPref"),
    string("source"),
    string("customSource"),
    date_time("created"),
    date_time("modified"),
    boolean("deleted"),
    strings("listIds"),
    strings("segmentIds"),
    api("fields", "contactField").repeated().nillable(),
    strings("SMSKeywordIDs"),
    long("numSends"),
    long("numBounces"),
    long("numOpens"),
    long("numClicks"),
    long("numConversions"),
    xs("conversionAmount", "float"),
    api("readOnlyContactData", "readOnlyContactData"),
    string("consentDate"),
    string("consentIp"),
    string("lastUnsubscribeDate"),
];

const READ_ONLY_CONTACT_DATA: &[Element] = &[
    string("geoIPCity"),
    string("geoIPStateRegion"),
    string("geoIPZip"),
    string("geoIPCountry"),
    string("geoIPCountryCode"),
    string("primaryBrowser"),
    string("mobileBrowser"),
    string("primaryEmailClient"),
    string("mobileEmailClient"),
    string("operatingSystem"),
    date_time("firstOrderDate"),
    date_time("lastOrderDate"),
    xs("lastOrderTotal", "decimal"),
    long("totalOrders"),
    xs("totalRevenue", "decimal"),
    xs("averageOrderValue", "decimal"),
    date_time("lastDeliveryDate"),
    date_time("lastOpenDate"),
    date_time("lastClickDate"),
];

const FIELD: &[Element] = &[
    string("id"),
    string("name"),
    string("label"),
    string("type"),
    string("visibility"),
    api("options", "fieldOptionObject").repeated().nillable(),
];

const LIST: &[Element] = &[
    string("id"),
    string("name"),
    string("label"),
    long("activeCount"),
    string("status"),
    string("visibility"),
];

const UNSUBSCRIBE: &[Element] = &[
    string("contactId"),
    string("deliveryId"),
    string("method"),
    string("complaint"),
    date_time("created"),
];

const ACTIVITY_SEARCH: &[Element] = &[
    date_time("start"),
    date_time("end"),
    string("contactId"),
    string("deliveryId"),
    int("size").required(),
    api("readDirection", "readDirection"),
];

const ACTIVITY: &[Element] = &[
    date_time("createdDate"),
    string("contactId"),
    string("listId"),
    string("segmentId"),
    string("keywordId"),
    string("messageId"),
    string("deliveryId"),
    string("workflowId"),
    string("activityType"),
    string("emailAddress"),
    string("mobileNumber"),
    string("contactStatus"),
    string("messageName"),
    string("deliveryType"),
    date_time("deliveryStart"),
    string("workflowName"),
    string("segmentName"),
    string("listName"),
    string("listLabel"),
    string("automatorName"),
    string("smsKeywordName"),
    string("bounceType"),
    string("bounceReason"),
    string("skipReason"),
    string("linkName"),
    string("linkUrl"),
    string("orderId"),
    string("unsubscribeMethod"),
    string("ftafEmails"),
    string("socialNetwork"),
    string("socialActivity"),
    string("webformType"),
    string("webformAction"),
    string("webformName"),
    string("webformId"),
];

/// Every enumeration that the served operations reach.
pub(crate) const ENUMERATIONS: &[Enumeration] = &[
    Enumeration { name: "filterType", values: &["AND", "OR"] },
    Enumeration {
        name: "filterOperator",
        values: &[
            "EqualTo",
            "NotEqualTo",
            "StartsWith",
            "EndsWith",
            "DoesNotStartWith",
            "DoesNotEndWith",
            "GreaterThan",
            "LessThan",
            "GreaterThanEqualTo",
            "LessThanEqualTo",
            "Contains",
            "DoesNotContain",
            "SameYear",
            "NotSameYear",
            "SameDay",
            "NotSameDay",
            "Before",
            "After",
            "BeforeOrSameDay",
            "AfterOrSameDay",
        ],
    },
    Enumeration { name: "readDirection", values: &["NEXT", "FIRST"] },
];
