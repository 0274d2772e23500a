//! Months of schedules on a clock of the test's own: what the scheduler and the ledger make of them must be what a second
//! account, kept half-minute by half-minute and without any arithmetic of schedules, says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use chrono_tz::Tz;
use serde_json::{Value, json};
use service::{
    Dispatch, Scheduler, SchedulerLimits, Store,
    run::{Claim, Run, RunState, SlotOutcome, StartedBy},
    store::Start,
};

use crate::{at, new_integration, parsed, subject::Subject};

const STEP: TimeDelta = TimeDelta::seconds(30);

/// When a schedule's slots are, said as plainly as can be.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// So many hours after the last start.
    Hours(i64),
    /// At twenty past every third hour, from midnight in UTC.
    ThirdHours,
    /// Every half hour of working hours from Monday to Friday in Berlin.
    Office,
    /// At half past two in Berlin.
    Night,
    /// At five to every hour.
    Hourly,
}

impl Plan {
    const ALL: [(Self, bool); 6] = [
        (Self::Hours(6), false),
        (Self::Hours(1), true),
        (Self::ThirdHours, false),
        (Self::Office, false),
        (Self::Night, true),
        (Self::Hourly, true),
    ];

    fn schedule(self, catch_up: bool) -> Value {
        let mut schedule = match self {
            Self::Hours(hours) => json!({ "every": format!("{hours}h") }),
            Self::ThirdHours => json!({ "every": "3h", "anchor": "2027-01-01T12:20:00Z" }),
            Self::Office => json!({ "cron": "0 0/30 9-16 ? * MON-FRI", "zone": "Europe/Berlin" }),
            Self::Night => json!({ "cron": "0 30 2 ? * *", "zone": "Europe/Berlin" }),
            Self::Hourly => json!({ "cron": "0 55 * * * ?" }),
        };
        if catch_up {
            schedule["catch_up"] = json!(true);
        }
        schedule
    }

    fn is_slot(self, now: DateTime<Utc>, last_start: Option<DateTime<Utc>>) -> bool {
        let berlin = now.with_timezone(&Tz::Europe__Berlin);
        let is_weekend = matches!(berlin.weekday(), Weekday::Sat | Weekday::Sun);
        match self {
            Self::Hours(hours) => {
                last_start.is_none_or(|last| (now - last).num_seconds() % (hours * 3600) == 0)
            }
            Self::ThirdHours => (now.hour() % 3, now.minute(), now.second()) == (0, 20, 0),
            Self::Office => {
                (9..17).contains(&berlin.hour())
                    && berlin.minute().is_multiple_of(30)
                    && now.second() == 0
                    && !is_weekend
            }
            // The second half past two of the autumn is in winter time.
            Self::Night => {
                let repeated = berlin.date_naive() == "2026-10-25".parse().unwrap();
                (berlin.hour(), berlin.minute(), now.second()) == (2, 30, 0)
                    && !(repeated && now.hour() == 1)
            }
            Self::Hourly => (now.minute(), now.second()) == (55, 0),
        }
    }
}

/// How long a run takes that was begun then: between one minute and more than two hours.
fn duration(plan: usize, slot: DateTime<Utc>) -> TimeDelta {
    let seed = u64::try_from(slot.timestamp())
        .unwrap()
        .wrapping_mul(2_654_435_761)
        .wrapping_add(plan as u64 * 97);
    let minutes = match (seed >> 7) % 10 {
        0 => 130,
        1 => 60,
        other => other * 3,
    };
    TimeDelta::minutes(i64::try_from(minutes).unwrap()) + STEP
}

/// What is known of an integration in the end: starts, and how many slots passed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account {
    started: BTreeSet<(DateTime<Utc>, &'static str)>,
    skipped: u64,
    missed: u64,
}

/// What happens while the schedules run.
struct Course {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    /// From when until when the service is dead. It dies with its runs, which are begun again afterwards.
    outages: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    /// Which integration is started by hand when.
    by_hand: Vec<(DateTime<Utc>, usize)>,
}

