//! The table of behaviours: how each is named, documented and read.

use chrono_tz::Tz;

use super::{Behaviour, injections};
use crate::fault::Fault;
use crate::instant::{Fraction, ReturnedZone};
use crate::settings::{Choice, PAGE_LIMIT, PageMaximum, Settings};

/// Reads a value into the settings; none if the behaviour doesn't take it.
type Setter = fn(&mut Settings, &str) -> Option<()>;

/// A behaviour and how its value is read.
pub(super) struct Entry {
    pub(super) behaviour: Behaviour,
    pub(super) set: Setter,
}

const fn entry(
    name: &'static str,
    values: &'static str,
    default: &'static str,
    meaning: &'static str,
    set: Setter,
) -> Entry {
    Entry { behaviour: Behaviour { name, values, default, meaning }, set }
}

/// An entry whose setter stores a closed choice in the field of the same name.
macro_rules! choice_entry {
    ($field:ident, $values:literal, $default:literal, $meaning:literal) => {
        entry(stringify!($field), $values, $default, $meaning, |settings, value| {
            settings.$field = Choice::named(value)?;
            Some(())
        })
    };
}

/// An entry whose setter stores a whole number in the field of the same name.
macro_rules! number_entry {
    ($field:ident, $values:literal, $default:literal, $meaning:literal) => {
        entry(stringify!($field), $values, $default, $meaning, |settings, value| {
            settings.$field = value.parse().ok()?;
            Some(())
        })
    };
}

/// An entry whose setter stores a rate between 0 and 1.
macro_rules! rate_entry {
    ($name:literal, $($field:ident).+, $meaning:literal) => {
        entry($name, "0..1", "0", $meaning, |settings, value| {
            settings.$($field).+ = rate(value)?;
            Some(())
        })
    };
}

fn rate(value: &str) -> Option<f64> {
    value.parse().ok().filter(|rate| (0.0..=1.0).contains(rate))
}

fn zone(value: &str) -> Option<Tz> {
    value.parse().ok()
}

