//! Ids for activities, which have none in Bronto.
//!
//! # `lossless`, identity version 1
//!
//! The **identity** of an activity is the first 16 bytes of a SHA-256 digest. Digested are the ASCII bytes
//! `bronto activity 1`, then the fields below, in this order, each as
//!
//! - one byte `00` if it is absent, or
//! - one byte `01`, the length of its UTF-8 text in bytes as a 32-bit big-endian number, and the text.
//!
//! | # | field | # | field | # | field |
//! |---|---|---|---|---|---|
//! | 1 | `createdDate` | 8 | `listId` | 15 | `webformAction` |
//! | 2 | `activityType` | 9 | `segmentId` | 16 | `bounceType` |
//! | 3 | `contactId` | 10 | `keywordId` | 17 | `bounceReason` |
//! | 4 | `emailAddress` | 11 | `workflowId` | 18 | `skipReason` |
//! | 5 | `mobileNumber` | 12 | `orderId` | 19 | `unsubscribeMethod` |
//! | 6 | `deliveryId` | 13 | `linkUrl` | 20 | `ftafEmails` |
//! | 7 | `messageId` | 14 | `webformId` | 21 | `socialNetwork` |
//! | | | | | 22 | `socialActivity` |
//!
//! `createdDate` is digested as its canonical text: UTC with `Z`, the fraction without trailing zeros. So an id doesn't
//! change when the server's offset or number of fraction digits does. Fields 4 and 5 count as absent whenever
//! `contactId` has a text, because a contact's address may change; without a contact they tell people apart. Names,
//! labels and statuses are left out for the same reason.
//!
//! Activities equal in all of that can be several real events (two opens in one second), so they are numbered: the
//! **id** is the first 16 bytes, as 32 lower-case hexadecimal digits, of the SHA-256 digest of the identity followed by
//! the activity's number among its equals as a 32-bit big-endian number, starting at 1. Equals have the same
//! `createdDate`, and a window never splits an instant, so numbers are the same whenever a window is read again.
//! Activities without a `createdDate` are not numbered, for which of them come in one window depends on the windows: those
//! that are equal in all of that share the id of number 1.
//!
//! Ids depend on these fields alone, never on the selection of columns.
//!
//! Test vectors, the ids of number 1 and number 2:
//!
//! | fields that are not absent | ids |
//! |---|---|
//! | none | `06f0ffe1be013152fe40a2e6805c5526`, `cfacb2b7287a72383ff1d6cce6e308ba` |
//! | `createdDate` `2019-03-04T19:05:09Z`, `activityType` `click`, `contactId` `c1`, `linkUrl` `https://example.com/é` | `4220f0f04be3b87c960baa00eb878298`, `0c2a3e1142cda4e5c8a99c9b597d89b7` |
//! | the same, with an empty `emailAddress` in place of `contactId` | `735adb75ca74c80870a4d9edc02b0fbc`, `36f0376b2c98a9758e205ce99ab8072a` |
//!
//! # `compatible`
//!
//! The MD5 digest that the Python tap 1.0.2 makes with all fields selected: the texts of `createdDate`, `activityType`,
//! `contactId`, `listId`, `segmentId`, `keywordId` and `messageId` joined by `|`, absent and empty ones left out, the
//! date without its fraction and in the offset that the server sent (`Z` becomes `+00:00`). For those who have tables
//! with such ids. Different activities can share one of these ids; a destination then keeps one of them.

use md5::Md5;
use sha2::{Digest, Sha256};

/// How ids are made. Recorded with each bookmark, because ids of two kinds in one table would count every activity
/// twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdScheme {
    /// Different activities never share an id.
    #[default]
    Lossless,
    /// The Python tap's ids, collisions included.
    Compatible,
}

impl IdScheme {
    /// The name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lossless => "lossless",
            Self::Compatible => "compatible",
        }
    }

    /// The name in states, which also says the version of the identity.
    #[must_use]
    pub fn recorded(self) -> &'static str {
        match self {
            Self::Lossless => "lossless-1",
            Self::Compatible => "compatible",
        }
    }
}

/// Sixteen bytes of digest.
pub type Digest16 = [u8; 16];

