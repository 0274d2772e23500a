//! Filters: what the operators mean, and which contacts pass.

use chrono::{Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::account::contact::Contact;
use crate::account::ids::{IdKind, ObjectId};
use crate::instant::{Fraction, UtcInstant};
use crate::settings::{DateOperators, Settings};

macro_rules! operators {
    ($($name:ident),+ $(,)?) => {
        /// A `filterOperator`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operator { $($name),+ }

        impl Operator {
            pub(crate) fn named(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

operators! {
    EqualTo, NotEqualTo, StartsWith, EndsWith, DoesNotStartWith, DoesNotEndWith, GreaterThan, LessThan,
    GreaterThanEqualTo, LessThanEqualTo, Contains, DoesNotContain, SameYear, NotSameYear, SameDay,
    NotSameDay, Before, After, BeforeOrSameDay, AfterOrSameDay,
}

/// How dates are compared under the behaviours in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DateRules {
    operators: DateOperators,
    zone: Tz,
}

impl DateRules {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { operators: settings.date_operators, zone: settings.day_zone }
    }

    /// The instants that pass a date operator; none if it isn't one for dates.
    ///
    /// `Before` and `After` always compare instants, as do the numeric operators (the documentation says
    /// so); `SameDay` and `SameYear` can only mean the calendar. `BeforeOrSameDay` and `AfterOrSameDay`
    /// are the open question.
    pub(crate) fn interval(&self, operator: Operator, wanted: UtcInstant) -> Option<Interval> {
        let after_wanted = wanted.plus_nanos(1);
        let by_day = self.operators == DateOperators::Day;
        let (from, to, inside) = match operator {
            Operator::EqualTo => (wanted, after_wanted, true),
            Operator::NotEqualTo => (wanted, after_wanted, false),
            Operator::GreaterThan | Operator::After => (after_wanted, UtcInstant::MAX, true),
            Operator::GreaterThanEqualTo => (wanted, UtcInstant::MAX, true),
            Operator::LessThan | Operator::Before => (UtcInstant::MIN, wanted, true),
            Operator::LessThanEqualTo => (UtcInstant::MIN, after_wanted, true),
            Operator::AfterOrSameDay if by_day => (self.day(wanted).0, UtcInstant::MAX, true),
            Operator::AfterOrSameDay => (wanted, UtcInstant::MAX, true),
            Operator::BeforeOrSameDay if by_day => (UtcInstant::MIN, self.day(wanted).1, true),
            Operator::BeforeOrSameDay => (UtcInstant::MIN, after_wanted, true),
            Operator::SameDay | Operator::NotSameDay => {
                let (from, to) = self.day(wanted);
                (from, to, operator == Operator::SameDay)
            }
            Operator::SameYear | Operator::NotSameYear => {
                let (from, to) = self.year(wanted);
                (from, to, operator == Operator::SameYear)
            }
            _ => return None,
        };
        Some(Interval { from, to, inside })
    }

    fn day(&self, instant: UtcInstant) -> (UtcInstant, UtcInstant) {
        let date = self.date(instant);
        let next = date.checked_add_days(Days::new(1)).unwrap_or(date);
        (self.midnight(date), self.midnight(next))
    }

    fn year(&self, instant: UtcInstant) -> (UtcInstant, UtcInstant) {
        let first = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default();
        let year = self.date(instant).year();
        (self.midnight(first(year)), self.midnight(first(year + 1)))
    }

    fn date(&self, instant: UtcInstant) -> NaiveDate {
        instant.to_utc().with_timezone(&self.zone).date_naive()
    }

    /// The first instant of a day; where daylight saving skips midnight, the hour after.
    fn midnight(&self, date: NaiveDate) -> UtcInstant {
        let midnight = date.and_time(NaiveTime::MIN);
        let first = self.zone.from_local_datetime(&midnight).earliest().or_else(|| {
            let later = midnight + TimeDelta::hours(1);
            self.zone.from_local_datetime(&later).earliest()
        });
        first.map_or(UtcInstant::MIN, |first| first.to_utc().into())
    }
}

/// The instants from `from` to before `to`, or all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) from: UtcInstant,
    pub(crate) to: UtcInstant,
    pub(crate) inside: bool,
}

impl Interval {
    fn passes(&self, instant: UtcInstant) -> bool {
        (self.from <= instant && instant < self.to) == self.inside
    }
}

/// A condition on a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextCondition {
    operator: Operator,
    value: String,
}

impl TextCondition {
    /// A condition; none if the operator isn't one for texts.
    pub(crate) fn new(operator: Operator, value: String) -> Option<Self> {
        let is_for_texts = matches!(
            operator,
            Operator::EqualTo
                | Operator::NotEqualTo
                | Operator::StartsWith
                | Operator::EndsWith
                | Operator::DoesNotStartWith
                | Operator::DoesNotEndWith
                | Operator::GreaterThan
                | Operator::LessThan
                | Operator::GreaterThanEqualTo
                | Operator::LessThanEqualTo
                | Operator::Contains
                | Operator::DoesNotContain
        );
        is_for_texts.then_some(Self { operator, value })
    }

    pub(crate) fn equal_to(value: String) -> Self {
        Self { operator: Operator::EqualTo, value }
    }

    /// Whether a text passes; an absent one passes only what is negative.
    pub(crate) fn passes(&self, text: Option<&str>) -> bool {
        let wanted = self.value.as_str();
        let is = |test: fn(&str, &str) -> bool| text.is_some_and(|text| test(text, wanted));
        match self.operator {
            Operator::EqualTo => is(|text, wanted| text == wanted),
            Operator::NotEqualTo => !is(|text, wanted| text == wanted),
            Operator::StartsWith => is(|text, wanted| text.starts_with(wanted)),
            Operator::DoesNotStartWith => !is(|text, wanted| text.starts_with(wanted)),
            Operator::EndsWith => is(|text, wanted| text.ends_with(wanted)),
            Operator::DoesNotEndWith => !is(|text, wanted| text.ends_with(wanted)),
            Operator::Contains => is(|text, wanted| text.contains(wanted)),
            Operator::DoesNotContain => !is(|text, wanted| text.contains(wanted)),
            Operator::GreaterThan => is(|text, wanted| text > wanted),
            Operator::GreaterThanEqualTo => is(|text, wanted| text >= wanted),
            Operator::LessThan => is(|text, wanted| text < wanted),
            Operator::LessThanEqualTo => is(|text, wanted| text <= wanted),
            _ => false,
        }
    }
}

/// A filter by id and name, as lists and fields have.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamedFilter {
    /// Whether one condition is enough (OR).
    pub(crate) any: bool,
    pub(crate) ids: Vec<String>,
    pub(crate) names: Vec<TextCondition>,
}