/// Every behaviour.
pub(super) const ENTRIES: &[Entry] = &[
    choice_entry!(
        date_operators,
        "instant|day",
        "instant",
        "Whether AfterOrSameDay and BeforeOrSameDay compare instants or calendar days"
    ),
    entry(
        "day_zone",
        "IANA-ZONE",
        "America/New_York",
        "The zone in which calendar days and years are taken",
        |settings, value| {
            settings.day_zone = zone(value)?;
            Some(())
        },
    ),
    choice_entry!(
        window_start,
        "inclusive|exclusive",
        "inclusive",
        "Whether `start` of unsubscribe and activity windows belongs to the window"
    ),
    choice_entry!(
        window_end,
        "inclusive|exclusive",
        "exclusive",
        "Whether `end` of unsubscribe and activity windows belongs to the window"
    ),
    choice_entry!(
        empty_window,
        "fault|empty",
        "fault",
        "The answer to FIRST on a window without activities: fault 116 or an empty response"
    ),
    choice_entry!(
        cursor_end,
        "fault|empty",
        "fault",
        "The answer to NEXT after the last page: fault 116 or an empty response"
    ),
    choice_entry!(
        cursor_scope,
        "function|session",
        "function",
        "Whether a session holds one cursor per function or one in all"
    ),
    choice_entry!(
        next_without_cursor,
        "116|113|107|empty",
        "113",
        "The answer to NEXT in a session without an open query"
    ),
    choice_entry!(
        too_old_start,
        "clip|fault",
        "clip",
        "What happens to an activity start older than 30 days: clipped, or fault 1201"
    ),
    choice_entry!(
        activity_size_fault,
        "limits|1203",
        "limits",
        "The fault for an activity size outside 1000..5000: 114 and 115, or 1203"
    ),
    entry(
        "returned_zone",
        "Z|none|IANA-ZONE",
        "America/New_York",
        "The offset of returned dates; `none` writes UTC without any offset",
        |settings, value| {
            settings.returned_zone = match value {
                "Z" => ReturnedZone::Z,
                "none" => ReturnedZone::Absent,
                name => ReturnedZone::Zone(zone(name)?),
            };
            Some(())
        },
    ),
    entry(
        "returned_fraction",
        "none|zeros|millis|trimmed|micros|nanos",
        "millis",
        "The fraction that the account keeps and returns; `zeros` is .000, `trimmed` drops trailing zeros",
        |settings, value| {
            settings.returned_fraction = match value {
                "none" => Fraction::None,
                "zeros" => Fraction::Zeros,
                "millis" => Fraction::Millis,
                "trimmed" => Fraction::Trimmed,
                "micros" => Fraction::Micros,
                "nanos" => Fraction::Nanos,
                _ => return None,
            };
            Some(())
        },
    ),
    choice_entry!(
        whitespace,
        "compact|indented",
        "compact",
        "White space between the elements of a response"
    ),
    choice_entry!(
        float_form,
        "plain|java|special",
        "plain",
        "How conversionAmount is written: plain digits, with Java's exponents, or sometimes NaN and INF"
    ),
    choice_entry!(
        control_characters,
        "none|raw|references",
        "none",
        "Control characters that XML forbids in one of ten free texts, raw or as references"
    ),
    choice_entry!(
        nul_characters,
        "off|on",
        "off",
        "Whether U+0000 is among the control characters"
    ),
    choice_entry!(
        unholdable_characters,
        "none|raw|references",
        "none",
        "Surrogates in one of fifty free texts, which no UTF-8 text can hold; the truth leaves these rows out"
    ),
    rate_entry!(
        "absent_optional_rate",
        absent_optional_rate,
        "The rate at which fields outside the keys are absent beyond what the data has"
    ),
    rate_entry!(
        "absent_key_rate",
        absent_key_rate,
        "The rate at which fields of primary and replication keys are absent"
    ),
    rate_entry!(
        "nil_rate",
        nil_rate,
        "The rate at which an xsi:nil element is added to a repeated nillable element; the truth leaves it out"
    ),
    choice_entry!(
        deleted_contacts,
        "shown|hidden",
        "shown",
        "Whether contact reads return deleted contacts"
    ),
    choice_entry!(
        field_dates,
        "day|instant",
        "day",
        "How dates in custom fields are written: as days, or as date-times with an offset"
    ),
    choice_entry!(
        unknown_field,
        "fault|ignore",
        "fault",
        "What happens when contacts are asked for a custom field that isn't there: fault 401, or nothing"
    ),
    choice_entry!(
        row_order,
        "ascending|descending|shuffled",
        "ascending",
        "The order of rows, by replication key or by none"
    ),
    entry(
        "page_maximum",
        "1..5000|varying|varying:1..5000",
        "5000",
        "The most rows of a page; `varying` gives every page another size",
        |settings, value| {
            settings.page_maximum = page_maximum(value)?;
            Some(())
        },
    ),
    choice_entry!(
        unsteady_paging,
        "none|order|sizes",
        "none",
        "Breaks the documented paging: every request cuts its page from another order of the rows, or to another size"
    ),
    number_entry!(
        mutate_between_pages,
        "N",
        "0",
        "After each page of contacts, N contacts of the query get a new `modified` (the clock's now)"
    ),
    number_entry!(
        remove_lists_between_pages,
        "N",
        "0",
        "After each page of lists, N lists are removed"
    ),
    number_entry!(
        mutate_per_second,
        "N",
        "0",
        "The account changes by itself: N contacts, activities or unsubscribes per second"
    ),
    number_entry!(
        late_arrivals,
        "SECONDS",
        "0",
        "One in ten activities is readable only up to SECONDS after its createdDate"
    ),
    number_entry!(session_max_calls, "N", "0", "A session dies after N calls; 0 never"),
    number_entry!(
        session_idle_seconds,
        "SECONDS",
        "1200",
        "A session dies after SECONDS of the simulated clock without a call"
    ),
    choice_entry!(
        stale_session_code,
        "103|107",
        "103",
        "The fault code for a session that has died"
    ),
    choice_entry!(
        fault_detail,
        "present|absent",
        "present",
        "Whether faults carry their code in `detail`, besides the fault string"
    ),
    entry(
        "login_fault",
        "none|CODE",
        "none",
        "Every login answers with this fault",
        |settings, value| {
            settings.login_fault = match value {
                "none" => None,
                code => Some(known_code(code)?),
            };
            Some(())
        },
    ),
    rate_entry!("fault_101_rate", failure_rates.fault_101, "Rate of fault 101, an unknown error"),
    rate_entry!(
        "fault_103_rate",
        failure_rates.fault_103,
        "Rate at which a session dies with fault 103"
    ),
    rate_entry!("fault_108_rate", failure_rates.fault_108, "Rate of fault 108, maintenance"),
    rate_entry!("fault_113_rate", failure_rates.fault_113, "Rate of fault 113, a read error"),
    rate_entry!("http_500_rate", failure_rates.http_500, "Rate of HTTP 500 without a SOAP body"),
    rate_entry!("http_503_rate", failure_rates.http_503, "Rate of HTTP 503 with an HTML body"),
    rate_entry!(
        "html_rate",
        failure_rates.html,
        "Rate of HTML pages in place of XML, with HTTP 200"
    ),
    rate_entry!(
        "truncate_rate",
        failure_rates.truncate,
        "Rate of responses that end in the middle though HTTP calls them complete"
    ),
    rate_entry!(
        "reset_rate",
        failure_rates.reset,
        "Rate of connections closed in the middle of the body"
    ),
    number_entry!(latency_ms, "MILLISECONDS", "0", "Pause before each response"),
    number_entry!(slow_ms, "MILLISECONDS", "0", "Pause in the middle of each response's body"),
    choice_entry!(
        compression,
        "off|on",
        "off",
        "Whether responses are gzipped for clients that offer it; off, so that measurements are of the reader"
    ),
    entry(
        FAIL_NEXT,
        "none|KIND:COUNT[:OPERATION],…",
        "none",
        "The next COUNT reads (or calls of OPERATION) fail: KIND is a fault code, html, truncated, reset, \
         http500, http503, empty, redirect, endless, deep or stall",
        |_, value| injections(value).map(|_| ()),
    ),
];

/// The behaviour that orders failures.
pub(super) const FAIL_NEXT: &str = "fail_next";

fn page_maximum(value: &str) -> Option<PageMaximum> {
    let size = |text: &str| {
        let size = text.parse().ok()?;
        (1..=PAGE_LIMIT).contains(&size).then_some(size)
    };
    match value.strip_prefix("varying") {
        Some("") => Some(PageMaximum::Varying(PAGE_LIMIT)),
        Some(rest) => Some(PageMaximum::Varying(size(rest.strip_prefix(':')?)?)),
        None => Some(PageMaximum::Fixed(size(value)?)),
    }
}

fn known_code(value: &str) -> Option<u16> {
    let code = value.parse().ok()?;
    Fault::is_known(code).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_bounded() {
        assert_eq!(page_maximum("5000"), Some(PageMaximum::Fixed(5000)));
        assert_eq!(page_maximum("varying:20"), Some(PageMaximum::Varying(20)));
        assert_eq!(page_maximum("5001"), None);
        assert_eq!(page_maximum("0"), None);
    }
}
