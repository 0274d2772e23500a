#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

use proptest::prelude::*;

use super::*;

const SIZING: Sizing = Sizing {
    first: TimeDelta::days(1),
    shortest: TimeDelta::hours(1),
    longest: TimeDelta::days(90),
    least_pages: 2,
};
const AIM: u64 = 4_000;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Lays and completes windows one after another, each with as many rows as `rows` says.
fn in_turn(planner: &mut Planner, rows: impl Fn(Window) -> u64) -> Vec<u64> {
    let mut counts = Vec::new();
    while let Some(laid) = planner.next(1) {
        let rows = rows(laid.window);
        counts.push(rows);
        planner.complete(laid.window, rows);
    }
    counts
}

fn year() -> Planner {
    Planner::new(at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), SIZING, AIM)
}

#[test]
fn an_idle_year_takes_few_windows_and_one_worker() {
    let mut planner = year();
    assert!(in_turn(&mut planner, |_| 0).len() <= 8);
    assert!(!planner.is_dense());
    assert_eq!((planner.reached(), planner.fraction()), (at("2026-01-01T00:00:00Z"), 1.0));
}

#[test]
fn a_busy_year_settles_near_the_target() {
    // 1,000 rows an hour.
    let hourly = |window: Window| window.length().num_hours().unsigned_abs() * 1_000;
    let mut planner = year();
    let mut counts = in_turn(&mut planner, hourly);
    counts.pop();
    let settled = counts.iter().skip(2).all(|rows| *rows == 4_000);
    assert!(settled && planner.is_dense(), "{:?}", counts.get(..20));
}

#[test]
fn windows_complete_in_any_order_and_what_is_reached_is_contiguous() {
    let mut planner = year();
    let [first, second, third] = [0; 3].map(|_| planner.next(1).unwrap().window);
    planner.complete(third, 0);
    planner.complete(second, 4_000);
    assert_eq!(planner.reached(), first.from());
    assert_eq!(planner.open().collect::<Vec<_>>(), [first]);
    planner.complete(first, 0);
    assert_eq!(planner.reached(), third.before());
    // The third one's rows are the measure, for it lies nearest to what comes.
    assert_eq!(planner.next(1).unwrap().window.length(), TimeDelta::days(4));
}

#[test]
fn windows_get_shorter_towards_the_end_if_several_share_the_range() {
    // 1,000 rows an hour, which makes pages of five hours.
    let hourly = |window: Window| window.length().num_hours().unsigned_abs() * 1_000;
    let lengths = |workers: usize| {
        let (from, upper) = (at("2025-01-01T00:00:00Z"), at("2025-01-11T00:00:00Z"));
        let mut planner = Planner::new(from, upper, SIZING, aim(PAGE_ROWS as u64, 8));
        let mut hours = Vec::new();
        while let Some(laid) = planner.next(workers) {
            planner.measure(laid.window, hourly(laid.window));
            hours.push(laid.window.length().num_hours());
            planner.complete(laid.window, hourly(laid.window));
        }
        hours
    };
    assert_eq!(lengths(1), [24, 32, 32, 32, 32, 32, 32, 24]);
    // A third of what is left, but two pages at least, and no window for a little rest.
    assert_eq!(lengths(3), [24, 32, 32, 32, 32, 29, 19, 13, 10, 10, 6]);
}

#[test]
fn what_is_left_is_known_by_what_was_read_and_shared_by_those_who_read() {
    let mut planner = year();
    assert_eq!(planner.left(), 0);
    let first = planner.next(1).unwrap().window;
    assert_eq!(planner.left(), 0);
    planner.measure(first, 10_000);
    assert_eq!(planner.left(), 364 * 2);
    let second = planner.next(1).unwrap();
    assert!(!second.is_last);
    assert_eq!(planner.left(), (364 * 24 - second.window.length().num_hours().unsigned_abs()) / 24);
    let (from, upper) = (at("2025-01-01T00:00:00Z"), at("2025-01-02T00:00:00Z"));
    let mut planner = Planner::new(from, upper, SIZING, AIM);
    let all = planner.next(4).unwrap();
    assert!(all.is_last);
    planner.cut(all.window, 4, 40_000);
    let pieces: Vec<_> = std::iter::from_fn(|| planner.next(4)).collect();
    assert!(pieces.iter().all(|laid| laid.expected_pages == 3), "{pieces:?}");
    assert_eq!(
        pieces.iter().map(|laid| laid.is_last).collect::<Vec<_>>(),
        [false, false, false, true]
    );
}

#[test]
fn what_is_foreseen_of_an_open_window_is_a_measure() {
    let mut planner = year();
    let first = planner.next(4).unwrap().window;
    planner.measure(first, 8_000);
    assert!(planner.is_dense());
    assert_eq!(planner.next(4).unwrap().window.length(), TimeDelta::hours(12));
    assert_eq!(planner.reached(), first.from());
}

