//! The registry of behaviours: everything that Bronto's documentation leaves open, and every failure.
//!
//! A reader of the API must come out right under any combination of these. Each has a name, its possible
//! values, a default and a meaning; all can be changed while the server runs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono_tz::Tz;
use serde::Serialize;
use thiserror::Error;

use crate::instant::{Fraction, ReturnedZone};
use crate::schema::Operation;
use crate::settings::{Choice, Failure, PAGE_LIMIT, PageMaximum, Settings};

/// One behaviour of the simulated server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Behaviour {
    /// The name by which it is set.
    pub name: &'static str,
    /// The values it takes; words in capitals are placeholders.
    pub values: &'static str,
    /// The value it has unless set.
    pub default: &'static str,
    /// What it decides.
    pub meaning: &'static str,
}

/// Why a behaviour could not be set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BehaviourError {
    /// There is no behaviour of this name.
    #[error("There is no behaviour `{0}`; `bronto-sim behaviours` lists them")]
    UnknownName(String),
    /// The behaviour doesn't take this value.
    #[error("Behaviour `{name}` takes {values}, not `{value}`")]
    InvalidValue {
        /// The behaviour.
        name: &'static str,
        /// What it takes.
        values: &'static str,
        /// What it was given.
        value: String,
    },
}

type Setter = fn(&mut Settings, &str) -> Option<()>;

struct Entry {
    behaviour: Behaviour,
    set: Setter,
}