impl Course {
    fn autumn(days: i64) -> Self {
        let from = at("2026-10-01 00:00");
        let hours = |hours: i64| from + TimeDelta::hours(hours) + STEP;
        let outages = vec![
            (hours(30), hours(31)),
            (hours(100), hours(100) + TimeDelta::minutes(7)),
            (hours(240), hours(275)),
            (hours(561), hours(567)),
            // It is back within the minute after slots of several.
            (hours(582), hours(583) - TimeDelta::minutes(5)),
            (hours(610), hours(610) + TimeDelta::minutes(50)),
        ];
        // It is back a few minutes after slots that nothing makes good.
        let late = [720, 843, 1002, 1203].map(|third_hour| {
            (hours(third_hour) + TimeDelta::minutes(5), hours(third_hour) + TimeDelta::minutes(23))
        });
        let outages = [outages, late.to_vec()].concat();
        let by_hand = (0..days * 2)
            .map(|turn| {
                (hours(turn * 11) + TimeDelta::minutes(turn % 47), turn as usize % Plan::ALL.len())
            })
            .collect();
        Self { from, until: from + TimeDelta::days(days), outages, by_hand }
    }

    fn is_down(&self, now: DateTime<Utc>) -> bool {
        self.outages.iter().any(|(from, until)| *from <= now && now < *until)
    }
}

/// The second account.
fn expected(course: &Course) -> Vec<Account> {
    #[derive(Default)]
    struct State {
        last_start: Option<DateTime<Utc>>,
        alive_until: Option<DateTime<Utc>>,
        passed: Vec<DateTime<Utc>>,
        account: Account,
    }
    let mut states: Vec<State> = Plan::ALL.iter().map(|_| State::default()).collect();
    let mut now = course.from;
    while now <= course.until {
        let is_down = course.is_down(now);
        let is_back = !is_down && course.is_down(now - STEP);
        for (index, ((plan, catches_up), state)) in Plan::ALL.iter().zip(&mut states).enumerate() {
            // A run that lived when the service died is begun again, and takes its time anew.
            if is_back && let Some(slot) = state.last_start.filter(|_| state.alive_until.is_some())
            {
                state.alive_until = Some(now + duration(index, slot));
            }
            if !is_down && state.alive_until.is_some_and(|end| end <= now) {
                state.alive_until = None;
            }
            let begin = |state: &mut State, slot, by| {
                state.account.started.insert((slot, by));
                state.last_start = Some(slot);
                state.alive_until = Some(now + duration(index, slot));
            };
            let is_slot = plan.is_slot(now, state.last_start);
            let is_alive = state.alive_until.is_some();
            if is_back {
                let passed = std::mem::take(&mut state.passed);
                let mut missed = passed.len() as u64;
                let last = passed.last().copied();
                let is_fresh = last.is_some_and(|slot| now - slot < TimeDelta::minutes(1));
                if !is_slot
                    && !is_alive
                    && let Some(slot) = last.filter(|_| is_fresh || *catches_up)
                {
                    begin(state, slot, "schedule");
                    missed -= 1;
                }
                state.account.missed += missed;
            }
            let is_alive = state.alive_until.is_some();
            match (is_slot, is_alive, is_down) {
                (true, true, _) => state.account.skipped += 1,
                (true, false, true) => state.passed.push(now),
                (true, false, false) => begin(state, now, "schedule"),
                _ => {}
            }
            if !is_down && state.alive_until.is_none() && course.by_hand.contains(&(now, index)) {
                begin(state, now, "hand");
            }
        }
        now += STEP;
    }
    states.into_iter().map(|state| state.account).collect()
}

/// A worker that claims whatever it is offered.
struct Worker<'s> {
    store: &'s Store,
    now: Mutex<DateTime<Utc>>,
    claims: Mutex<Vec<(Run, Claim)>>,
}

#[async_trait::async_trait]
impl Dispatch for Worker<'_> {
    async fn dispatch(&self, run: &Run) {
        let now = *self.now.lock().unwrap();
        let lease = TimeDelta::hours(4);
        if let Some(claim) = self.store.claim(&run.id, "worker", lease, now).await.unwrap() {
            self.claims.lock().unwrap().push((run.clone(), claim));
        }
    }
}

