//! SOAP faults as received, without the secrets that their texts can hold.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::fault_code::FaultCode;

/// The longest fault text that is kept, in bytes.
const LONGEST_MESSAGE: usize = 300;

/// A SOAP fault, without anything secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    code: FaultCode,
    /// The whole text, on one line. It is cut only where it is shown, so that a secret that the cut would go through is
    /// found first.
    message: Option<String>,
}

impl Fault {
    /// A fault as received: the code from its detail if there is one, else the digits that its
    /// text begins with. The text is never searched for a code, since it may quote numbers.
    pub(crate) fn received(detail: Option<u32>, text: &str) -> Self {
        let text = text.trim();
        let code = match detail.or_else(|| leading_number(text)) {
            Some(number) => FaultCode::from_number(number),
            None => FaultCode::Unknown,
        };
        let message = (!code.carries_token()).then(|| on_one_line(text)).filter(|t| !t.is_empty());
        Self { code, message }
    }

    /// Removes every occurrence of a secret from the text, in any letter case.
    pub(crate) fn mask(mut self, secret: &SecretString) -> Self {
        let secret = secret.expose_secret().to_ascii_lowercase();
        let shown = self.message.as_ref().map(|text| text.to_ascii_lowercase());
        if !secret.is_empty() && shown.is_some_and(|text| text.contains(&secret)) {
            self.message = None;
        }
        self
    }

    /// The fault's code.
    pub fn code(&self) -> FaultCode {
        self.code
    }

    /// What the service said, on one line and cut to a readable length. None for the codes whose
    /// text contains the token, and where a secret was found in it.
    pub fn message(&self) -> Option<&str> {
        self.message
            .as_deref()
            .and_then(|text| text.get(..text.floor_char_boundary(LONGEST_MESSAGE)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "fault {}", self.code)?;
        if !matches!(self.code, FaultCode::Unknown | FaultCode::Other(_)) {
            write!(formatter, " (`{}`)", self.code.name())?;
        }
        match self.message() {
            Some(message) => write!(formatter, ": {message}"),
            None => write!(formatter, ": {}", self.code.meaning()),
        }
    }
}

/// The number that a text begins with.
fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// The text without its leading code, on one line.
fn on_one_line(text: &str) -> String {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = rest.strip_prefix(':').unwrap_or(text).trim();
    let line = rest.replace(char::is_control, " ");
    line.trim_end_matches(['.', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_comes_from_the_detail_else_from_the_leading_digits() {
        let code = |detail, text| Fault::received(detail, text).code();
        assert_eq!(code(Some(116), "103: no"), FaultCode::EndOfQuery);
        assert_eq!(code(None, " 116: End of result set."), FaultCode::EndOfQuery);
        assert_eq!(code(None, "Unable to verify parameter 116"), FaultCode::Unknown);
        assert_eq!(
            code(None, "106: Unable to verify parameter 0bbd116"),
            FaultCode::InvalidParameter
        );
        assert_eq!(code(None, "1160: no such thing"), FaultCode::Other(1160));
        assert_eq!(code(None, "99999999999: too much"), FaultCode::Unknown);
        assert_eq!(code(None, ""), FaultCode::Unknown);
    }

    #[test]
    fn no_text_survives_that_contains_a_secret() {
        let token = SecretString::from("3D5A2C10-7B1E");
        for (detail, text) in [
            (Some(102), "102: Authentication failed for token: 3D5A2C10-7B1E"),
            (None, "102: Authentication failed for token: 3D5A2C10-7B1E"),
            (Some(111), "111: Your IP address does not have access for token 3D5A2C10-7B1E."),
            (None, "Authentication failed for token: 3d5a2c10-7b1e"),
            (Some(106), "106: Unable to verify parameter 3D5A2C10-7b1E"),
        ] {
            let fault = Fault::received(detail, text).mask(&token);
            assert_eq!(fault.message(), None);
            assert!(!format!("{fault} {fault:?}").to_lowercase().contains("3d5a2c10"), "{text}");
        }
    }

    #[test]
    fn the_text_is_one_short_line() {
        let fault = Fault::received(Some(106), "106: Unable to verify\n parameter x.\u{7}.");
        assert_eq!(fault.message(), Some("Unable to verify  parameter x"));
        assert_eq!(
            fault.to_string(),
            "fault 106 (`INVALID_PARAMETER`): Unable to verify  parameter x"
        );
        let across = format!("{}3D5A2C10-7B1E", "x".repeat(LONGEST_MESSAGE - 5));
        let masked = Fault::received(Some(106), &across).mask(&SecretString::from("3D5A2C10-7B1E"));
        assert_eq!(masked.message(), None, "a secret across the cut is found");
        let long = Fault::received(Some(101), &"é".repeat(500));
        assert!(long.message().is_some_and(|text| text.len() < LONGEST_MESSAGE + 4));
    }
}