impl NamedFilter {
    pub(crate) fn passes(&self, id: &str, name: &str) -> bool {
        let by_id = self.ids.iter().map(|wanted| wanted == id);
        let by_name = self.names.iter().map(|wanted| wanted.passes(Some(name)));
        let mut results = by_id.chain(by_name).peekable();
        if self.any && results.peek().is_some() {
            results.any(|passes| passes)
        } else {
            results.all(|passes| passes)
        }
    }
}

#[derive(Clone, Debug)]
enum Condition {
    Text(&'static str, TextCondition),
    Id(&'static str, String),
    Created(Interval),
    Modified(Interval),
}

/// A filter of contacts.
///
/// Repeated elements are alternatives under OR and must all hold under AND.
#[derive(Clone, Debug)]
pub(crate) struct ContactFilter {
    any: bool,
    conditions: Vec<Condition>,
}

impl ContactFilter {
    pub(crate) fn new(any: bool) -> Self {
        Self { any, conditions: Vec::new() }
    }

    pub(crate) fn add_text(&mut self, field: &'static str, condition: TextCondition) {
        self.conditions.push(Condition::Text(field, condition));
    }

    pub(crate) fn add_id(&mut self, field: &'static str, id: String) {
        self.conditions.push(Condition::Id(field, id));
    }

    pub(crate) fn add_date(&mut self, is_modified: bool, interval: Interval) {
        self.conditions.push(if is_modified {
            Condition::Modified(interval)
        } else {
            Condition::Created(interval)
        });
    }

    /// Takes out the bounds on `modified` that every contact must keep; they can be looked up.
    pub(crate) fn take_modified_range(&mut self) -> (UtcInstant, UtcInstant) {
        let mut range = (UtcInstant::MIN, UtcInstant::MAX);
        if self.any && self.conditions.len() > 1 {
            return range;
        }
        self.conditions.retain(|condition| match condition {
            Condition::Modified(interval) if interval.inside => {
                range.0 = range.0.max(interval.from);
                range.1 = range.1.min(interval.to);
                false
            }
            _ => true,
        });
        range
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    pub(crate) fn passes(&self, contact: &Contact<'_>, fraction: Fraction) -> bool {
        let mut results = self.conditions.iter();
        let passes = |condition: &Condition| condition.passes(contact, fraction);
        if self.any && !self.conditions.is_empty() {
            results.any(passes)
        } else {
            results.all(passes)
        }
    }
}

impl Condition {
    fn passes(&self, contact: &Contact<'_>, fraction: Fraction) -> bool {
        match self {
            Self::Created(interval) => interval.passes(fraction.cut(contact.record.created)),
            Self::Modified(interval) => interval.passes(fraction.cut(contact.record.modified)),
            Self::Text(field, condition) => {
                let identity = || Contact::identity(contact.seed, contact.number);
                match *field {
                    "email" => condition.passes(identity().email.as_deref()),
                    "mobileNumber" => condition.passes(identity().mobile.as_deref()),
                    "customSource" => condition.passes(contact.custom_source()),
                    "status" => condition.passes(Some(contact.standing().status)),
                    "msgPref" => condition.passes(Some(contact.standing().message_preference)),
                    _ => condition.passes(Some(contact.source())),
                }
            }
            Self::Id(field, id) => {
                let is_member = |ids: &[ObjectId]| ids.iter().any(|other| other.as_str() == id);
                match *field {
                    "id" => ObjectId::number(IdKind::Contact, id) == Some(contact.number),
                    "listId" => is_member(&contact.standing().lists),
                    "segmentId" => is_member(&contact.standing().segments),
                    _ => is_member(&contact.standing().keywords),
                }
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcInstant {
        UtcInstant::parse(text).unwrap()
    }

    fn passes(operators: DateOperators, operator: Operator, wanted: &str, actual: &str) -> bool {
        let rules = DateRules { operators, zone: Tz::America__New_York };
        let interval = rules.interval(operator, at(wanted)).unwrap();
        interval.passes(at(actual))
    }

    #[test]
    fn or_same_day_compares_instants_or_days() {
        let (wanted, earlier) = ("2026-03-04T18:00:00-05:00", "2026-03-04T02:00:00-05:00");
        let after = Operator::AfterOrSameDay;
        assert!(!passes(DateOperators::Instant, after, wanted, earlier));
        assert!(passes(DateOperators::Day, after, wanted, earlier));
        assert!(passes(DateOperators::Instant, after, wanted, wanted));
        // The day is the zone's, not UTC's.
        let day_before = "2026-03-03T23:59:59-05:00";
        assert!(!passes(DateOperators::Day, after, wanted, day_before));
        let before = Operator::BeforeOrSameDay;
        let evening = "2026-03-04T23:59:59-05:00";
        assert!(passes(DateOperators::Day, before, wanted, evening));
        assert!(!passes(DateOperators::Instant, before, wanted, evening));
    }

    #[test]
    fn before_and_after_are_strict_instants_in_both_readings() {
        let wanted = "2026-03-04T18:00:00Z";
        for reading in [DateOperators::Instant, DateOperators::Day] {
            assert!(!passes(reading, Operator::After, wanted, wanted));
            assert!(!passes(reading, Operator::Before, wanted, wanted));
            assert!(passes(reading, Operator::GreaterThanEqualTo, wanted, wanted));
            assert!(passes(reading, Operator::LessThanEqualTo, wanted, wanted));
            assert!(passes(reading, Operator::After, wanted, "2026-03-04T18:00:00.001Z"));
        }
    }

    #[test]
    fn days_and_years_end_at_the_zones_midnight() {
        let same_day = |actual| {
            passes(DateOperators::Instant, Operator::SameDay, "2026-11-01T12:00:00Z", actual)
        };
        // The day on which daylight saving ends has 25 hours.
        assert!(same_day("2026-11-01T04:00:00Z"));
        assert!(same_day("2026-11-02T04:59:59Z"));
        assert!(!same_day("2026-11-02T05:00:00Z"));
        let year = |actual| {
            passes(DateOperators::Instant, Operator::NotSameYear, "2026-06-01T00:00:00Z", actual)
        };
        assert!(year("2026-01-01T04:59:59Z"));
        assert!(!year("2026-01-01T05:00:00Z"));
    }

    #[test]
    fn texts_compare_and_absence_passes_only_negations() {
        let passes = |operator, value: &str, text| {
            TextCondition::new(operator, value.to_owned()).unwrap().passes(text)
        };
        assert!(passes(Operator::StartsWith, "ab", Some("abc")));
        assert!(passes(Operator::DoesNotEndWith, "b", Some("abc")));
        assert!(passes(Operator::Contains, "b", Some("abc")));
        assert!(!passes(Operator::EqualTo, "", None));
        assert!(passes(Operator::NotEqualTo, "a", None));
        assert!(passes(Operator::LessThan, "b", Some("a")));
        assert_eq!(TextCondition::new(Operator::SameDay, String::new()), None);
    }

    #[test]
    fn named_filters_combine_by_type() {
        let mut filter = NamedFilter {
            any: false,
            ids: vec!["1".to_owned(), "2".to_owned()],
            names: Vec::new(),
        };
        assert!(!filter.passes("1", "a"));
        filter.any = true;
        assert!(filter.passes("1", "a"));
        assert!(!filter.passes("3", "a"));
        assert!(NamedFilter { any: true, ..NamedFilter::default() }.passes("3", "a"));
    }

    #[test]
    fn only_bounds_that_all_must_keep_are_looked_up() {
        let interval = |inside| Interval {
            from: at("2026-01-01T00:00:00Z"),
            to: at("2026-01-02T00:00:00Z"),
            inside,
        };
        let mut filter = ContactFilter::new(false);
        filter.add_date(true, interval(true));
        filter.add_date(true, interval(false));
        let range = filter.take_modified_range();
        assert_eq!(range, (interval(true).from, interval(true).to));
        assert_eq!(filter.conditions.len(), 1);
        let mut either = ContactFilter::new(true);
        either.add_date(true, interval(true));
        either.add_date(false, interval(true));
        assert_eq!(either.take_modified_range(), (UtcInstant::MIN, UtcInstant::MAX));
        assert_eq!(either.conditions.len(), 2);
    }
}