/// The scheduler's account.
async fn simulated(store: &Store, course: &Course) -> (Vec<Account>, u64) {
    let mut ids = Vec::new();
    for (index, (plan, catch_up)) in Plan::ALL.iter().enumerate() {
        let schedule = parsed(plan.schedule(*catch_up));
        let new = new_integration(&format!("Integration {index}"), Some(schedule));
        ids.push(store.create_integration(&new, course.from).await.unwrap().id);
    }
    let worker = Worker { store, now: Mutex::new(course.from), claims: Mutex::default() };
    let limits =
        SchedulerLimits { longest_sleep: TimeDelta::hours(12), ..SchedulerLimits::default() };
    let scheduler = Scheduler::new(store, &worker, limits);
    let mut ends: BTreeMap<(DateTime<Utc>, String), Claim> = BTreeMap::new();
    let mut ticks = 0;
    let mut next_tick = course.from;
    loop {
        // The next thing to happen: a tick, the end of a run, a start by hand, or an outage.
        let before = *worker.now.lock().unwrap();
        let by_hand = course.by_hand.iter().map(|(start, _)| *start);
        let outages = course.outages.iter().map(|(from, _)| *from);
        let ahead = by_hand.chain(outages).filter(|instant| *instant > before);
        let now = ends.keys().map(|(end, _)| *end).chain([next_tick]).chain(ahead).min().unwrap();
        let outage = course.outages.iter().find(|(from, until)| *from <= now && now < *until);
        let now = match outage {
            Some((from, until)) => {
                // All workers die. Their leases lapse, here at once.
                ends.clear();
                lapse(store, *from).await;
                *until
            }
            None => now,
        };
        if now > course.until {
            break;
        }
        *worker.now.lock().unwrap() = now;
        while let Some(entry) = ends.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((end, _), claim) = entry.remove_entry();
            assert!(store.finish(&claim, RunState::Succeeded, None, end).await.unwrap());
        }
        let tick = scheduler.tick(now).await.unwrap();
        ticks += 1;
        next_tick = tick.next;
        assert!(next_tick > now);
        for (_, index) in course.by_hand.iter().filter(|(start, _)| *start == now) {
            if let Start::Begun { run_id } = store.start_by_hand(&ids[*index], now).await.unwrap() {
                worker.dispatch(&store.run(&run_id).await.unwrap()).await;
            }
        }
        for (run, claim) in worker.claims.lock().unwrap().drain(..) {
            let index = ids.iter().position(|id| *id == run.integration_id).unwrap();
            ends.insert((now + duration(index, run.slot), run.id), claim);
        }
    }
    let mut accounts = Vec::new();
    for id in &ids {
        accounts.push(account(store, id).await);
    }
    (accounts, ticks)
}

/// Lets the leases of all runs that are alive lapse.
async fn lapse(store: &Store, now: DateTime<Utc>) {
    for integration in store.integrations().await.unwrap() {
        let last = store.last_run(&integration.id).await.unwrap();
        if let Some(run) = last.filter(|run| run.state == RunState::Running) {
            let claim = Claim { run_id: run.id, worker: run.worker.unwrap(), attempt: run.attempt };
            let lease = TimeDelta::seconds(1);
            store.renew(&claim, &run.progress.unwrap_or_default(), lease, now).await.unwrap();
        }
    }
}

/// What the ledger has of an integration. Also shows that no two runs overlap.
async fn account(store: &Store, integration_id: &str) -> Account {
    let mut account = Account::default();
    let runs = store.runs(integration_id, None, 100_000).await.unwrap();
    for pair in runs.windows(2) {
        assert!(pair[1].ended_at.unwrap() <= pair[0].begun_at, "{pair:?}");
    }
    for run in &runs {
        assert!(account.started.insert((run.slot, run.started_by.name())), "{run:?}");
    }
    for slot in store.slots(integration_id, None, 100_000).await.unwrap() {
        match slot.outcome {
            SlotOutcome::Skipped => account.skipped += slot.count,
            SlotOutcome::Missed => account.missed += slot.count,
            SlotOutcome::Started => {
                let run = store.run(&slot.run_id.unwrap()).await.unwrap();
                assert_eq!((run.slot, run.started_by), (slot.slot, StartedBy::Schedule));
            }
        }
    }
    account
}

#[tokio::test(flavor = "multi_thread")]
async fn months_of_schedules_run_as_they_should() {
    let subject = Subject::sqlite().await;
    let course = Course::autumn(62);
    let (found, ticks) = simulated(&subject.store, &course).await;
    let expected = expected(&course);
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference: Vec<_> =
            found.started.symmetric_difference(&expected.started).take(8).collect();
        assert!(difference.is_empty(), "{index}: {difference:?}");
        assert_eq!((found.skipped, found.missed), (expected.skipped, expected.missed), "{index}");
    }
    let sum = |figure: fn(&Account) -> u64| found.iter().map(figure).sum::<u64>();
    let starts = sum(|account| account.started.len() as u64);
    eprintln!(
        "{starts} starts, {} skipped, {} missed, {ticks} ticks",
        sum(|a| a.skipped),
        sum(|a| a.missed)
    );
    assert!(
        starts > 3_000
            && sum(|account| account.skipped) > 100
            && sum(|account| account.missed) > 50
    );
}
