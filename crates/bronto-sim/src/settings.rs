//! The behaviours as typed values, read by the code that acts on them.

use chrono_tz::Tz;

use crate::instant::{DateForm, Fraction, ReturnedZone};

/// Words that stand for the variants of a closed choice.
pub(crate) trait Choice: Copy + 'static {
    /// Word and meaning, in the order in which they are documented.
    const WORDS: &'static [(&'static str, Self)];

    fn named(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice)
    }
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $first:ident = $first_word:literal, $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
        pub(crate) enum $name { #[default] $first, $($variant),+ }

        impl Choice for $name {
            const WORDS: &'static [(&'static str, Self)] =
                &[($first_word, Self::$first), $(($word, Self::$variant)),+];
        }
    };
}

choice! {
    /// How `AfterOrSameDay` and `BeforeOrSameDay` compare.
    DateOperators { Instant = "instant", Day = "day" }
}
choice! {
    /// Whether a bound of a window belongs to it.
    Bound { Inclusive = "inclusive", Exclusive = "exclusive" }
}
choice! {
    /// How an activity read says that there is nothing (more).
    Ending { Fault = "fault", Empty = "empty" }
}
choice! {
    /// The answer to NEXT where no query is open.
    WithoutCursor { EndOfSet = "116", ReadError = "113", InvalidRequest = "107", Empty = "empty" }
}
choice! {
    /// What happens to a start before the readable 30 days.
    TooOldStart { Clip = "clip", Fault = "fault" }
}
choice! {
    /// Characters in the data that XML or UTF-8 forbid, and how they are written.
    Forbidden { None = "none", Raw = "raw", References = "references" }
}
choice! {
    /// How dates in custom fields are written.
    FieldDates { Day = "day", Instant = "instant" }
}
choice! {
    /// The answer to a contact read that asks for a custom field that isn't there.
    UnknownField { Fault = "fault", Ignore = "ignore" }
}
choice! {
    /// Whether something happens.
    Switch { Off = "off", On = "on" }
}
choice! {
    /// Whether something is written.
    Presence { Present = "present", Absent = "absent" }
}
choice! {
    /// Whether deleted contacts are returned.
    Visibility { Shown = "shown", Hidden = "hidden" }
}
choice! {
    /// The fault code for a session that is no longer valid.
    StaleCode { InvalidSession = "103", InvalidRequest = "107" }
}
choice! {
    /// The order of the rows of a read.
    RowOrder { Ascending = "ascending", Descending = "descending", Shuffled = "shuffled" }
}
choice! {
    /// What of the paging changes from request to request, against the documentation.
    UnsteadyPaging { None = "none", Order = "order", Sizes = "sizes" }
}
choice! {
    /// What an activity cursor belongs to.
    CursorScope { Function = "function", Session = "session" }
}
choice! {
    /// The fault for an activity size out of range.
    ActivitySizeFault { Limits = "limits", Own = "1203" }
}
choice! {
    /// How the one `float` of the API is written.
    FloatForm { Plain = "plain", Java = "java", Special = "special" }
}
choice! {
    /// White space between elements.
    Whitespace { Compact = "compact", Indented = "indented" }
}

impl Switch {
    pub(crate) fn is_on(self) -> bool {
        self == Self::On
    }
}

/// How many rows a page holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageMaximum {
    /// Always the same number.
    Fixed(u32),
    /// Another number on every page, up to this one.
    Varying(u32),
}

/// The most rows that any page holds, by the documentation.
pub(crate) const PAGE_LIMIT: u32 = 5_000;

impl Default for PageMaximum {
    fn default() -> Self {
        Self::Fixed(PAGE_LIMIT)
    }
}

/// Something going wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A fault of the API.
    Fault(u16),
    /// HTTP 500 with a text body.
    Http500,
    /// HTTP 503 with an HTML body.
    Http503,
    /// HTTP 200 with an HTML page.
    Html,
    /// HTTP 200 with nothing.
    Empty,
    /// The response ends in the middle, though HTTP calls it complete.
    Truncated,
    /// The connection closes in the middle of the body.
    Reset,
    /// A redirect to another host.
    Redirect,
    /// A body that never ends.
    Endless,
    /// Elements nested without end.
    Deep,
    /// No answer for a minute.
    Stall,
}

