//! Drawn behaviours: a value for everything that the simulated server leaves open, and for every failure.

use std::fmt;

use bronto_sim::Behaviour;

use super::chance::Chance;

/// Behaviours that change what the account holds: they stay for a whole case. All others are drawn anew for each run.
const OF_THE_ACCOUNT: [&str; 11] = [
    "returned_fraction",
    "field_dates",
    "float_form",
    "control_characters",
    "nul_characters",
    "unholdable_characters",
    "absent_optional_rate",
    "absent_key_rate",
    "nil_rate",
    "deleted_contacts",
    "late_arrivals",
];

/// Behaviours that make calls fail at random.
const FAULT_RATES: [&str; 9] = [
    "fault_101_rate",
    "fault_103_rate",
    "fault_108_rate",
    "fault_113_rate",
    "http_500_rate",
    "http_503_rate",
    "html_rate",
    "truncate_rate",
    "reset_rate",
];

/// Failures that a reader gets over, and failures that end a stream.
const ORDERED_FAILURES: [&str; 6] = [
    "empty:1",
    "truncated:2",
    "103:2",
    "108:1:login,113:2:readUnsubscribes",
    "redirect:1",
    "104:1:readContacts,104:1:readLists",
];

const ZONES: [&str; 5] = [
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Kiritimati",
    "America/St_Johns",
    "Australia/Lord_Howe",
];

