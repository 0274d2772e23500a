//! Playing a case: its runs against its account, with every check.

use std::collections::BTreeMap;

use bronto_sim::Mutation;
use chrono::{DateTime, TimeDelta, Utc};
use replication::{
    event::{Event, Gap},
    source::{ExtractOutcome, SourceError, SourceErrorKind},
};
use tap_bronto::TapConfig;

use super::{
    behaviours::{self, Behaviours},
    case::{Case, RunPlan},
    due::Due,
    replica::Replica,
    truth::truth_of,
};
use crate::account::{Account, Next, TABLES};

/// What cases met, for the report.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How often each part of each behaviour's values was drawn.
    pub(super) drawn: BTreeMap<(&'static str, &'static str), u64>,
    /// How often the server answered with each fault or failure.
    pub(super) faults: BTreeMap<String, u64>,
    /// How runs ended.
    pub(super) endings: BTreeMap<&'static str, u64>,
    /// At which events runs were stopped or killed.
    pub(super) cuts: BTreeMap<&'static str, u64>,
    /// What changed, and when.
    pub(super) changes: BTreeMap<(&'static str, &'static str), u64>,
    /// In which form rows came.
    pub(super) forms: BTreeMap<&'static str, u64>,
    pub(super) requests: u64,
    pub(super) gaps: u64,
    pub(super) rejects: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        other.drawn.into_iter().for_each(|(key, n)| *self.drawn.entry(key).or_default() += n);
        other.faults.into_iter().for_each(|(key, n)| *self.faults.entry(key).or_default() += n);
        other.endings.into_iter().for_each(|(key, n)| *self.endings.entry(key).or_default() += n);
        other.cuts.into_iter().for_each(|(key, n)| *self.cuts.entry(key).or_default() += n);
        other.changes.into_iter().for_each(|(key, n)| *self.changes.entry(key).or_default() += n);
        other.forms.into_iter().for_each(|(key, n)| *self.forms.entry(key).or_default() += n);
        self.requests += other.requests;
        self.gaps += other.gaps;
        self.rejects += other.rejects;
    }

    fn count_change(&mut self, when: &'static str, change: &Mutation) {
        let happened = [
            ("contacts", change.contacts > 0),
            ("activities", change.activities > 0),
            ("unsubscribes", change.unsubscribes > 0),
            ("lists", change.lists > 0),
            ("time", change.advance_seconds != 0),
        ];
        for (what, _) in happened.into_iter().filter(|(_, happened)| *happened) {
            *self.changes.entry((what, when)).or_default() += 1;
        }
    }

    fn count(&mut self, drawn: &Behaviours) {
        for behaviour in bronto_sim::behaviours() {
            let part = drawn.get(behaviour.name).and_then(|v| behaviours::part_of(&behaviour, v));
            if let Some(part) = part {
                *self.drawn.entry((behaviour.name, part)).or_default() += 1;
            }
        }
    }
}

/// A case while it is played.
struct Game<'a> {
    case: &'a Case,
    account: Account,
    replica: Replica,
    tally: Tally,
}

/// Plays a case. Panics if a row is lost, altered or too many.
pub(super) async fn play(case: &Case) -> Tally {
    let account = Account::of(case.size.config(case.seed), &[]).await;
    let (replica, tally) = (Replica::new(case.activity_id), Tally::default());
    let mut game = Game { case, account, replica, tally };
    game.set(&case.account);
    game.change(&case.burst);
    game.account.server.advance_seconds(i64::from(case.settle_seconds));
    game.tally.count(&case.account);
    for plan in &case.runs {
        game.run(plan).await;
    }
    game.finish().await;
    let stats = game.account.server.stats();
    game.tally.requests = stats.all_requests();
    game.tally.faults = stats.faults;
    game.tally.gaps = game.replica.gaps.len() as u64;
    game.tally.rejects = game.replica.rejects.values().map(|rejects| rejects.len() as u64).sum();
    game.account.server.shutdown().await;
    game.tally
}

