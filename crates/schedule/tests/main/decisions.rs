//! What a scheduler does, slot by slot: Stitch's examples with runs that take time, and random runs, outages and
//! schedules against a second account of the rules.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use schedule::{Decision, LastRun, Passed, Schedule, ScheduleFields, Situation, Why};

use crate::{at, fields, schedule};

/// A scheduler that looks at its integration at given instants, and whose runs take given times.
struct Simulation {
    schedule: Schedule,
    created_at: DateTime<Utc>,
    last_run: Option<LastRun>,
    decided_until: DateTime<Utc>,
    started: Vec<DateTime<Utc>>,
    passed: Vec<Passed>,
}

impl Simulation {
    fn new(schedule: Schedule, created_at: DateTime<Utc>) -> Self {
        let decided_until = created_at;
        let (started, passed) = (Vec::new(), Vec::new());
        Self { schedule, created_at, last_run: None, decided_until, started, passed }
    }

    fn situation(&self, now: DateTime<Utc>) -> Situation {
        let last_run = self.last_run.map(|run| LastRun {
            ended_at: run.ended_at.filter(|ended_at| *ended_at <= now),
            ..run
        });
        let (created_at, decided_until) = (self.created_at, self.decided_until);
        Situation { created_at, last_run, decided_until, now }
    }

    /// Looks, and lets a run that is started take so long.
    fn look(&mut self, now: DateTime<Utc>, duration: impl FnOnce() -> TimeDelta) -> Decision {
        let decision = self.situation(now).decide(&self.schedule);
        self.decided_until = now;
        self.passed.extend(&decision.passed);
        if let Some(slot) = decision.start {
            self.started.push(slot);
            self.last_run =
                Some(LastRun { slot, started_at: now, ended_at: Some(now + duration()) });
        }
        decision
    }
}

#[test]
fn a_run_that_takes_too_long_costs_the_slot_and_moves_nothing() {
    let minutes = [55, 68, 51, 31];
    for pairs in [
        vec![("every", "1h")],
        vec![("every", "1h"), ("anchor", "2026-05-01T18:30:00Z")],
        vec![("cron", "0 30 * ? * *")],
    ] {
        let mut simulation = Simulation::new(schedule(&pairs), at("05-01 18:29"));
        simulation.created_at = at("05-01 17:30");
        simulation.last_run = Some(LastRun {
            slot: at("05-01 17:30"),
            started_at: at("05-01 17:30"),
            ended_at: Some(at("05-01 18:00")),
        });
        for second in (0..5 * 3600).step_by(10) {
            let runs = simulation.started.len();
            simulation.look(at("05-01 18:29") + TimeDelta::seconds(second), || {
                TimeDelta::minutes(minutes.get(runs).copied().unwrap_or(1))
            });
        }
        let started = ["05-01 18:30", "05-01 19:30", "05-01 21:30", "05-01 22:30"].map(at);
        assert_eq!(simulation.started[..4], started, "{pairs:?}");
        let slot = at("05-01 20:30");
        let skipped = Passed { why: Why::Skipped, first: slot, last: slot, count: 1 };
        assert_eq!(simulation.passed, [skipped], "{pairs:?}");
    }
}

#[test]
fn a_run_over_the_end_of_a_window_skips_to_the_next_day() {
    let mut simulation =
        Simulation::new(schedule(&[("cron", "0 0/20 12-14 ? * *")]), at("05-01 13:39"));
    simulation.look(at("05-01 13:40"), || TimeDelta::minutes(70));
    let decision = simulation.look(at("05-01 14:45"), TimeDelta::zero);
    let (first, last) = (at("05-01 14:00"), at("05-01 14:40"));
    assert_eq!(decision.passed, [Passed { why: Why::Skipped, first, last, count: 3 }]);
    assert_eq!(decision.next, Some(at("05-02 12:00")));
}

fn decide(
    pairs: &[(&str, &str)],
    run: Option<(&str, Option<&str>)>,
    since: &str,
    now: &str,
) -> Decision {
    let last_run = run.map(|(started, ended)| LastRun {
        slot: at(started),
        started_at: at(started),
        ended_at: ended.map(at),
    });
    let created_at = at("05-01 00:00");
    let situation = Situation { created_at, last_run, decided_until: at(since), now: at(now) };
    situation.decide(&schedule(pairs))
}

const HOURLY: [(&str, &str); 2] = [("every", "1h"), ("anchor", "2026-05-01T00:00:00Z")];

#[test]
fn a_run_that_ends_at_the_slot_leaves_it_free() {
    let ends = |ended| {
        decide(&HOURLY, Some(("05-01 12:00", Some(ended))), "05-01 12:59", "05-01 13:00:05").start
    };
    assert_eq!(ends("05-01 13:00"), Some(at("05-01 13:00")));
    // It lived at the slot, though it is over when the scheduler looks: the slot isn't started late.
    assert_eq!(ends("05-01 13:00:01"), None);
}

