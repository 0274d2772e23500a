//! A case: everything that is drawn before anything runs.

use bronto_sim::{Mutation, SimConfig};
use chrono::{DateTime, TimeDelta, Utc};
use tap_bronto::IdScheme;

use super::{
    behaviours::{Behaviours, Room},
    chance::Chance,
};
use crate::account::{Next, at};

/// What one seed amounts to.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) size: Size,
    /// What happens to the account within one instant before the first run.
    pub(super) burst: Mutation,
    pub(super) account: Behaviours,
    pub(super) start_date: DateTime<Utc>,
    pub(super) activity_id: IdScheme,
    pub(super) settle_seconds: u32,
    pub(super) lookback_days: u32,
    pub(super) runs: Vec<RunPlan>,
}

/// The account as it begins.
#[derive(Debug)]
pub(super) struct Size {
    days: u32,
    contacts: u32,
    lists: u32,
    unsubscribes: u32,
    inbound: u32,
    outbound: u32,
}

/// One run, and what happens after it.
#[derive(Debug)]
pub(super) struct RunPlan {
    pub(super) behaviours: Behaviours,
    pub(super) concurrency: usize,
    pub(super) page_size: u32,
    /// Whether rows come as the lines that the program writes.
    pub(super) as_lines: bool,
    pub(super) end_date: Option<DateTime<Utc>>,
    /// After how many events it is stopped or killed.
    pub(super) cut: Option<(usize, Next)>,
    /// Whether the rows behind the last bookmarks of a run that is cut are kept.
    pub(super) keeps_rest: bool,
    /// What changes during the run, each after so many events.
    pub(super) meanwhile: Vec<(usize, Mutation)>,
    /// What changes after it.
    pub(super) afterwards: Mutation,
}

impl Size {
    fn draw(chance: &mut Chance) -> Self {
        let most = chance.pick(&[60, 200, 600]);
        Self {
            days: chance.pick(&[1, 3, 30, 120, 365]),
            contacts: chance.between(50, most),
            lists: chance.pick(&[0, 1, 12, 40]),
            unsubscribes: chance.between(0, most / 2),
            inbound: chance.between(50, most),
            outbound: chance.between(50, most),
        }
    }

    pub(super) fn config(&self, seed: u64) -> SimConfig {
        SimConfig {
            seed,
            days: self.days,
            contacts: self.contacts,
            lists: self.lists,
            unsubscribes: self.unsubscribes,
            inbound: self.inbound,
            outbound: self.outbound,
            ..SimConfig::default()
        }
    }
}

impl Case {
    pub(super) fn draw(seed: u64) -> Self {
        let chance = &mut Chance::new(seed);
        let size = Size::draw(chance);
        let burst = Mutation {
            contacts: chance.pick(&[0, 0, size.contacts / 2, size.contacts]),
            activities: chance.pick(&[0, 0, 80, 400]),
            unsubscribes: chance.pick(&[0, 0, 30, 100]),
            ..Mutation::default()
        };
        let activity_id =
            if chance.percent(25) { IdScheme::Compatible } else { IdScheme::Lossless };
        let burst_rows = burst.contacts.max(burst.activities / 2);
        let room = Room {
            rows: size.contacts.max(size.inbound).max(size.outbound) + burst_rows,
            undated: false,
            troubled: false,
            // The Python tap's ids follow the offset of the dates.
            any_zone: activity_id == IdScheme::Lossless,
        };
        let mut account = Behaviours::of_account(chance, room);
        // Rows without a date can't be told to lie before a later start, or to have come late.
        let is_dated = account.get("absent_key_rate") == Some("0");
        if !is_dated {
            account.0.retain(|(name, _)| *name != "late_arrivals");
        }
        let has_late_ones = account.get("late_arrivals").is_some_and(|seconds| seconds != "0");
        let whole_range = at("2025-11-01T00:00:00Z");
        let starts = [whole_range, at("2026-04-01T03:04:05Z"), at("2026-11-10T00:00:00Z")];
        let room = Room { undated: !is_dated, ..room };
        let runs = chance.between(1, 4);
        Self {
            seed,
            start_date: if is_dated { chance.pick(&starts) } else { whole_range },
            activity_id,
            settle_seconds: chance.pick(&[0, 1, 120, 900]),
            // What comes up to a day late needs two days.
            lookback_days: chance.pick(if has_late_ones { &[2, 3, 7] } else { &[0, 1, 3, 7] }),
            runs: (0..runs).map(|_| RunPlan::draw(chance, room)).collect(),
            size,
            burst,
            account,
        }
    }
}

impl Case {
    /// Whether activities that are alike in every field are rows of their own.
    pub(super) fn tells_activities_apart(&self) -> bool {
        self.activity_id == IdScheme::Lossless
    }
}

impl RunPlan {
    fn draw(chance: &mut Chance, room: Room) -> Self {
        let room = Room { troubled: chance.percent(50), ..room };
        let now = bronto_sim::default_now();
        let end = now - TimeDelta::seconds(i64::from(chance.between(0, 30 * 86_400)));
        let cut = chance.percent(50).then(|| {
            let events = chance.pick(&[5, 20, 60, 150]);
            (chance.between(1, events) as usize, chance.pick(&[Next::Stop, Next::Kill, Next::Kill]))
        });
        let (disturbances, latest) = (chance.pick(&[0, 0, 1, 3]), chance.pick(&[8, 40]));
        Self {
            behaviours: Behaviours::of_run(chance, room),
            concurrency: chance.between(1, 6) as usize,
            page_size: chance.pick(&[10, 33, 5_000]),
            end_date: chance.percent(15).then_some(end),
            cut,
            keeps_rest: chance.percent(50),
            meanwhile: (0..disturbances)
                .map(|_| (chance.between(1, latest) as usize, change(chance)))
                .collect(),
            afterwards: change(chance),
            as_lines: chance.percent(40),
        }
    }
}

/// Some time passes, and something happens.
fn change(chance: &mut Chance) -> Mutation {
    Mutation {
        contacts: chance.pick(&[0, 0, 5, 60]),
        activities: chance.pick(&[0, 0, 6, 60]),
        unsubscribes: chance.pick(&[0, 0, 3, 20]),
        lists: chance.pick(&[0, 0, 0, 4]),
        advance_seconds: chance.pick(&[0, 1, 61, 130, 4_000, 30_000, 90_000]),
        ..Mutation::default()
    }
}
