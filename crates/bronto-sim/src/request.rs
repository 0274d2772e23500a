//! Reading requests: the envelope, the session header and the parameters of each operation.
//!
//! Elements are accepted in any order, since old and new clients differ in it, but they are held against
//! the tables of types: what the schema doesn't know is fault 107, what it requires and isn't there is
//! fault 110.

use roxmltree::{Document, Node, ParsingOptions};

use crate::fault::Fault;
use crate::filter::{ContactFilter, DateRules, NamedFilter, Operator, TextCondition};
use crate::instant::UtcInstant;
use crate::schema::{ComplexType, ElementType, NAMESPACE, Operation, SOAP_NAMESPACE};

/// The largest request, in bytes.
pub(crate) const REQUEST_LIMIT: usize = 1 << 20;
const NODES_LIMIT: u32 = 50_000;
const DEPTH_LIMIT: usize = 12;
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Parses the text of a request within its limits.
pub(crate) fn parse_document(text: &str) -> Result<Document<'_>, Fault> {
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: NODES_LIMIT, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|_| Fault::new(107))
}

/// A SOAP envelope: which operation, in which session, with which parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) operation: Operation,
    pub(crate) session: Option<&'a str>,
    parameters: Node<'a, 'a>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn read(document: &'a Document<'_>) -> Result<Self, Fault> {
        let invalid = || Fault::new(107);
        let root = document.root_element();
        if !root.has_tag_name((SOAP_NAMESPACE, "Envelope")) {
            return Err(invalid());
        }
        let too_deep = |node: Node<'_, '_>| node.ancestors().nth(DEPTH_LIMIT).is_some();
        if root.descendants().any(too_deep) {
            return Err(invalid());
        }
        let part = |name| root.children().find(|node| node.has_tag_name((SOAP_NAMESPACE, name)));
        let mut contents = elements(part("Body").ok_or_else(invalid)?);
        let parameters = contents.next().ok_or_else(invalid)?;
        if contents.next().is_some() || parameters.tag_name().namespace() != Some(NAMESPACE) {
            return Err(invalid());
        }
        let operation = Operation::named(parameters.tag_name().name()).ok_or_else(invalid)?;
        let session = part("Header")
            .into_iter()
            .flat_map(elements)
            .find(|node| node.has_tag_name((NAMESPACE, "sessionHeader")))
            .and_then(|header| elements(header).find(|node| node.has_tag_name("sessionId")))
            .and_then(|id| id.text())
            .map(str::trim);
        Ok(Self { operation, session, parameters })
    }

    /// The parameters, checked against the schema.
    pub(crate) fn request(&self, rules: &DateRules) -> Result<Request, Fault> {
        let kind = ComplexType::named(self.operation.name()).ok_or_else(|| Fault::new(107))?;
        check(self.parameters, kind)?;
        let parameters = Parameters(self.parameters);
        Ok(match self.operation {
            Operation::Login => {
                Request::Login { token: parameters.text("apiToken").unwrap_or_default() }
            }
            Operation::Logout => Request::Logout,
            Operation::ReadContacts => Request::Contacts(ContactQuery::read(parameters, rules)?),
            Operation::ReadLists => Request::Lists(NamedQuery::read(parameters)?),
            Operation::ReadFields => Request::Fields(NamedQuery::read(parameters)?),
            Operation::ReadUnsubscribes => {
                Request::Unsubscribes(UnsubscribeQuery::read(parameters)?)
            }
            Operation::ReadRecentInboundActivities | Operation::ReadRecentOutboundActivities => {
                Request::Activities(ActivityQuery::read(parameters)?)
            }
        })
    }
}

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum Request {
    Login { token: String },
    Logout,
    Contacts(ContactQuery),
    Lists(NamedQuery),
    Fields(NamedQuery),
    Unsubscribes(UnsubscribeQuery),
    Activities(ActivityQuery),
}

/// Parameters of `readContacts`.
#[derive(Debug)]
pub(crate) struct ContactQuery {
    pub(crate) filter: ContactFilter,
    /// What to return, custom fields aside.
    pub(crate) view: crate::account::contact::ContactView,
    /// Ids of the custom fields to return.
    pub(crate) fields: Vec<String>,
    pub(crate) page: u32,
}

/// Parameters of `readLists` and `readFields`.
#[derive(Debug)]
pub(crate) struct NamedQuery {
    pub(crate) filter: NamedFilter,
    pub(crate) page: u32,
    pub(crate) page_size: Option<i64>,
}