const fn entry(
    name: &'static str,
    values: &'static str,
    default: &'static str,
    meaning: &'static str,
    set: Setter,
) -> Entry {
    Entry {
        behaviour: Behaviour {
            name,
            values,
            default,
            meaning,
        },
        set,
    }
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

const ENTRIES: &[Entry] = &[
    choice_entry!(date_operators, "instant|day", "instant",
        "Whether AfterOrSameDay and BeforeOrSameDay compare instants or calendar days"),
    entry("day_zone", "IANA-ZONE", "America/New_York",
        "The zone in which calendar days and years are taken", |settings, value| {
            settings.day_zone = zone(value)?;
            Some(())
        }),
    choice_entry!(window_start, "inclusive|exclusive", "inclusive",
        "Whether `start` of unsubscribe and activity windows belongs to the window"),
    choice_entry!(window_end, "inclusive|exclusive", "exclusive",
        "Whether `end` of unsubscribe and activity windows belongs to the window"),
    choice_entry!(empty_window, "fault|empty", "fault",
        "The answer to FIRST on a window without activities: fault 116 or an empty response"),
    choice_entry!(cursor_end, "fault|empty", "fault",
        "The answer to NEXT after the last page: fault 116 or an empty response"),
    choice_entry!(cursor_scope, "function|session", "function",
        "Whether a session holds one cursor per function or one in all"),
    choice_entry!(next_without_cursor, "116|113|107|empty", "113",
        "The answer to NEXT in a session without an open query"),
    choice_entry!(too_old_start, "clip|fault", "clip",
        "What happens to an activity start older than 30 days: clipped, or fault 1201"),
    choice_entry!(activity_size_fault, "limits|1203", "limits",
        "The fault for an activity size outside 1000..5000: 114 and 115, or 1203"),
    entry("returned_zone", "Z|none|IANA-ZONE", "America/New_York",
        "The offset of returned dates; `none` writes UTC without any offset", |settings, value| {
            settings.returned_zone = match value {
                "Z" => ReturnedZone::Z,
                "none" => ReturnedZone::Absent,
                name => ReturnedZone::Zone(zone(name)?),
            };
            Some(())
        }),
    entry("returned_fraction", "none|zeros|millis|trimmed|micros|nanos", "millis",
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
        }),
    choice_entry!(whitespace, "compact|indented", "compact",
        "White space between the elements of a response"),
    choice_entry!(float_form, "plain|java|special", "plain",
        "How conversionAmount is written: plain digits, with Java's exponents, or sometimes NaN and INF"),
    choice_entry!(control_characters, "none|raw|references", "none",
        "Control characters that XML forbids in one of ten free texts, raw or as references"),
    choice_entry!(nul_characters, "off|on", "off",
        "Whether U+0000 is among the control characters"),
    choice_entry!(unholdable_characters, "none|raw|references", "none",
        "Surrogates in one of fifty free texts, which no UTF-8 text can hold; the truth leaves these rows out"),
    rate_entry!("absent_optional_rate", absent_optional_rate,
        "The rate at which fields outside the keys are absent beyond what the data has"),
    rate_entry!("absent_key_rate", absent_key_rate,
        "The rate at which fields of primary and replication keys are absent"),
    rate_entry!("nil_rate", nil_rate,
        "The rate at which an xsi:nil element is added to a repeated nillable element; the truth leaves it out"),
    choice_entry!(deleted_contacts, "shown|hidden", "shown",
        "Whether contact reads return deleted contacts"),
    choice_entry!(row_order, "ascending|descending|shuffled", "ascending",
        "The order of rows, by replication key or by none"),
    entry("page_maximum", "1..5000|varying|varying:1..5000", "5000",
        "The most rows of a page; `varying` gives every page another size", |settings, value| {
            settings.page_maximum = page_maximum(value)?;
            Some(())
        }),
    number_entry!(mutate_between_pages, "N", "0",
        "After each page of contacts, N contacts of the query get a new `modified` (the clock's now)"),
    number_entry!(mutate_per_second, "N", "0",
        "The account changes by itself: N contacts, activities or unsubscribes per second"),
    number_entry!(late_arrivals, "SECONDS", "0",
        "One in ten activities is readable only up to SECONDS after its createdDate"),
    number_entry!(session_max_calls, "N", "0",
        "A session dies after N calls; 0 never"),
    number_entry!(session_idle_seconds, "SECONDS", "1200",
        "A session dies after SECONDS of the simulated clock without a call"),
    choice_entry!(stale_session_code, "103|107", "103",
        "The fault code for a session that has died"),
    choice_entry!(fault_detail, "present|absent", "present",
        "Whether faults carry their code in `detail`, besides the fault string"),
    entry("login_fault", "none|CODE", "none",
        "Every login answers with this fault", |settings, value| {
            settings.login_fault = match value {
                "none" => None,
                code => Some(known_code(code)?),
            };
            Some(())
        }),
    rate_entry!("fault_101_rate", failure_rates.fault_101, "Rate of fault 101, an unknown error"),
    rate_entry!("fault_103_rate", failure_rates.fault_103, "Rate at which a session dies with fault 103"),
    rate_entry!("fault_108_rate", failure_rates.fault_108, "Rate of fault 108, maintenance"),
    rate_entry!("fault_113_rate", failure_rates.fault_113, "Rate of fault 113, a read error"),
    rate_entry!("http_500_rate", failure_rates.http_500, "Rate of HTTP 500 without a SOAP body"),
    rate_entry!("http_503_rate", failure_rates.http_503, "Rate of HTTP 503 with an HTML body"),
    rate_entry!("html_rate", failure_rates.html, "Rate of HTML pages in place of XML, with HTTP 200"),
    rate_entry!("truncate_rate", failure_rates.truncate,
        "Rate of responses that end in the middle though HTTP calls them complete"),
    rate_entry!("reset_rate", failure_rates.reset,
        "Rate of connections closed in the middle of the body"),
    number_entry!(latency_ms, "MILLISECONDS", "0", "Pause before each response"),
    number_entry!(slow_ms, "MILLISECONDS", "0", "Pause in the middle of each response's body"),
    choice_entry!(compression, "off|on", "off",
        "Whether responses are gzipped for clients that offer it; off, so that measurements are of the reader"),
    entry(FAIL_NEXT, "none|KIND:COUNT[:OPERATION],…", "none",
        "The next COUNT reads (or calls of OPERATION) fail: KIND is a fault code, html, truncated, reset, \
         http500, http503, empty, redirect, endless, deep or stall",
        |_, value| injections(value).map(|_| ())),
];

const FAIL_NEXT: &str = "fail_next";

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
    crate::fault::Fault::is_known(code).then_some(code)
}

/// A failure that the next calls meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Injection {
    failure: Failure,
    count: u32,
    /// The operation it waits for; any read if none.
    operation: Option<Operation>,
}

fn injections(value: &str) -> Option<VecDeque<Injection>> {
    if value == "none" {
        return Some(VecDeque::new());
    }
    value
        .split(',')
        .map(|part| {
            let mut parts = part.trim().splitn(3, ':');
            let failure = Failure::named(parts.next()?)?;
            let count = parts.next()?.parse().ok()?;
            let operation = match parts.next() {
                Some(name) => Some(Operation::named(name)?),
                None => None,
            };
            Some(Injection {
                failure,
                count,
                operation,
            })
        })
        .collect()
}

/// Every behaviour, in the order in which they are documented.
#[must_use]
pub fn behaviours() -> Vec<Behaviour> {
    ENTRIES.iter().map(|entry| entry.behaviour).collect()
}

/// The behaviours in force.
#[derive(Debug)]
pub(crate) struct Behaviours(Mutex<InForce>);

#[derive(Debug)]
struct InForce {
    settings: Arc<Settings>,
    values: BTreeMap<&'static str, String>,
    injections: VecDeque<Injection>,
}