#[test]
fn what_was_missed_is_written_down_and_not_replayed() {
    let decision =
        decide(&HOURLY, Some(("05-01 09:00", Some("05-01 09:20"))), "05-01 09:30", "05-01 13:30");
    assert_eq!(decision.start, None);
    let (first, last) = (at("05-01 10:00"), at("05-01 13:00"));
    assert_eq!(decision.passed, [Passed { why: Why::Missed, first, last, count: 4 }]);
    assert_eq!(decision.next, Some(at("05-01 14:00")));
}

#[test]
fn a_slot_of_the_last_minute_is_still_started() {
    let decision = decide(
        &HOURLY,
        Some(("05-01 09:00", Some("05-01 09:20"))),
        "05-01 09:30",
        "05-01 13:00:59",
    );
    assert_eq!(decision.start, Some(at("05-01 13:00")));
    assert_eq!(decision.passed[0].count, 3);
    let late =
        decide(&HOURLY, Some(("05-01 09:00", Some("05-01 09:20"))), "05-01 09:30", "05-01 13:01");
    assert_eq!(late.start, None);
}

fn catching_up(pairs: &[(&str, &str)]) -> Schedule {
    Schedule::parse(&ScheduleFields { catch_up: true, ..fields(pairs) }).unwrap()
}

#[test]
fn catching_up_starts_the_last_that_was_missed() {
    let situation = |ended_at, now| Situation {
        created_at: at("05-01 00:00"),
        last_run: Some(LastRun {
            slot: at("05-01 09:00"),
            started_at: at("05-01 09:00"),
            ended_at,
        }),
        decided_until: at("05-01 09:30"),
        now: at(now),
    };
    let hourly = catching_up(&HOURLY);
    let decision = situation(Some(at("05-01 09:20")), "05-01 13:30").decide(&hourly);
    assert_eq!(decision.start, Some(at("05-01 13:00")));
    let (first, last) = (at("05-01 10:00"), at("05-01 12:00"));
    assert_eq!(decision.passed, [Passed { why: Why::Missed, first, last, count: 3 }]);
    // One start makes good for all; nothing is left when it was only one.
    let one = situation(Some(at("05-01 09:20")), "05-01 10:30").decide(&hourly);
    assert_eq!((one.start, one.passed), (Some(at("05-01 10:00")), Vec::new()));
    // A slot that is due right now is start enough, and so is a run that lives.
    let due = situation(Some(at("05-01 09:20")), "05-01 13:00").decide(&hourly);
    assert_eq!((due.start, due.passed[0].count), (Some(at("05-01 13:00")), 3));
    let alive = situation(None, "05-01 13:30").decide(&hourly);
    assert_eq!((alive.start, alive.passed[0].why), (None, Why::Skipped));
}

#[test]
fn what_was_missed_after_a_slot_that_was_skipped_is_made_good() {
    let hourly = catching_up(&HOURLY);
    let decide = |started_at, ended_at, now| {
        let started_at = at(started_at);
        let last_run = Some(LastRun { slot: started_at, started_at, ended_at: Some(at(ended_at)) });
        let (created_at, decided_until) = (at("05-01 00:00"), at("05-01 09:30"));
        Situation { created_at, last_run, decided_until, now: at(now) }.decide(&hourly)
    };
    // It lived at ten, and the service was down at eleven and twelve.
    let decision = decide("05-01 09:00", "05-01 10:20", "05-01 12:30");
    let passed = |why, slot| Passed { why, first: at(slot), last: at(slot), count: 1 };
    assert_eq!(decision.start, Some(at("05-01 12:00")));
    let expected = [passed(Why::Missed, "05-01 11:00"), passed(Why::Skipped, "05-01 10:00")];
    assert_eq!(decision.passed, expected);
    // Begun by hand after the last that was missed, it has caught up; before, it has not.
    let after = decide("05-01 10:10", "05-01 10:20", "05-01 10:30");
    assert_eq!((after.start, after.passed), (None, vec![passed(Why::Missed, "05-01 10:00")]));
    let before = decide("05-01 10:10", "05-01 10:20", "05-01 11:30");
    assert_eq!(before.start, Some(at("05-01 11:00")));
    // So it has when it lived at a later slot.
    let over = decide("05-01 10:10", "05-01 11:20", "05-01 11:30");
    let expected = [passed(Why::Missed, "05-01 10:00"), passed(Why::Skipped, "05-01 11:00")];
    assert_eq!((over.start, over.passed.as_slice()), (None, &expected[..]));
}

#[test]
fn a_first_run_stays_due_until_it_is_begun() {
    let every = decide(&[("every", "6h")], None, "05-01 00:00", "05-03 07:00");
    assert_eq!((every.start, every.passed), (Some(at("05-01 00:00")), Vec::new()));
    assert_eq!(every.next, Some(at("05-03 12:00")));
    // An anchor has slots by itself.
    let anchored = decide(&HOURLY, None, "05-01 00:00", "05-01 00:30");
    assert_eq!((anchored.start, anchored.next), (None, Some(at("05-01 01:00"))));
}