/// What the identity begins with, so that no other digest of ours can equal it.
const DOMAIN: &[u8] = b"bronto activity 1";

/// The fields of the lossless identity, in order.
pub const LOSSLESS_FIELDS: [&str; 22] = [
    "createdDate",
    "activityType",
    "contactId",
    "emailAddress",
    "mobileNumber",
    "deliveryId",
    "messageId",
    "listId",
    "segmentId",
    "keywordId",
    "workflowId",
    "orderId",
    "linkUrl",
    "webformId",
    "webformAction",
    "bounceType",
    "bounceReason",
    "skipReason",
    "unsubscribeMethod",
    "ftafEmails",
    "socialNetwork",
    "socialActivity",
];

/// The fields of the compatible digest, in order.
pub const COMPATIBLE_FIELDS: [&str; 7] =
    ["createdDate", "activityType", "contactId", "listId", "segmentId", "keywordId", "messageId"];

/// The place of `contactId` in [`LOSSLESS_FIELDS`]; the two after it stand in for it.
const CONTACT: usize = 2;

/// The identity of an activity from the texts of [`LOSSLESS_FIELDS`], `createdDate` in canonical form.
#[must_use]
pub fn lossless_identity(fields: &[Option<&str>; LOSSLESS_FIELDS.len()]) -> Digest16 {
    // One piece costs less than many.
    let mut digested = Vec::with_capacity(512);
    digested.extend_from_slice(DOMAIN);
    let is_known = fields[CONTACT].is_some_and(|id| !id.is_empty());
    for (index, field) in fields.iter().enumerate() {
        let stands_in = index == CONTACT + 1 || index == CONTACT + 2;
        match field.filter(|_| !(stands_in && is_known)) {
            None => digested.push(0),
            Some(text) => {
                // A decoded value is far shorter than 4 GiB.
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                digested.push(1);
                digested.extend_from_slice(&length.to_be_bytes());
                digested.extend_from_slice(text.as_bytes());
            }
        }
    }
    first_half(&Sha256::digest(&digested))
}

/// The id of the `number`-th activity, from 1, among those of one identity.
#[must_use]
pub fn lossless_id(identity: &Digest16, number: u32) -> Digest16 {
    let mut digested = [0; 20];
    digested[..16].copy_from_slice(identity);
    digested[16..].copy_from_slice(&number.to_be_bytes());
    first_half(&Sha256::digest(digested))
}

/// The Python tap's id from the texts of [`COMPATIBLE_FIELDS`], `createdDate` as received.
#[must_use]
pub fn compatible_id(fields: &[Option<&str>; COMPATIBLE_FIELDS.len()]) -> Digest16 {
    let created = fields[0].map(python_date).unwrap_or_default();
    let mut digest = Md5::new();
    let mut is_first = true;
    for text in [created.as_str()].into_iter().chain(fields[1..].iter().copied().flatten()) {
        if text.is_empty() {
            continue;
        }
        if !is_first {
            digest.update("|");
        }
        is_first = false;
        digest.update(text);
    }
    digest.finalize().into()
}

/// A date-time as the Python tap writes it: cut to seconds, with the offset received.
fn python_date(text: &str) -> String {
    let text = text.trim();
    let Some((seconds, rest)) = text.split_at_checked(19) else { return text.to_owned() };
    let zone =
        rest.trim_start_matches(|character: char| character == '.' || character.is_ascii_digit());
    let zone = match zone {
        "Z" | "-00:00" => "+00:00",
        other => other,
    };
    format!("{seconds}{zone}")
}

