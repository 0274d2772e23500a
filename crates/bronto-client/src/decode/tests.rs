//! What makes an answer whole, and what makes an object one that can be decoded.

#![expect(clippy::unwrap_used, reason = "a failed decode should stop the test")]

use secrecy::ExposeSecret;

use super::*;
use crate::fault_code::FaultCode;
use crate::object_tables::{ACTIVITY, CONTACT, FIELD, LIST};

/// Keeps what it is given, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Collector {
    pub(super) names: Vec<&'static str>,
    pub(super) rows: Vec<Vec<(String, String)>>,
    pub(super) raw: Vec<String>,
    pub(super) rejects: Vec<(String, RowDefect)>,
    current: Vec<(String, String)>,
}

impl Collector {
    pub(super) fn new(table: &'static ObjectTable) -> Self {
        let names = table.fields.iter().map(|field| field.name).collect();
        Self { names, ..Self::default() }
    }
}

impl RowSink for Collector {
    fn clear(&mut self) {
        let names = std::mem::take(&mut self.names);
        *self = Self { names, ..Self::default() };
    }

    fn value(&mut self, field: usize, text: &str) {
        self.current.push((self.names[field].to_owned(), text.to_owned()));
    }

    fn custom_field(&mut self, field_id: &str, content: &str) {
        self.current.push((format!("fields/{field_id}"), content.to_owned()));
    }

    fn end_row(&mut self, raw: &str) {
        self.rows.push(std::mem::take(&mut self.current));
        self.raw.push(raw.to_owned());
    }

    fn reject_row(&mut self, raw: &str, reason: &RowDefect) {
        self.current.clear();
        self.rejects.push((raw.to_owned(), *reason));
    }
}

use crate::sink::RowDefect;

/// An answer of readLists with that content of the response.
fn lists(content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body>\
         <ns2:readListsResponse xmlns:ns2=\"http://api.bronto.com/v4\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">{content}\
         </ns2:readListsResponse></soap:Body></soap:Envelope>\n"
    )
}

fn decode(
    function: Function,
    table: &'static ObjectTable,
    body: &[u8],
) -> Result<(Answer<Rows>, Collector), AnswerDefect> {
    let mut collector = Collector::new(table);
    let answer = rows(function, table, body, &mut collector)?;
    Ok((answer, collector))
}

fn decode_lists(body: impl AsRef<[u8]>) -> Result<(Answer<Rows>, Collector), AnswerDefect> {
    decode(Function::ReadLists, &LIST, body.as_ref())
}

fn defect(body: impl AsRef<[u8]>) -> AnswerDefect {
    decode_lists(body).unwrap_err()
}

/// The values of the `label` in a page of one list.
fn label(content: &str) -> String {
    let (_, collector) = decode_lists(lists(&format!("<return>{content}</return>"))).unwrap();
    let row = collector.rows.first().unwrap();
    row.iter().find(|(name, _)| name == "label").unwrap().1.clone()
}

/// Why a page of one list rejects it.
fn rejection(content: &str) -> RowDefect {
    let page = lists(&format!(
        "<return><id>before</id></return><return><id>1</id>{content}</return>\
         <return><id>after</id></return>"
    ));
    let (answer, collector) = decode_lists(page).unwrap();
    assert!(matches!(answer, Answer::Response(rows) if (rows.count, rows.rejected) == (3, 1)));
    let ids: Vec<_> = collector.rows.iter().map(|row| row[0].1.as_str()).collect();
    assert_eq!(ids, ["before", "after"], "the other objects of the page stay");
    let (raw, defect) = &collector.rejects[0];
    assert_eq!(*raw, format!("<return><id>1</id>{content}</return>"));
    *defect
}

const CONTACTS: &str = "\u{FEFF}<?xml version='1.0' encoding='utf-8' standalone='yes'?>
<!-- a page -->
<SOAP-ENV:Envelope xmlns:SOAP-ENV='http://schemas.xmlsoap.org/soap/envelope/'
    xmlns='http://api.bronto.com/v4'>
  <SOAP-ENV:Header><trace xmlns=''>7</trace></SOAP-ENV:Header>
  <SOAP-ENV:Body>
    <readContactsResponse>
      <return xmlns=''>
        <id>0bbd01</id>
        <email>x&amp;y@example.com</email>
        <customSource><![CDATA[a <b> & c]]></customSource>
        <modified>2019-03-04T14:05:09.000-05:00</modified>
        <listIds>0bbf01</listIds>
        <listIds xsi:nil='true' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'/>
        <listIds>0bbf02</listIds>
        <fields><fieldId>0bbc01</fieldId><content>L&#243;pez</content></fields>
        <fields><fieldId>0bbc02</fieldId><content/></fields>
        <fields><fieldId>0bbc03</fieldId></fields>
        <conversionAmount>312.45</conversionAmount>
        <readOnlyContactData>
          <geoIPCity>Raleigh</geoIPCity>
          <totalOrders>4</totalOrders>
        </readOnlyContactData>
        <consentIp>192.0.2.44</consentIp>
      </return>
      <return/>
    </readContactsResponse>
  </SOAP-ENV:Body>