/// Parameters of `readUnsubscribes`.
#[derive(Debug)]
pub(crate) struct UnsubscribeQuery {
    pub(crate) contact: Option<String>,
    pub(crate) delivery: Option<String>,
    pub(crate) start: Option<UtcInstant>,
    pub(crate) end: Option<UtcInstant>,
    pub(crate) page: u32,
}

/// Parameters of the activity reads.
#[derive(Debug)]
pub(crate) struct ActivityQuery {
    pub(crate) start: Option<UtcInstant>,
    pub(crate) end: Option<UtcInstant>,
    pub(crate) contact: Option<String>,
    pub(crate) delivery: Option<String>,
    pub(crate) size: i64,
    /// Whether it continues a query (NEXT) and doesn't open one (FIRST).
    pub(crate) continues: bool,
    pub(crate) types: Vec<String>,
}

impl ContactQuery {
    fn read(parameters: Parameters<'_>, rules: &DateRules) -> Result<Self, Fault> {
        let flag = |name| parameters.flag(name);
        Ok(Self {
            filter: contact_filter(parameters.child("filter"), rules)?,
            view: crate::account::contact::ContactView {
                lists: flag("includeLists")?,
                segments: flag("includeSegments")?,
                keywords: flag("includeSMSKeywords")?,
                geo: flag("includeGeoIPData")?,
                technology: flag("includeTechnologyData")?,
                orders: flag("includeRFMData")?,
                engagement: flag("includeEngagementData")?,
                fields: Vec::new(),
            },
            fields: parameters.texts("fields"),
            page: parameters.page()?,
        })
    }
}

impl NamedQuery {
    fn read(parameters: Parameters<'_>) -> Result<Self, Fault> {
        let filter = parameters.child("filter");
        Ok(Self {
            filter: NamedFilter {
                any: is_or(filter)?,
                ids: filter.map_or_else(Vec::new, |filter| filter.texts("id")),
                names: text_conditions(filter, "name")?,
            },
            page: parameters.page()?,
            page_size: parameters.integer("pageSize")?,
        })
    }
}

impl UnsubscribeQuery {
    fn read(parameters: Parameters<'_>) -> Result<Self, Fault> {
        let filter = parameters.child("filter");
        Ok(Self {
            contact: filter.and_then(|filter| filter.id("contactId")),
            delivery: filter.and_then(|filter| filter.id("deliveryId")),
            start: instant(filter, "start", 106)?,
            end: instant(filter, "end", 106)?,
            page: parameters.page()?,
        })
    }
}

impl ActivityQuery {
    fn read(parameters: Parameters<'_>) -> Result<Self, Fault> {
        let missing = || Fault::about(110, "filter");
        let filter = parameters.child("filter").ok_or_else(missing)?;
        let direction = filter.text("readDirection");
        Ok(Self {
            start: instant(Some(filter), "start", 1201)?,
            end: instant(Some(filter), "end", 106)?,
            contact: filter.id("contactId"),
            delivery: filter.id("deliveryId"),
            size: filter.integer("size")?.unwrap_or(0),
            continues: match direction.as_deref() {
                None | Some("FIRST") => false,
                Some("NEXT") => true,
                Some(_) => return Err(Fault::about(106, "readDirection")),
            },
            types: filter.texts("types"),
        })
    }
}

fn contact_filter(
    filter: Option<Parameters<'_>>,
    rules: &DateRules,
) -> Result<ContactFilter, Fault> {
    let mut contact_filter = ContactFilter::new(is_or(filter)?);
    let Some(filter) = filter else {
        return Ok(contact_filter);
    };
    for name in ["email", "mobileNumber", "customSource"] {
        for condition in text_conditions(Some(filter), name)? {
            contact_filter.add_text(name, condition);
        }
    }
    for name in ["status", "msgPref", "source"] {
        for value in filter.texts(name) {
            contact_filter.add_text(name, TextCondition::equal_to(value));
        }
    }
    for name in ["id", "listId", "segmentId", "SMSKeywordID"] {
        for value in filter.texts(name) {
            contact_filter.add_id(name, value);
        }
    }
    for name in ["created", "modified"] {
        for node in filter.children(name) {
            let Some(wanted) = instant(Some(node), "value", 106)? else {
                return Err(Fault::about(106, name));
            };
            let interval = rules.interval(node.operator()?, wanted);
            let interval = interval.ok_or_else(|| Fault::about(106, "operator"))?;
            contact_filter.add_date(name == "modified", interval);
        }
    }
    Ok(contact_filter)
}

