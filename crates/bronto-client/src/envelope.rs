//! Requests as SOAP envelopes, written by hand: the elements of the newest WSDL in its order.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use crate::lexical::utc_text;
use crate::request::{
    Cursor, Function, ReadActivities, ReadContacts, ReadRequest, ReadUnsubscribes,
};

const PROLOGUE: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
    "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" ",
    "xmlns:v4=\"http://api.bronto.com/v4\">",
);

/// A login. The only call without a session.
pub(crate) fn login(token: &SecretString) -> String {
    let mut writer = Writer::begin(None);
    writer.operation(Function::Login, |writer| {
        writer.text("apiToken", token.expose_secret());
    });
    writer.end()
}

/// A logout.
pub(crate) fn logout(session: &SecretString) -> String {
    let mut writer = Writer::begin(Some(session));
    writer.operation(Function::Logout, |_| {});
    writer.end()
}

/// A read.
pub(crate) fn read(session: &SecretString, request: &ReadRequest) -> String {
    let mut writer = Writer::begin(Some(session));
    writer.operation(request.function(), |writer| match request {
        ReadRequest::Contacts(read) => contacts(writer, read),
        ReadRequest::Lists(read) => unfiltered(writer, read.page, read.page_size),
        ReadRequest::Fields(read) => unfiltered(writer, read.page, read.page_size),
        ReadRequest::Unsubscribes(read) => unsubscribes(writer, read),
        ReadRequest::Activities(read) => activities(writer, read),
    });
    writer.end()
}

fn contacts(writer: &mut Writer, read: &ReadContacts) {
    let modified = |writer: &mut Writer, bound, operator| {
        writer.element("modified", |writer| {
            writer.instant("value", bound);
            writer.text("operator", operator);
        });
    };
    writer.element("filter", |writer| {
        writer.text("type", "AND");
        modified(writer, read.modified_from, "AfterOrSameDay");
        modified(writer, read.modified_before, "Before");
    });
    let include = &read.include;
    writer.flag("includeLists", include.lists);
    for field in &read.fields {
        writer.text("fields", field);
    }
    writer.number("pageNumber", read.page);
    writer.flag("includeSMSKeywords", include.sms_keywords);
    writer.flag("includeGeoIPData", include.geo_ip);
    writer.flag("includeTechnologyData", include.technology);
    writer.flag("includeRFMData", include.rfm);
    writer.flag("includeEngagementData", include.engagement);
    writer.flag("includeSegments", include.segments);
}

/// Lists and fields: all there are.
fn unfiltered(writer: &mut Writer, page: u32, page_size: Option<u32>) {
    // The filter is optional in the WSDL and required in the documentation.
    writer.element("filter", |_| {});
    writer.number("pageNumber", page);
    if let Some(size) = page_size {
        writer.number("pageSize", size);
    }
}

fn unsubscribes(writer: &mut Writer, read: &ReadUnsubscribes) {
    writer.element("filter", |writer| {
        writer.instant("start", read.start);
        writer.instant("end", read.end);
    });
    writer.number("pageNumber", read.page);
}

fn activities(writer: &mut Writer, read: &ReadActivities) {
    // Without `types`, which means all of them. The one for skipped contacts is spelt in three
    // ways in the sources, so naming types could only lose some.
    writer.element("filter", |writer| {
        writer.instant("start", read.start);
        writer.instant("end", read.end);
        writer.number("size", read.size);
        let direction = match read.cursor {
            Cursor::First => "FIRST",
            Cursor::Next => "NEXT",
        };
        writer.text("readDirection", direction);
    });
}

/// Writes an envelope from its start to its end.
struct Writer {
    xml: String,
}

impl Writer {
    /// Begins an envelope, with the session in its header.
    fn begin(session: Option<&SecretString>) -> Self {
        let mut writer = Self { xml: String::with_capacity(1024) };
        writer.xml.push_str(PROLOGUE);
        if let Some(session) = session {
            writer.element("soapenv:Header", |writer| {
                writer.element("v4:sessionHeader", |writer| {
                    writer.text("sessionId", session.expose_secret());
                });
            });
        }
        writer
    }

    fn operation(&mut self, function: Function, content: impl FnOnce(&mut Self)) {
        self.element("soapenv:Body", |writer| {
            writer.element(&format!("v4:{function}"), content);
        });
    }

    fn end(mut self) -> String {
        self.xml.push_str("</soapenv:Envelope>");
        self.xml
    }

    fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        for piece in ["<", name, ">"] {
            self.xml.push_str(piece);
        }
        content(self);
        for piece in ["</", name, ">"] {
            self.xml.push_str(piece);
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.element(name, |writer| {
            for character in text.chars() {
                match character {
                    '&' => writer.xml.push_str("&amp;"),
                    '<' => writer.xml.push_str("&lt;"),
                    '>' => writer.xml.push_str("&gt;"),
                    // A bare one would be read as a line feed.
                    '\r' => writer.xml.push_str("&#13;"),
                    other => writer.xml.push(other),
                }
            }
        });
    }