</SOAP-ENV:Envelope>
<!-- the end -->
";

#[test]
fn a_page_of_contacts() {
    let (answer, collector) =
        decode(Function::ReadContacts, &CONTACT, CONTACTS.as_bytes()).unwrap();
    let rows = Rows { count: 2, ..Rows::default() };
    assert_eq!(answer, Answer::Response(rows));
    let expected = [
        ("id", "0bbd01"),
        ("email", "x&y@example.com"),
        ("customSource", "a <b> & c"),
        ("modified", "2019-03-04T14:05:09.000-05:00"),
        ("listIds", "0bbf01"),
        ("listIds", "0bbf02"),
        ("fields/0bbc01", "López"),
        ("fields/0bbc02", ""),
        ("conversionAmount", "312.45"),
        ("geoIPCity", "Raleigh"),
        ("totalOrders", "4"),
        ("consentIp", "192.0.2.44"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(collector.rows, [expected.to_vec(), Vec::new()]);
    assert!(
        collector.raw[0].starts_with("<return xmlns=''>")
            && collector.raw[0].ends_with("</return>")
    );
    assert_eq!(collector.raw[1], "<return/>");
}

#[test]
fn no_part_of_a_document_is_taken_for_the_whole() {
    let fault = "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><e:Fault>\
        <faultcode>e:Server</faultcode><faultstring>116: End of result set.</faultstring>\
        </e:Fault></e:Body></e:Envelope>";
    let empty = lists("");
    let commented = lists("<!-- x --><return><id><![CDATA[1]]>&amp;</id><label/></return>");
    let pages = [
        (Function::ReadContacts, &CONTACT, CONTACTS.trim_end()),
        (Function::ReadLists, &LIST, empty.trim_end()),
        (Function::ReadLists, &LIST, commented.trim_end()),
        (Function::ReadRecentInboundActivities, &ACTIVITY, fault),
    ];
    for (function, table, whole) in pages {
        assert!(decode(function, table, whole.as_bytes()).is_ok());
        // What follows the envelope may be missing without loss.
        let end = whole.rfind("Envelope>").unwrap() + "Envelope>".len();
        for length in 0..end {
            let result = decode(function, table, &whole.as_bytes()[..length]);
            assert!(result.is_err(), "the first {length} bytes of {function} were taken");
        }
    }
}

#[test]
fn a_login_is_whole_or_an_error() {
    let body = lists("<return> 79811a0f-&#x30;1 </return>").replace("readLists", "login");
    let answer = session_id(body.as_bytes()).unwrap();
    assert!(matches!(answer, Answer::Response(id) if id.expose_secret() == "79811a0f-01"));
    for length in 0..body.trim_end().len() {
        assert!(session_id(&body.as_bytes()[..length]).is_err(), "{length}");
    }
    let none = lists("<return/>").replace("readLists", "login");
    assert_eq!(session_id(none.as_bytes()).unwrap_err(), AnswerDefect::NoSession);
}

#[test]
fn what_is_no_soap_is_called_what_it_is() {
    assert_eq!(defect(""), AnswerDefect::Empty);
    assert_eq!(defect("\u{FEFF} \r\n\t"), AnswerDefect::Empty);
    assert_eq!(defect("Service Temporarily Unavailable"), AnswerDefect::PlainText);
    assert_eq!(defect("{\"error\": 503}"), AnswerDefect::PlainText);
    assert_eq!(defect("<html><body>Sorry</body></html>"), AnswerDefect::Html);
    assert_eq!(defect("<!DOCTYPE HTML>\n<p>Sorry"), AnswerDefect::Html);
    assert_eq!(defect("<HTML/>"), AnswerDefect::Html);
    assert_eq!(defect("<Envelope><Body/></Envelope>"), AnswerDefect::NotSoap);
    assert_eq!(defect("<error>no</error>"), AnswerDefect::NotSoap);
    let soap_1_2 = lists("").replace(
        "http://schemas.xmlsoap.org/soap/envelope/",
        "http://www.w3.org/2003/05/soap-envelope",
    );
    assert_eq!(defect(soap_1_2), AnswerDefect::NotSoap);
}

#[test]
fn structures_that_are_no_answer_are_refused() {
    let page = lists("<return><id>1</id></return>");
    let page = page.trim_end();
    for broken in [
        format!("{page}{page}"),
        format!("{page}<x/>"),
        format!("{page}more"),
        format!("{page}&amp;"),
        page.replace("<soap:Body>", "<soap:Body/><soap:Body>"),
        page.replace("</soap:Body>", "</soap:Body><soap:Body></soap:Body>"),
        page.replace("</soap:Body>", "<x/></soap:Body>"),
        page.replace("</soap:Body>", "text</soap:Body>"),
        page.replace("<return>", "<total>1</total><return>"),
        page.replace("<return>", "text<return>"),
        page.replace("<return>", "& <return>"),
        page.replace("</id>", "</ID>"),
        page.replace("<soap:Body>", "<!DOCTYPE x [<!ENTITY y \"z\">]><soap:Body>"),
        page.replace("<id>", "<id xsi:nil=\"true>"),
        page.replace("<id>", "<id a=b>"),
    ] {
        let result = decode_lists(&broken);
        let defect = result.map(|_| broken).unwrap_err();
        assert!(
            matches!(defect, AnswerDefect::Malformed { .. } | AnswerDefect::Truncated),
            "{defect:?}"
        );
    }
    let envelope = page.split_once("<soap:Body>").unwrap().0;
    let bodies = ["", "<soap:Body/>", "<soap:Body></soap:Body>", "<soap:Header/>"];
    for body in bodies {
        let defect = defect(format!("{envelope}{body}</soap:Envelope>"));
        assert!(matches!(defect, AnswerDefect::Malformed { .. }), "{body}: {defect:?}");
    }
}

#[test]
fn the_answer_to_something_else_is_refused() {
    let other = lists("").replace("readLists", "readContacts");
    let expected = AnswerDefect::WrongOperation {
        expected: Function::ReadLists,
        found: "ns2:readContactsResponse".to_owned(),
    };
    assert_eq!(defect(other), expected);
    let older = lists("").replace("http://api.bronto.com/v4", "http://api.bronto.com/v3");
    assert!(matches!(defect(older), AnswerDefect::WrongOperation { .. }));
    let echo = lists("").replace("readListsResponse", "readLists");
    assert!(matches!(defect(echo), AnswerDefect::WrongOperation { .. }));
}

#[test]
fn other_encodings_are_refused_by_name() {
    let page = lists("<return><id>é</id></return>");
    let encoding = |name: &str| AnswerDefect::Encoding { encoding: name.to_owned() };
    let latin = page.replace("UTF-8", "ISO-8859-1").replace('é', "\u{1}");
    let latin: Vec<u8> = latin.bytes().map(|byte| if byte == 1 { 0xE9 } else { byte }).collect();
    assert_eq!(defect(latin), encoding("ISO-8859-1"));
    let wide: Vec<u8> =
        std::iter::once(0xFEFF_u16).chain(page.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(defect(wide), encoding("UTF-16"));
    assert!(decode_lists(page.replace("UTF-8", "utf-8")).is_ok());
    assert!(decode_lists(page.replace(" encoding=\"UTF-8\"", "")).is_ok());
}

#[test]
fn depth_is_limited_everywhere() {
    let nest = |depth: usize| format!("{}{}", "<x>".repeat(depth), "</x>".repeat(depth));
    assert!(decode_lists(lists(&format!("<return>{}</return>", nest(MAX_DEPTH)))).is_ok());
    for deep in [
        lists(&format!("<return>{}</return>", nest(MAX_DEPTH + 1))),
        lists(&format!("<return><id>{}</id></return>", nest(MAX_DEPTH + 1))),
        lists("")
            .replace("<soap:Body>", &format!("<soap:Header>{}</soap:Header><soap:Body>", nest(99))),
        lists("<return><id>").replace("</", "<"),
    ] {
        let defect = defect(deep);
        assert!(matches!(defect, AnswerDefect::TooDeep | AnswerDefect::Truncated), "{defect:?}");
    }
    // A million levels cost no stack.
    let endless = format!("{}{}", lists("<return>").trim_end(), "<x>".repeat(1_000_000));
    assert!(decode_lists(endless).is_err());
}

#[test]
fn text_comes_as_xml_means_it() {
    assert_eq!(label("<label>a &amp; b &lt;c&gt; &quot;&apos;</label>"), "a & b <c> \"'");
    assert_eq!(label("<label>&#76;&#x4F;&#x1F600;</label>"), "LO😀");
    assert_eq!(label("<label><![CDATA[<&amp;>]]>]]&gt;<![CDATA[]]></label>"), "<&amp;>]]>");
    assert_eq!(label("<label>a<!-- & -->b<?p i?>c</label>"), "abc");
    assert_eq!(label("<label>  a\tb  </label>"), "  a\tb  ");
    assert_eq!(label("<label></label>"), "");
    assert_eq!(label("<label/>"), "");
    assert_eq!(label("<label ></label >"), "");
    assert_eq!(label("<x:label xmlns:x='y' z='>'>a</x:label>"), "a");
    assert_eq!(label("<label xsi:nil='false'>a</label>"), "a");
    assert_eq!(label("<label nil='true'>a</label>"), "a");
}

#[test]
fn line_ends_become_line_feeds_unless_they_are_references() {
    assert_eq!(label("<label>a\r\nb\rc\nd\r\r\ne</label>"), "a\nb\nc\nd\n\ne");
    assert_eq!(label("<label>a&#13;\nb&#xD;&#10;</label>"), "a\r\nb\r\n");
    assert_eq!(label("<label>&amp;\r\n<![CDATA[\r\n\r]]></label>"), "&\n\n\n");
    assert_eq!(label("<label>a\u{85}b\u{2028}c</label>"), "a\u{85}b\u{2028}c");
}

#[test]
fn control_characters_are_kept_raw_or_as_references() {
    assert_eq!(label("<label>\u{1}\u{B}\u{1F}\u{FFFF}</label>"), "\u{1}\u{B}\u{1F}\u{FFFF}");
    assert_eq!(label("<label>&#1;&#x1f;&#xFFFE;</label>"), "\u{1}\u{1F}\u{FFFE}");
    assert_eq!(label("<label>a\0b</label>"), "a\0b");
    assert_eq!(label("<label>a&#0;b&#x00;</label>"), "a\0b\0");
}

#[test]
fn an_object_that_can_not_be_decoded_costs_no_other() {
    let name = |field| RowDefect::NestedElement { field };
    assert_eq!(rejection("<label>&#xD800;</label>"), RowDefect::CharacterReference);
    assert_eq!(rejection("<label>&#1114112;&#0;</label>"), RowDefect::CharacterReference);
    assert_eq!(rejection("<label>&#;</label>"), RowDefect::CharacterReference);
    assert_eq!(rejection("<label>&nbsp;</label>"), RowDefect::UnknownEntity);
    assert_eq!(rejection("<label>fish & chips</label>"), RowDefect::BareAmpersand);
    assert_eq!(rejection("<label>a & b & c</label><status>x</status>"), RowDefect::BareAmpersand);
    assert_eq!(rejection("<label>a<b>c</b></label>"), name("label"));
    assert_eq!(rejection("<label>a<b/></label>"), name("label"));
    assert_eq!(
        rejection("<label>a</label><label>b</label>"),
        RowDefect::Repeated { field: "label" }
    );
    assert_eq!(rejection("<label/><label/>"), RowDefect::Repeated { field: "label" });
    let nil = RowDefect::NilWithContent { field: "label" };
    assert_eq!(rejection("<label xsi:nil='true'>a</label>"), nil);
    assert_eq!(rejection("<label xsi:nil='1'>&amp;</label>"), nil);
    assert_eq!(rejection("loose<label>a</label>"), RowDefect::StrayText);
    assert_eq!(rejection("&amp;"), RowDefect::StrayText);
}

#[test]
fn values_that_are_too_long_cost_their_object_only() {
    let limit = MAX_TEXT_BYTES;
    let too_long = RowDefect::TooLong { field: "label", limit };
    let long = "x".repeat(limit);
    assert_eq!(label(&format!("<label>{long}</label>")).len(), limit);
    assert_eq!(rejection(&format!("<label>{long}x</label>")), too_long);
    assert_eq!(rejection(&format!("<label>&amp;{long}</label>")), too_long);
}

#[test]
fn bytes_that_are_no_text_cost_their_object_only() {
    let page = lists("<return><id>1</id></return><return><id>2</id><label>*</label></return>");
    let spoil = |text: &str| -> Vec<u8> {
        text.bytes().map(|byte| if byte == b'*' { 0xFF } else { byte }).collect()
    };
    let (answer, collector) = decode_lists(spoil(&page)).unwrap();
    assert!(matches!(answer, Answer::Response(rows) if rows.rejected == 1));
    assert_eq!(collector.rows, [[("id".to_owned(), "1".to_owned())]]);
    let raw = "<return><id>2</id><label>\u{FFFD}</label></return>".to_owned();
    assert_eq!(collector.rejects, [(raw, RowDefect::NotUtf8)]);
    // Outside of an object there is nothing to reject.
    assert!(decode_lists(spoil(&lists("<!-- * -->"))).is_err());
}

#[test]
fn custom_fields_need_their_id() {
    let page = |content: &str| {
        let page = lists(&format!("<return><fields>{content}</fields></return>"));
        let page = page.replace("readLists", "readContacts");
        decode(Function::ReadContacts, &CONTACT, page.as_bytes()).unwrap().1
    };
    let one = page("<content>b</content>\n<fieldId>a</fieldId>");
    assert_eq!(one.rows, [[("fields/a".to_owned(), "b".to_owned())]]);
    for nothing in ["", "<fieldId>a</fieldId>", "<fieldId>a</fieldId><content xsi:nil='true'/>"] {
        assert_eq!(page(nothing).rows, [[]], "{nothing}");
    }
    let defect = |content| page(content).rejects[0].1;
    assert_eq!(defect("<content>b</content>"), RowDefect::NamelessCustomField);
    let twice = "<fieldId>a</fieldId><fieldId>b</fieldId><content/>";
    assert_eq!(defect(twice), RowDefect::Repeated { field: "fields" });
    assert_eq!(defect("<fieldId>a&#xD800;</fieldId>"), RowDefect::CharacterReference);
    let twice = "<fieldId>a</fieldId><content>b</content><content/>";
    assert_eq!(defect(twice), RowDefect::Repeated { field: "fields" });
    assert_eq!(defect("text"), RowDefect::StrayText);
}

#[test]
fn the_choices_of_a_field_are_passed_over() {
    let option = "<options><label>l</label><value>v</value><isDefault>true</isDefault></options>";
    let page = lists(&format!(
        "<return><id>1</id>{option}<options/>{option}<options xsi:nil='true'/><type>radio</type></return>"
    ));
    let page = page.replace("readLists", "readFields");
    let (answer, collector) = decode(Function::ReadFields, &FIELD, page.as_bytes()).unwrap();
    assert_eq!(answer, Answer::Response(Rows { count: 1, ..Rows::default() }));
    let values = [("id", "1"), ("type", "radio")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(collector.rows, [values]);
}

#[test]
fn unknown_elements_are_passed_over_and_named() {
    let page = lists("<return><id>1</id><owner><id>2</id></owner><tags/><label>a</label></return>");
    let (answer, collector) = decode_lists(page).unwrap();
    let Answer::Response(rows) = answer else { panic!("a fault") };
    assert_eq!(rows.unknown_elements, ["owner", "tags"]);
    let names: Vec<_> = collector.rows[0].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["id", "label"]);
}

#[test]
fn faults_are_read_wherever_their_code_is() {
    let fault = |content: &str| {
        let body = format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
             <s:Fault>{content}</s:Fault></s:Body></s:Envelope>"
        );
        let (answer, _) = decode_lists(&body).unwrap();
        let Answer::Fault(fault) = answer else { panic!("no fault") };
        assert_eq!(fault_in(Function::Login, body.as_bytes()), Some(fault.clone()));
        fault
    };
    let detail = |code: &str| {
        format!(
            "<faultcode>s:Server</faultcode><faultstring>103: Your session is &amp; invalid.\
             </faultstring><detail><b:ApiException xmlns:b=\"http://api.bronto.com/v4\">{code}\
             </b:ApiException></detail>"
        )
    };
    let with_code = fault(&detail("<errorCode>108</errorCode>"));
    assert_eq!(with_code.code(), FaultCode::ShardOffline);
    assert_eq!(with_code.message(), Some("Your session is & invalid"));
    for nothing in [
        "",
        "<errorCode xsi:nil=\"true\"/>",
        "<errorCode/>",
        "<errorCode>x</errorCode>",
        "<x><errorCode>108</errorCode></x>",
        "<errorCode a:nil='1'>108</errorCode>",
    ] {
        assert_eq!(fault(&detail(nothing)).code(), FaultCode::InvalidSessionToken, "{nothing}");
    }
    let outside = "<faultstring>no</faultstring><detail><errorCode>108</errorCode></detail>";
    assert_eq!(fault(outside).code(), FaultCode::Unknown);
    assert_eq!(
        fault("<faultstring>116: End of result set.</faultstring>").code(),
        FaultCode::EndOfQuery
    );
    assert_eq!(fault("").code(), FaultCode::Unknown);
    assert_eq!(fault_in(Function::Login, b"<html>500: oops</html>"), None);
    assert_eq!(fault_in(Function::ReadLists, lists("").as_bytes()), None);
}