impl Behaviours {
    /// The defaults, then these changes.
    pub(crate) fn new<'a>(
        changes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BehaviourError> {
        let behaviours = Self(Mutex::new(InForce {
            settings: Arc::new(Settings::default()),
            values: BTreeMap::new(),
            injections: VecDeque::new(),
        }));
        for entry in ENTRIES {
            behaviours.set(entry.behaviour.name, entry.behaviour.default)?;
        }
        for (name, value) in changes {
            behaviours.set(name, value)?;
        }
        Ok(behaviours)
    }

    /// Sets one behaviour; it holds from the next call on.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<(), BehaviourError> {
        let entry = ENTRIES
            .iter()
            .find(|entry| entry.behaviour.name == name)
            .ok_or_else(|| BehaviourError::UnknownName(name.to_owned()))?;
        let mut in_force = self.lock();
        let mut settings = Settings::clone(&in_force.settings);
        (entry.set)(&mut settings, value).ok_or_else(|| BehaviourError::InvalidValue {
            name: entry.behaviour.name,
            values: entry.behaviour.values,
            value: value.to_owned(),
        })?;
        if name == FAIL_NEXT {
            in_force.injections = injections(value).unwrap_or_default();
        }
        in_force.settings = Arc::new(settings);
        in_force.values.insert(entry.behaviour.name, value.to_owned());
        Ok(())
    }

    /// What holds now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.lock().settings)
    }

    /// Name and value of every behaviour.
    pub(crate) fn values(&self) -> BTreeMap<&'static str, String> {
        self.lock().values.clone()
    }

    /// Takes the failure that was ordered for this call, if any.
    pub(crate) fn take_injection(&self, operation: Operation) -> Option<Failure> {
        let mut in_force = self.lock();
        let position = in_force.injections.iter().position(|injection| {
            injection.count > 0
                && match injection.operation {
                    Some(wanted) => wanted == operation,
                    None => operation.is_read(),
                }
        })?;
        let injection = &mut in_force.injections[position];
        injection.count -= 1;
        let failure = injection.failure;
        if injection.count == 0 {
            in_force.injections.remove(position);
        }
        Some(failure)
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        // Nothing panics between two related writes, so a poisoned lock still guards whole values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    reason = "a failed set-up should stop the test"
)]
mod tests {
    use super::*;

    #[test]
    fn every_default_and_every_listed_word_is_accepted() {
        let behaviours = Behaviours::new([]).unwrap();
        for behaviour in super::behaviours() {
            let words = behaviour.values.split('|').filter(|word| {
                !word.contains("..") && !word.chars().any(|c| c.is_ascii_uppercase() && c != 'Z')
            });
            for word in words.chain([behaviour.default]) {
                behaviours
                    .set(behaviour.name, word)
                    .unwrap_or_else(|error| panic!("{error}"));
            }
            let refused = behaviours.set(behaviour.name, "nonsense");
            assert!(refused.is_err(), "{}", behaviour.name);
        }
    }

    #[test]
    fn names_are_unique_and_documented() {
        let all = super::behaviours();
        let names: std::collections::BTreeSet<_> = all.iter().map(|each| each.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|each| !each.meaning.is_empty()));
    }

    #[test]
    fn errors_say_what_is_possible() {
        let behaviours = Behaviours::new([]).unwrap();
        assert_eq!(
            behaviours.set("date_operators", "week").unwrap_err().to_string(),
            "Behaviour `date_operators` takes instant|day, not `week`"
        );
        assert!(
            behaviours
                .set("colour", "red")
                .unwrap_err()
                .to_string()
                .starts_with("There is no behaviour `colour`")
        );
    }

    #[test]
    fn ordered_failures_are_taken_once_each_and_by_their_operation() {
        let behaviours = Behaviours::new([("fail_next", "103:1,html:2,108:1:login")]).unwrap();
        let read = Operation::ReadLists;
        assert_eq!(behaviours.take_injection(Operation::Login), Some(Failure::Fault(108)));
        assert_eq!(behaviours.take_injection(Operation::Login), None);
        assert_eq!(behaviours.take_injection(read), Some(Failure::Fault(103)));
        assert_eq!(behaviours.take_injection(read), Some(Failure::Html));
        assert_eq!(behaviours.take_injection(read), Some(Failure::Html));
        assert_eq!(behaviours.take_injection(read), None);
    }

    #[test]
    fn page_sizes_are_bounded() {
        assert_eq!(page_maximum("5000"), Some(PageMaximum::Fixed(5000)));
        assert_eq!(page_maximum("varying:20"), Some(PageMaximum::Varying(20)));
        assert_eq!(page_maximum("5001"), None);
        assert_eq!(page_maximum("0"), None);
    }
}