    fn number(&mut self, name: &str, number: u32) {
        self.text(name, &number.to_string());
    }

    fn flag(&mut self, name: &str, flag: bool) {
        self.text(name, if flag { "true" } else { "false" });
    }

    fn instant(&mut self, name: &str, instant: DateTime<Utc>) {
        self.text(name, &utc_text(instant));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

    use super::*;
    use crate::request::{ContactIncludes, Direction, ReadFields, ReadLists};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The content of the element with that name.
    fn inside<'a>(xml: &'a str, name: &str) -> &'a str {
        let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap();
        rest.split_once(&format!("</{name}>")).unwrap().0
    }

    #[test]
    fn a_login_has_no_header_and_escapes_the_token() {
        let xml = login(&"a<b>&\r\"'".into());
        assert!(xml.starts_with(PROLOGUE) && xml.ends_with("</soapenv:Envelope>"));
        assert!(!xml.contains("Header"));
        assert_eq!(inside(&xml, "v4:login"), "<apiToken>a&lt;b&gt;&amp;&#13;\"'</apiToken>");
    }

    #[test]
    fn calls_carry_the_session() {
        let xml = logout(&"id&1".into());
        let header = "<v4:sessionHeader><sessionId>id&amp;1</sessionId></v4:sessionHeader>";
        assert_eq!(inside(&xml, "soapenv:Header"), header);
        assert_eq!(inside(&xml, "soapenv:Body"), "<v4:logout></v4:logout>");
    }

    #[test]
    fn contacts_in_the_order_of_the_newest_wsdl() {
        let request = ReadRequest::Contacts(ReadContacts {
            modified_from: at("2019-03-04T00:00:00.25Z"),
            modified_before: at("2019-03-05T00:00:00Z"),
            page: 2,
            include: ContactIncludes { lists: true, segments: true, ..ContactIncludes::default() },
            fields: vec!["0bbc1".to_owned(), "0bbc2".to_owned()],
        });
        let expected = "<filter><type>AND</type>\
            <modified><value>2019-03-04T00:00:00.25Z</value><operator>AfterOrSameDay</operator></modified>\
            <modified><value>2019-03-05T00:00:00Z</value><operator>Before</operator></modified></filter>\
            <includeLists>true</includeLists><fields>0bbc1</fields><fields>0bbc2</fields>\
            <pageNumber>2</pageNumber><includeSMSKeywords>false</includeSMSKeywords>\
            <includeGeoIPData>false</includeGeoIPData>\
            <includeTechnologyData>false</includeTechnologyData>\
            <includeRFMData>false</includeRFMData>\
            <includeEngagementData>false</includeEngagementData>\
            <includeSegments>true</includeSegments>";
        assert_eq!(inside(&read(&"s".into(), &request), "v4:readContacts"), expected);
    }

    #[test]
    fn lists_fields_and_unsubscriptions() {
        let lists = |page_size| {
            let request = ReadRequest::Lists(ReadLists { page: 1, page_size });
            inside(&read(&"s".into(), &request), "v4:readLists").to_owned()
        };
        assert_eq!(lists(None), "<filter></filter><pageNumber>1</pageNumber>");
        assert!(lists(Some(50)).ends_with("<pageSize>50</pageSize>"));
        let request = ReadRequest::Fields(ReadFields { page: 2, page_size: Some(10) });
        let expected = "<filter></filter><pageNumber>2</pageNumber><pageSize>10</pageSize>";
        assert_eq!(inside(&read(&"s".into(), &request), "v4:readFields"), expected);
        let request = ReadRequest::Unsubscribes(ReadUnsubscribes {
            start: at("2019-03-04T00:00:00Z"),
            end: at("2019-03-05T00:00:00Z"),
            page: 3,
        });
        let expected = "<filter><start>2019-03-04T00:00:00Z</start>\
            <end>2019-03-05T00:00:00Z</end></filter><pageNumber>3</pageNumber>";
        assert_eq!(inside(&read(&"s".into(), &request), "v4:readUnsubscribes"), expected);
    }

    #[test]
    fn activities_of_all_types() {
        let xml = |direction, cursor| {
            let request = ReadRequest::Activities(ReadActivities {
                direction,
                start: at("2019-03-04T00:00:00Z"),
                end: at("2019-03-05T00:00:00Z"),
                size: 5000,
                cursor,
            });
            read(&"s".into(), &request)
        };
        let expected = "<filter><start>2019-03-04T00:00:00Z</start>\
            <end>2019-03-05T00:00:00Z</end><size>5000</size>\
            <readDirection>FIRST</readDirection></filter>";
        let first = xml(Direction::Inbound, Cursor::First);
        assert_eq!(inside(&first, "v4:readRecentInboundActivities"), expected);
        let next = xml(Direction::Outbound, Cursor::Next);
        let expected = expected.replace("FIRST", "NEXT");
        assert_eq!(inside(&next, "v4:readRecentOutboundActivities"), expected);
    }
}