#[test]
fn a_manual_run_skips_what_it_covers() {
    let decision = decide(&HOURLY, Some(("05-01 12:50", None)), "05-01 12:50", "05-01 13:30");
    let slot = at("05-01 13:00");
    assert_eq!(decision.passed, [Passed { why: Why::Skipped, first: slot, last: slot, count: 1 }]);
    // Begun seconds after the slot, before anybody looked: there is a run, so the slot isn't started beside it.
    let raced = decide(&HOURLY, Some(("05-01 13:00:02", None)), "05-01 12:59:58", "05-01 13:00:05");
    assert_eq!((raced.start, raced.passed[0].why), (None, Why::Skipped));
}

#[test]
fn an_expression_whose_years_have_passed_has_nothing_to_do() {
    let decision = decide(&[("cron", "0 0 0 ? * * 2025")], None, "05-01 00:00", "05-03 07:00");
    assert_eq!(decision, Decision { start: None, passed: Vec::new(), next: None });
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        Just(schedule(&[("every", "30m")])),
        Just(schedule(&[("every", "1h")])),
        Just(schedule(&[
            ("every", "3h"),
            ("anchor", "2026-01-01T00:20:00Z"),
            ("zone", "Europe/Berlin")
        ])),
        Just(schedule(&[("cron", "0 0/7 * ? * *")])),
        Just(schedule(&[("cron", "0 * 8-11 ? * MON-FRI"), ("zone", "America/New_York")])),
        Just(catching_up(&[("cron", "0 15 0/2 ? * *")])),
        Just(catching_up(&[("every", "1h")])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The scheduler looks every few seconds, and now and then is down for hours. Every slot must be started, skipped
    /// because a run lived, or missed because the scheduler was down; nothing overlaps, and nothing comes twice.
    #[test]
    fn every_slot_is_accounted_for(
        schedule in any_schedule(),
        pauses in proptest::collection::vec(prop_oneof![60 => 1_i64..50, 1 => 50_i64..20_000], 3_000),
        durations in proptest::collection::vec(prop_oneof![3 => 5_i64..1_500, 1 => 1_500_i64..9_000], 1..40),
    ) {
        let created_at = at("10-23 22:00");
        let mut simulation = Simulation::new(schedule.clone(), created_at);
        let mut now = created_at;
        let mut runs: Vec<LastRun> = Vec::new();
        let mut accounted = 0_u64;
        let mut slots = 0_u64;
        for (turn, pause) in pauses.iter().enumerate() {
            let before = simulation.situation(now);
            now += TimeDelta::seconds(*pause);
            let duration = TimeDelta::seconds(durations[turn % durations.len()]);
            let decision = simulation.look(now, || duration);
            accounted += decision.passed.iter().map(|passed| passed.count).sum::<u64>()
                + u64::from(decision.start.is_some());
            // The slots of this span, by the starts alone.
            let history = schedule::History {
                created_at,
                last_start: before.last_run.map(|run| run.slot),
            };
            if before.last_run.is_none() && schedule.counts_from_last_start() {
                slots += 1;
            } else {
                let span = schedule.starts_after(before.decided_until, history);
                let due: Vec<_> = span.take_while(|slot| *slot <= now).collect();
                slots += due.len() as u64;
                let lived = |slot: DateTime<Utc>| runs.last().is_some_and(|run| {
                    run.started_at <= slot && slot < run.ended_at.unwrap()
                });
                let is_free = runs.last().is_none_or(|run| run.ended_at.unwrap() <= now);
                for slot in &due {
                    let is_started = decision.start == Some(*slot);
                    let covers = |why| decision.passed.iter().any(|passed| {
                        passed.why == why && passed.first <= *slot && *slot <= passed.last
                    });
                    prop_assert!(is_started || covers(Why::Skipped) || covers(Why::Missed));
                    if lived(*slot) {
                        prop_assert!(covers(Why::Skipped) && !is_started);
                    } else if is_free && now - *slot < TimeDelta::minutes(1) {
                        prop_assert!(is_started);
                    } else if !schedule.catches_up() {
                        prop_assert!(covers(Why::Missed) && !is_started);
                    }
                }
            }
            if let Some(run) = simulation.last_run.filter(|_| decision.start.is_some()) {
                prop_assert!(runs.iter().all(|other| other.slot < run.slot));
                prop_assert!(runs.last().is_none_or(|other| other.ended_at.unwrap() <= run.started_at));
                prop_assert!(run.slot <= run.started_at);
                runs.push(run);
            }
            prop_assert!(decision.next.is_none_or(|next| next > now));
        }
        prop_assert_eq!(accounted, slots);
    }
}
