//! The faults of the API: one table of codes and messages.

use thiserror::Error;

use crate::settings::Forbidden;

/// One fault of the API's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FaultKind {
    pub(crate) code: u16,
    /// The message; `%` stands for the argument.
    message: &'static str,
}

/// Every fault the simulated server can answer with.
const FAULTS: &[FaultKind] = &[
    kind(101, "There was an unknown API error. Please try your request again shortly."),
    kind(102, "Authentication failed for token: %"),
    kind(103, "Your session is invalid. Please log in again."),
    kind(104, "You do not have valid access for this method."),
    kind(105, "You must specify at least one item in the input array."),
    kind(106, "Unable to verify parameter %"),
    kind(107, "There was an error in your soap request. Please examine the request and try again."),
    kind(108, "The API is currently undergoing maintenance. Please try your request again later."),
    kind(109, "This site is currently marked as 'inactive'"),
    kind(110, "Required fields are missing: %"),
    kind(111, "Your IP address does not have access for token %."),
    kind(112, "Invalid filter type (must be AND or OR)."),
    kind(
        113,
        "There was an error reading your query results. Please try your request again shortly.",
    ),
    kind(114, "Page size exceeds the maximum allowed limit of %."),
    kind(115, "Page size is lower than the minimum allowed limit of %."),
    kind(116, "End of result set."),
    kind(401, "Invalid field id: %"),
    kind(1201, "Invalid start date."),
    kind(1202, "Invalid activity types: %"),
    kind(1203, "Invalid activity size: %"),
];

const fn kind(code: u16, message: &'static str) -> FaultKind {
    FaultKind { code, message }
}

/// A fault about to be sent: a code of the table and the argument of its message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {}", self.message())]
pub(crate) struct Fault {
    code: u16,
    argument: String,
}

impl Fault {
    /// The fault with this code; a code that isn't in the table is sent with the text of 101.
    pub(crate) fn new(code: u16) -> Self {
        Self::about(code, "")
    }

    /// The fault with this code, naming what it is about.
    pub(crate) fn about(code: u16, argument: impl Into<String>) -> Self {
        Self { code, argument: argument.into() }
    }

    pub(crate) fn is_known(code: u16) -> bool {
        FAULTS.iter().any(|fault| fault.code == code)
    }

    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    fn message(&self) -> String {
        FAULTS
            .iter()
            .find(|fault| fault.code == self.code)
            .unwrap_or(&FAULTS[0])
            .message
            .replace('%', &self.argument)
    }

    /// The whole SOAP response for this fault.
    pub(crate) fn envelope(&self, with_detail: bool) -> Vec<u8> {
        let mut text = Vec::with_capacity(256);
        crate::xml::escape(&self.to_string(), Forbidden::References, &mut text);
        let text = String::from_utf8_lossy(&text);
        let detail = if with_detail {
            format!(
                "<detail><ns2:ApiException xmlns:ns2=\"{}\"><errorCode>{}</errorCode>\
                 </ns2:ApiException></detail>",
                crate::schema::NAMESPACE,
                self.code
            )
        } else {
            String::new()
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <soap:Envelope xmlns:soap=\"{}\"><soap:Body><soap:Fault>\
             <faultcode>soap:Server</faultcode><faultstring>{text}</faultstring>{detail}\
             </soap:Fault></soap:Body></soap:Envelope>",
            crate::schema::SOAP_NAMESPACE,
        )
        .into_bytes()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[test]
    fn the_fault_string_is_code_colon_message() {
        assert_eq!(Fault::new(116).to_string(), "116: End of result set.");
        assert_eq!(
            Fault::about(114, "5000").to_string(),
            "114: Page size exceeds the maximum allowed limit of 5000."
        );
        assert_eq!(
            Fault::about(102, "T&T").to_string(),
            "102: Authentication failed for token: T&T"
        );
    }

    #[test]
    fn the_envelope_is_well_formed_and_carries_the_code() {
        let fault = Fault::about(102, "<T&T>");
        for with_detail in [true, false] {
            let text = String::from_utf8(fault.envelope(with_detail)).unwrap();
            let document = roxmltree::Document::parse(&text).unwrap();
            let said = document
                .descendants()
                .find(|node| node.has_tag_name("faultstring"))
                .and_then(|node| node.text());
            assert_eq!(said, Some("102: Authentication failed for token: <T&T>"));
            let code = document
                .descendants()
                .find(|node| node.has_tag_name("errorCode"))
                .and_then(|node| node.text());
            assert_eq!(code, with_detail.then_some("102"));
        }
    }

    #[test]
    fn no_code_stands_twice_in_the_table() {
        for pair in FAULTS.windows(2) {
            assert!(pair[0].code < pair[1].code);
        }
    }
}