#[test]
fn a_window_can_be_cut_down_to_a_second() {
    let mut planner =
        Planner::new(at("2025-01-01T00:00:00Z"), at("2025-01-01T00:01:00Z"), SIZING, AIM);
    let mut laid = planner.next(1).unwrap();
    assert_eq!(laid.window.to_string(), "2025-01-01T00:00:00Z to 2025-01-01T00:01:00Z");
    let mut cuts = 0;
    while laid.is_divisible {
        assert!(planner.cut(laid.window, CUT, 0));
        laid = planner.next(1).unwrap();
        cuts += 1;
    }
    assert!(cuts < 4);
    assert_eq!(laid.window.to_string(), "2025-01-01T00:00:00Z to 2025-01-01T00:00:01Z");
    assert!(!planner.cut(laid.window, CUT, 0));
}

#[test]
fn a_window_never_ends_within_a_second() {
    let sizing = Sizing { shortest: TimeDelta::minutes(1), ..SIZING };
    let (from, upper) = (at("2025-01-01T00:00:00Z"), at("2025-01-01T01:00:00Z"));
    let mut planner =
        Planner::new(from, upper, Sizing { first: TimeDelta::seconds(243), ..sizing }, AIM);
    let laid = planner.next(1).unwrap();
    planner.complete(laid.window, 1_000_000);
    assert_eq!(
        planner.next(1).unwrap().window.to_string(),
        "2025-01-01T00:04:03Z to 2025-01-01T00:05:03Z"
    );
}

#[test]
fn windows_of_a_server_that_returns_days_begin_where_its_days_do() {
    let (from, upper) = (at("2025-03-01T12:00:00Z"), at("2025-03-20T00:00:00Z"));
    let sizing = Sizing { first: TimeDelta::hours(3), longest: TimeDelta::days(3), ..SIZING };
    let mut planner = Planner::new(from, upper, sizing, AIM);
    // The server's zone is New York, where the offset changes on 9 March.
    let day_start = |from: DateTime<Utc>| {
        let change = at("2025-03-09T07:00:00Z");
        let begin = if from < change { 5 * 3_600 } else { 4 * 3_600 };
        ServerDays { begin }.boundary(from - TimeDelta::days(1), from)
    };
    let (mut asked, mut read) = (0, 0);
    while let Some(laid) = planner.next(1) {
        let start = day_start(laid.window.from());
        asked += laid.window.length().num_seconds();
        read += (laid.window.before() - start).num_seconds();
        let early = start + TimeDelta::minutes(4);
        if early < laid.window.from() {
            planner.note_days(laid.window, early);
        }
        planner.complete(laid.window, 3_000);
    }
    assert!(read * 10 < asked * 12, "{asked} seconds asked for, {read} read");
}

proptest! {
    #[test]
    fn windows_adjoin_and_cover_the_range(
        start in 0_i64..2_000_000_000,
        length in 0_i64..100_000_000,
        steps in prop::collection::vec((0_usize..5, 0_u64..50_000, 0_u32..6, any::<u16>()), 1..60),
    ) {
        let from = DateTime::from_timestamp(start, 0).unwrap();
        let upper = DateTime::from_timestamp(start + length, 0).unwrap();
        let mut planner = Planner::new(from, upper, SIZING, AIM);
        let mut open = Vec::new();
        let mut complete = Vec::new();
        for (workers, rows, kind, earlier) in steps {
            while open.len() <= workers {
                let Some(laid) = planner.next(workers) else { break };
                prop_assert!(laid.window.from() < laid.window.before());
                open.push(laid);
            }
            if open.is_empty() {
                break;
            }
            let laid: Laid = open.swap_remove(rows as usize % open.len());
            if kind == 0 {
                planner.note_days(laid.window, laid.window.from() - TimeDelta::seconds(i64::from(earlier)));
            }
            if kind == 2 {
                planner.measure(laid.window, rows / 2);
            }
            if kind == 1 && laid.is_divisible {
                planner.cut(laid.window, CUT, 0);
            } else {
                planner.complete(laid.window, rows);
                complete.push(laid.window);
            }
            complete.sort_by_key(|window| window.from());
            let mut reached = from;
            for window in &complete {
                prop_assert!(window.from() >= reached || window.before() <= reached);
                if window.from() == reached {
                    reached = window.before();
                }
            }
            prop_assert_eq!(planner.reached(), reached);
        }
    }

    #[test]
    fn floor_and_ceiling_are_whole_seconds_around(nanos in any::<i64>()) {
        let instant = DateTime::from_timestamp_nanos(nanos);
        let (floor, ceiling) = (floor(instant), ceiling(instant));
        prop_assert!(floor <= instant && instant <= ceiling && ceiling - floor <= TimeDelta::seconds(1));
        prop_assert_eq!((floor.timestamp_subsec_nanos(), ceiling.timestamp_subsec_nanos()), (0, 0));
    }
}