fn text_conditions(
    filter: Option<Parameters<'_>>,
    name: &str,
) -> Result<Vec<TextCondition>, Fault> {
    let Some(filter) = filter else {
        return Ok(Vec::new());
    };
    filter
        .children(name)
        .map(|node| {
            let value = node.text("value").unwrap_or_default();
            TextCondition::new(node.operator()?, value).ok_or_else(|| Fault::about(106, "operator"))
        })
        .collect()
}

fn is_or(filter: Option<Parameters<'_>>) -> Result<bool, Fault> {
    match filter.and_then(|filter| filter.text("type")).as_deref() {
        None | Some("AND") => Ok(false),
        Some("OR") => Ok(true),
        Some(_) => Err(Fault::new(112)),
    }
}

fn instant(
    filter: Option<Parameters<'_>>,
    name: &str,
    code: u16,
) -> Result<Option<UtcInstant>, Fault> {
    let Some(text) = filter.and_then(|filter| filter.text(name)) else {
        return Ok(None);
    };
    let instant = UtcInstant::parse(&text).ok_or_else(|| Fault::about(code, name))?;
    Ok(Some(instant))
}

/// Holds an element's children against its type.
fn check(node: Node<'_, '_>, kind: &ComplexType) -> Result<(), Fault> {
    let invalid = || Fault::new(107);
    for child in elements(node) {
        let name = child.tag_name();
        let mut known = kind.all_elements();
        let element = known.find(|element| element.name == name.name());
        let element = element.filter(|_| name.namespace().is_none()).ok_or_else(invalid)?;
        if !element.repeated && elements(node).filter(|other| other.tag_name() == name).count() > 1
        {
            return Err(invalid());
        }
        if let ElementType::Api(kind) = element.kind
            && let Some(kind) = ComplexType::named(kind)
        {
            check(child, kind)?;
        }
    }
    for element in kind.all_elements().filter(|element| element.required) {
        if !elements(node).any(|child| child.has_tag_name(element.name)) {
            return Err(Fault::about(110, element.name));
        }
    }
    Ok(())
}

fn elements<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(Node::is_element)
}

/// The children of an element, by name.
#[derive(Clone, Copy)]
struct Parameters<'a>(Node<'a, 'a>);

impl<'a> Parameters<'a> {
    fn children(self, name: &str) -> impl Iterator<Item = Self> {
        elements(self.0)
            .filter(move |node| node.tag_name().name() == name)
            .filter(|node| !matches!(node.attribute((XSI, "nil")), Some("true" | "1")))
            .map(Parameters)
    }

    fn child(self, name: &str) -> Option<Self> {
        self.children(name).next()
    }

    fn texts(self, name: &str) -> Vec<String> {
        self.children(name).map(Self::content).collect()
    }

    fn text(self, name: &str) -> Option<String> {
        self.child(name).map(Self::content)
    }

    /// An id to filter by; an empty one means none.
    fn id(self, name: &str) -> Option<String> {
        self.text(name).filter(|id| !id.is_empty())
    }

    /// The whole text of this element, whatever sections it is written in.
    fn content(self) -> String {
        self.0.children().filter_map(|node| node.text()).collect()
    }

    fn flag(self, name: &str) -> Result<bool, Fault> {
        match self.text(name).as_deref().map(str::trim) {
            None | Some("" | "false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(Fault::about(106, name)),
        }
    }

    fn integer(self, name: &str) -> Result<Option<i64>, Fault> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = text.trim().parse().map_err(|_| Fault::about(106, name))?;
        Ok(Some(number))
    }

    fn page(self) -> Result<u32, Fault> {
        let page = self.integer("pageNumber")?.unwrap_or(0);
        u32::try_from(page)
            .ok()
            .filter(|page| *page >= 1)
            .ok_or_else(|| Fault::about(106, "pageNumber"))
    }

    fn operator(self) -> Result<Operator, Fault> {
        match self.text("operator") {
            None => Ok(Operator::EqualTo),
            Some(name) => Operator::named(&name).ok_or_else(|| Fault::about(106, "operator")),
        }
    }
}