/// The first half of a SHA-256 digest.
fn first_half(digest: &[u8]) -> Digest16 {
    let mut half = Digest16::default();
    half.copy_from_slice(&digest[..16]);
    half
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    type Fields = [Option<&'static str>; LOSSLESS_FIELDS.len()];

    fn at(name: &str) -> usize {
        LOSSLESS_FIELDS.iter().position(|field| *field == name).unwrap_or_default()
    }

    fn click() -> Fields {
        let mut fields = Fields::default();
        for (name, text) in [
            ("createdDate", "2019-03-04T19:05:09Z"),
            ("activityType", "click"),
            ("contactId", "c1"),
            ("linkUrl", "https://example.com/é"),
        ] {
            fields[at(name)] = Some(text);
        }
        fields
    }

    fn ids(fields: &Fields) -> [String; 2] {
        let identity = lossless_identity(fields);
        [1, 2].map(|number| hex::encode(lossless_id(&identity, number)))
    }

    /// Published: other programs compute ids by the module's page, so these must never change.
    #[test]
    fn vectors() {
        let mut anonymous = click();
        anonymous[CONTACT] = None;
        anonymous[at("emailAddress")] = Some("");
        let vectors = [ids(&Fields::default()), ids(&click()), ids(&anonymous)];
        insta::assert_snapshot!(vectors.map(|ids| ids.join(" ")).join("\n"), @r"
        06f0ffe1be013152fe40a2e6805c5526 cfacb2b7287a72383ff1d6cce6e308ba
        4220f0f04be3b87c960baa00eb878298 0c2a3e1142cda4e5c8a99c9b597d89b7
        735adb75ca74c80870a4d9edc02b0fbc 36f0376b2c98a9758e205ce99ab8072a
        ");
    }

    /// The layout written out by hand, apart from the code above.
    #[test]
    fn layout_is_as_documented() {
        let mut fields = Fields::default();
        fields[0] = Some("2019-03-04T19:05:09Z");
        fields[2] = Some("c");
        let mut bytes =
            b"bronto activity 1\x01\x00\x00\x00\x142019-03-04T19:05:09Z\x00\x01\x00\x00\x00\x01c"
                .to_vec();
        bytes.extend([0; 19]);
        let identity: [u8; 32] = Sha256::digest(&bytes).into();
        assert_eq!(lossless_identity(&fields), identity[..16]);
        let mut numbered = identity[..16].to_vec();
        numbered.extend([0, 0, 0, 7]);
        let id: [u8; 32] = Sha256::digest(&numbered).into();
        assert_eq!(lossless_id(&lossless_identity(&fields), 7), id[..16]);
    }

    #[test]
    fn every_field_counts_and_absent_is_not_empty() {
        let mut seen = HashSet::new();
        for index in 0..LOSSLESS_FIELDS.len() {
            for text in [None, Some(""), Some("x")] {
                let mut fields = Fields::default();
                fields[index] = text;
                seen.insert(lossless_identity(&fields));
            }
        }
        // Of three texts per field, the absent one is the same for all.
        assert_eq!(seen.len(), LOSSLESS_FIELDS.len() * 2 + 1);
    }

    #[test]
    fn an_address_counts_only_without_a_contact() {
        let with_address = |mut fields: Fields, address| {
            fields[at("emailAddress")] = Some(address);
            lossless_identity(&fields)
        };
        assert_eq!(with_address(click(), "a@example.com"), with_address(click(), "b@example.com"));
        let mut nobody = click();
        nobody[CONTACT] = None;
        assert_ne!(with_address(nobody, "a@example.com"), with_address(nobody, "b@example.com"));
        nobody[CONTACT] = Some("");
        assert_ne!(with_address(nobody, "a@example.com"), with_address(nobody, "b@example.com"));
    }

    #[test]
    fn compatible_ids_are_the_python_taps() {
        let id = |fields: [Option<&str>; 7]| hex::encode(compatible_id(&fields));
        let md5 = |text: &str| hex::encode(Md5::digest(text));
        let created = Some("2019-03-04T14:05:09.120-05:00");
        assert_eq!(
            id([created, Some("open"), Some("c"), Some("l"), None, None, Some("m")]),
            md5("2019-03-04T14:05:09-05:00|open|c|l|m")
        );
        // Its defect: position is lost, and so these two share an id.
        assert_eq!(
            id([created, Some("open"), None, Some("x"), None, None, None]),
            id([created, Some("open"), None, Some(""), Some("x"), None, None])
        );
        assert_eq!(
            id([Some("2019-03-04T19:05:09Z"), None, None, None, None, None, None]),
            md5("2019-03-04T19:05:09+00:00")
        );
        assert_eq!(
            id([Some("2019-03-04T19:05:09.5"), None, None, None, None, None, None]),
            md5("2019-03-04T19:05:09")
        );
    }
}