impl Failure {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("http500", Self::Http500),
        ("http503", Self::Http503),
        ("html", Self::Html),
        ("empty", Self::Empty),
        ("truncated", Self::Truncated),
        ("reset", Self::Reset),
        ("redirect", Self::Redirect),
        ("endless", Self::Endless),
        ("deep", Self::Deep),
        ("stall", Self::Stall),
    ];

    pub(crate) fn named(word: &str) -> Option<Self> {
        if let Ok(code) = word.parse() {
            return crate::fault::Fault::is_known(code).then_some(Self::Fault(code));
        }
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, failure)| *failure)
    }

    /// The word for a failure that isn't a fault.
    pub(crate) fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, known)| *known == self).map_or("fault", |(word, _)| word)
    }
}

/// Every behaviour's value in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) date_operators: DateOperators,
    pub(crate) day_zone: Tz,
    pub(crate) window_start: Bound,
    pub(crate) window_end: Bound,
    pub(crate) empty_window: Ending,
    pub(crate) cursor_end: Ending,
    pub(crate) cursor_scope: CursorScope,
    pub(crate) next_without_cursor: WithoutCursor,
    pub(crate) too_old_start: TooOldStart,
    pub(crate) activity_size_fault: ActivitySizeFault,
    pub(crate) returned_zone: ReturnedZone,
    pub(crate) returned_fraction: Fraction,
    pub(crate) whitespace: Whitespace,
    pub(crate) float_form: FloatForm,
    pub(crate) control_characters: Forbidden,
    pub(crate) nul_characters: Switch,
    pub(crate) unholdable_characters: Forbidden,
    pub(crate) absent_optional_rate: f64,
    pub(crate) absent_key_rate: f64,
    pub(crate) nil_rate: f64,
    pub(crate) deleted_contacts: Visibility,
    pub(crate) field_dates: FieldDates,
    pub(crate) unknown_field: UnknownField,
    pub(crate) row_order: RowOrder,
    pub(crate) page_maximum: PageMaximum,
    pub(crate) unsteady_paging: UnsteadyPaging,
    pub(crate) mutate_between_pages: u32,
    pub(crate) remove_lists_between_pages: u32,
    pub(crate) mutate_per_second: u32,
    pub(crate) late_arrivals: u32,
    pub(crate) session_max_calls: u64,
    pub(crate) session_idle_seconds: u32,
    pub(crate) stale_session_code: StaleCode,
    pub(crate) fault_detail: Presence,
    pub(crate) login_fault: Option<u16>,
    /// Failures that happen at random, each with its rate.
    pub(crate) failure_rates: FailureRates,
    pub(crate) latency_ms: u32,
    pub(crate) slow_ms: u32,
    pub(crate) compression: Switch,
}

impl Settings {
    pub(crate) fn date_form(&self) -> DateForm {
        DateForm { zone: self.returned_zone, fraction: self.returned_fraction }
    }
}

/// Rates of the failures that happen at random, 0 to 1.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureRates {
    pub(crate) fault_101: f64,
    pub(crate) fault_103: f64,
    pub(crate) fault_108: f64,
    pub(crate) fault_113: f64,
    pub(crate) http_500: f64,
    pub(crate) http_503: f64,
    pub(crate) html: f64,
    pub(crate) truncate: f64,
    pub(crate) reset: f64,
}

impl FailureRates {
    /// Each failure with its rate, in a fixed order.
    pub(crate) fn each(&self) -> [(Failure, f64); 9] {
        [
            (Failure::Fault(101), self.fault_101),
            (Failure::Fault(103), self.fault_103),
            (Failure::Fault(108), self.fault_108),
            (Failure::Fault(113), self.fault_113),
            (Failure::Http500, self.http_500),
            (Failure::Http503, self.http_503),
            (Failure::Html, self.html),
            (Failure::Truncated, self.truncate),
            (Failure::Reset, self.reset),
        ]
    }
}