/// Names with values.
#[derive(Clone, Default)]
pub(super) struct Behaviours(pub(super) Vec<(&'static str, String)>);

/// What the values of one draw have to suit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// The most rows of one table.
    pub(super) rows: u32,
    /// Whether rows can lack their date: those come in every window of their day, so that none is ever small.
    pub(super) undated: bool,
    /// Whether calls may fail.
    pub(super) troubled: bool,
    /// Whether dates may change their offset.
    pub(super) any_zone: bool,
}

impl Behaviours {
    /// Those that stay for a case.
    pub(super) fn of_account(chance: &mut Chance, room: Room) -> Self {
        Self::draw(chance, room, true)
    }

    /// Those of one run.
    pub(super) fn of_run(chance: &mut Chance, room: Room) -> Self {
        Self::draw(chance, room, false)
    }

    fn draw(chance: &mut Chance, room: Room, of_account: bool) -> Self {
        let all = bronto_sim::behaviours().into_iter();
        let wanted = all.filter(|one| OF_THE_ACCOUNT.contains(&one.name) == of_account);
        Self(wanted.map(|one| (one.name, value(&one, chance, room))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Whether calls may fail so often that a run may give up.
    pub(super) fn are_hostile(&self) -> bool {
        let differs = |name: &str, calm: &str| self.get(name).is_some_and(|value| value != calm);
        FAULT_RATES.iter().any(|name| differs(name, "0"))
            || differs("session_max_calls", "0")
            || differs("fail_next", "none")
    }

    /// The same without failures and without changes by themselves.
    pub(super) fn calm(&self) -> Self {
        let calm = |name: &str| match name {
            "fail_next" => Some("none"),
            "session_max_calls"
            | "mutate_between_pages"
            | "remove_lists_between_pages"
            | "mutate_per_second" => Some("0"),
            _ => FAULT_RATES.contains(&name).then_some("0"),
        };
        let changed = self
            .0
            .iter()
            .map(|(name, value)| (*name, calm(name).map_or_else(|| value.clone(), str::to_owned)));
        Self(changed.collect())
    }
}

impl fmt::Debug for Behaviours {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = bronto_sim::behaviours();
        let is_default = |name: &str, value: &str| {
            all.iter().any(|one| one.name == name && one.default == value)
        };
        let set = self.0.iter().filter(|(name, value)| !is_default(name, value));
        let texts: Vec<_> = set.map(|(name, value)| format!("{name}={value}")).collect();
        formatter.write_str(&texts.join(" "))
    }
}

fn value(behaviour: &Behaviour, chance: &mut Chance, room: Room) -> String {
    let default = behaviour.default;
    let rare = |chance: &mut Chance, percent, values: &[&str]| {
        if chance.percent(percent) { chance.pick(values) } else { default }.to_owned()
    };
    match behaviour.name {
        "day_zone" => chance.pick(&ZONES).to_owned(),
        "returned_zone" if !room.any_zone => default.to_owned(),
        "returned_zone" => rare(chance, 70, &[&["Z", "none"], &ZONES[..]].concat()),
        "absent_optional_rate" | "nil_rate" => rare(chance, 30, &["0.1", "0.5"]),
        "absent_key_rate" => rare(chance, 10, &["0.03", "0.2"]),
        "page_maximum" => page_maximum(chance, room),
        "mutate_between_pages" => rare(chance, 35, &["1", "3", "40"]),
        "remove_lists_between_pages" => rare(chance, 15, &["1", "4"]),
        // Against the model: the tests of what lies outside it try that.
        "unsteady_paging" => default.to_owned(),
        "mutate_per_second" => rare(chance, 10, &["25"]),
        "late_arrivals" => rare(chance, 25, &["900", "36000", "86400"]),
        "session_idle_seconds" => rare(chance, 30, &["1", "45", "600"]),
        "login_fault" => default.to_owned(),
        "latency_ms" | "slow_ms" => rare(chance, 5, &["1"]),
        "session_max_calls" | "fail_next" if !room.troubled => default.to_owned(),
        "session_max_calls" => rare(chance, 40, &["1", "2", "3", "5", "9", "20"]),
        "fail_next" => rare(chance, 50, &ORDERED_FAILURES),
        rate if FAULT_RATES.contains(&rate) => {
            let percent = if room.troubled { 40 } else { 0 };
            rare(chance, percent, &["0.01", "0.03", "0.06"])
        }
        // What makes rows that no table can hold comes seldom, so that most cases compare whole tables.
        "unholdable_characters" => rare(chance, 15, &["raw", "references"]),
        _ => {
            let words: Vec<&str> = behaviour.values.split('|').collect();
            assert!(
                words.iter().all(|word| is_literal(word)),
                "say here what to draw for `{}={}`",
                behaviour.name,
                behaviour.values
            );
            chance.pick(&words).to_owned()
        }
    }
}

/// Small pages for small tables: some hundred requests are enough for a case.
fn page_maximum(chance: &mut Chance, room: Room) -> String {
    let least = (room.rows / if room.undated { 4 } else { 60 }).max(1);
    let page = chance.pick(&[1, 7, 20, 60, 150, 400, 1_000]).max(least);
    match chance.between(0, 9) {
        0..4 => page.to_string(),
        4 => "varying".to_owned(),
        5 | 6 => format!("varying:{}", (page * 20).min(5_000)),
        _ => "5000".to_owned(),
    }
}

/// Whether a part of a behaviour's values stands for itself.
fn is_literal(part: &str) -> bool {
    let stands_for_more = |c: char| c.is_ascii_uppercase() || c == ':' || c == '…';
    part == "Z" || !(part.contains(stands_for_more) || part.contains(".."))
}

/// To which part of the behaviour's values a drawn value belongs; none for a default that stands for nothing else.
pub(super) fn part_of(behaviour: &Behaviour, value: &str) -> Option<&'static str> {
    let mut parts = behaviour.values.split('|');
    if let Some(literal) = parts.clone().find(|part| is_literal(part) && *part == value) {
        return Some(literal);
    }
    let like = |part: &&str| !is_literal(part) && part.contains(':') == value.contains(':');
    parts.find(like).filter(|_| value != behaviour.default)
}

/// All parts of the behaviour's values that a batch of cases has to meet.
pub(super) fn parts(behaviour: &Behaviour) -> Vec<&'static str> {
    // Whoever can't log in reads nothing; the tests of the client try that. Unsteady paging lies outside the model.
    let is_never_drawn = |part: &str| match behaviour.name {
        "login_fault" => part == "CODE",
        "unsteady_paging" => part != "none",
        _ => false,
    };
    behaviour.values.split('|').filter(|part| !is_never_drawn(part)).collect()
}