impl Game<'_> {
    fn set(&self, behaviours: &Behaviours) {
        for (name, value) in &behaviours.0 {
            self.account.server.set_behaviour(name, value).unwrap();
        }
    }

    fn change(&self, change: &Mutation) {
        let contacts = self.replica.states.get(&"contact".into());
        if change.lists > 0 && contacts.is_some_and(|state| state.get("fields").is_some()) {
            self.account.change_custom_fields();
        }
        self.account.server.mutate(change);
    }

    fn config(&self, plan: &RunPlan) -> TapConfig {
        let end_date = plan.end_date.filter(|end| *end > self.case.start_date);
        TapConfig {
            start_date: Some(self.case.start_date),
            end_date,
            concurrency: plan.concurrency,
            page_size: plan.page_size,
            as_lines: plan.as_lines,
            activity_id: self.case.activity_id,
            activity_lookback_days: self.case.lookback_days,
            settle_seconds: self.case.settle_seconds,
            ..self.account.config()
        }
    }

    async fn run(&mut self, plan: &RunPlan) {
        self.tally.count(&plan.behaviours);
        self.set(&plan.behaviours);
        let (ended, cut) = self.extract(self.config(plan), plan).await;
        // A session that grows old before its first answer can't be told from a bad request if the code is 107.
        let is_misleading = plan.behaviours.get("stale_session_code") == Some("107")
            && plan.meanwhile.iter().any(|(_, change)| change.advance_seconds > 0);
        let is_hostile = plan.behaviours.are_hostile() || is_misleading;
        let ending = match (&ended, cut) {
            (_, Some(Next::Kill)) => "killed",
            (Ok(outcome), _) if !outcome.failed.is_empty() => {
                // Lists that change in every pass are never known to be whole.
                let keeps_lists = plan.behaviours.get("remove_lists_between_pages") == Some("0");
                for (stream, error) in &outcome.failed {
                    let is_excused = stream.as_str() == "list" && !keeps_lists;
                    assert_justified(stream.as_str(), error, is_hostile || is_excused);
                }
                "failed"
            }
            (Ok(ExtractOutcome { interrupted: true, .. }), Some(Next::Stop)) => "stopped",
            (Ok(ExtractOutcome { interrupted, .. }), _) => {
                assert!(!interrupted, "interrupted by nobody");
                "whole"
            }
            (Err(error), _) => {
                assert_justified("the run", error, is_hostile);
                "failed"
            }
        };
        *self.tally.endings.entry(ending).or_default() += 1;
        self.replica.end_run(ending == "whole" || plan.keeps_rest);
        self.tally.count_change("after a run", &plan.afterwards);
        self.change(&plan.afterwards);
    }

    /// The last run: nothing fails, nothing changes meanwhile, everything has settled and arrived.
    async fn finish(&mut self) {
        let last = self.case.runs.last().expect("a case has runs");
        let behaviours = last.behaviours.calm();
        self.set(&behaviours);
        self.account.server.advance_seconds(25 * 3_600);
        let plan = RunPlan {
            behaviours,
            concurrency: last.concurrency,
            page_size: last.page_size,
            as_lines: !last.as_lines,
            end_date: None,
            cut: None,
            keeps_rest: true,
            meanwhile: Vec::new(),
            afterwards: Mutation::default(),
        };
        let (ended, _) = self.extract(self.config(&plan), &plan).await;
        let outcome = ended.unwrap();
        assert!(outcome.failed.is_empty() && !outcome.interrupted, "{outcome:?}");
        self.replica.end_run(true);
        for (stream, _) in TABLES {
            self.replica.assert_equals(stream, &truth_of(self.case, &self.account, stream));
        }
    }

    /// Extracts into the replica, disturbed and cut as planned. Answers how it was cut, if it came to that.
    async fn extract(
        &mut self,
        config: TapConfig,
        plan: &RunPlan,
    ) -> (Result<ExtractOutcome, SourceError>, Option<Next>) {
        let Self { case, account, replica, tally } = self;
        let states = replica.states.clone();
        let mut due = Due::at_start(case, account, replica);
        let mut was_cut = None;
        let mut events = 0;
        let watch = |event: Event| {
            events += 1;
            for (_, change) in plan.meanwhile.iter().filter(|(after, _)| *after == events) {
                account.server.mutate(change);
                tally.count_change("during a run", change);
            }
            let kind = kind_of(&event);
            if let Event::Gap(gap) = &event {
                assert_real(gap, account.server.now());
            }
            let bookmarked = match &event {
                Event::Bookmark(bookmark) => bookmark.stream.clone(),
                _ => None,
            };
            if let Event::Batch(batch) = &event
                && batch.rows.num_rows() > 0
            {
                let is_lines = tap_bronto::lines::in_batch(&batch.rows).is_some();
                let form = if is_lines { "lines" } else { "columns" };
                *tally.forms.entry(form).or_default() += batch.rows.num_rows() as u64;
            }
            replica.take(event);
            if let Some(stream) = bookmarked {
                due.assert_held(stream.as_str(), case, account, replica);
            }
            match plan.cut {
                Some((after, next)) if after == events => {
                    was_cut = Some(next);
                    *tally.cuts.entry(kind).or_default() += 1;
                    next
                }
                _ => Next::GoOn,
            }
        };
        let ended = account.drive(config, &states, watch).await;
        (ended, was_cut)
    }
}

fn kind_of(event: &Event) -> &'static str {
    match event {
        Event::Batch(_) => "rows",
        Event::Bookmark(_) | Event::Bookmarks(_) => "a bookmark",
        Event::Retract { .. } => "a retraction",
        Event::Gap(_) => "a gap",
        Event::BeginVersion { .. } | Event::ActivateVersion { .. } => "a version",
        Event::Schema(_) => "a schema",
    }
}

/// A run may only fail where calls do.
fn assert_justified(what: &str, error: &SourceError, is_hostile: bool) {
    let is_justified = is_hostile && error.kind != SourceErrorKind::Bug;
    assert!(is_justified, "{what} failed without need: {error:?}");
}

/// Only activities older than thirty days can't be read.
fn assert_real(gap: &Gap, now: DateTime<Utc>) {
    let is_activity = gap.stream.as_str().ends_with("activity");
    let is_old = gap.to <= now - TimeDelta::days(30) + TimeDelta::seconds(61);
    assert!(is_activity && is_old && gap.from < gap.to, "{gap:?} at {now}");
}
