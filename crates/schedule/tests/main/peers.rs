//! The starts of random expressions against cronsim, which was written by others, on what both dialects have.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use schedule::CronExpression;
use serde_json::json;

use crate::{
    at,
    model::{DayRule, Expression, daily_expression, expression},
};

/// An expression, where and from when it is asked for.
struct Case {
    expression: String,
    foreign: String,
    zone: Tz,
    after: DateTime<Utc>,
    count: usize,
}

/// The expression in cronsim's dialect, if it has it: five fields, days of the week from 0, no `L-3` and no `15W`; ranges
/// that wrap are none there either.
fn foreign(expression: &Expression) -> Option<String> {
    let number = |value: u32| value.to_string();
    let weekday = |day: u32| (day - 1).to_string();
    let (of_month, of_week) = match &expression.days {
        DayRule::OfMonth(days) => (days.text(number), "*".to_owned()),
        DayRule::Last { before: 0, working } => {
            (if *working { "LW" } else { "L" }.to_owned(), "*".to_owned())
        }
        DayRule::Last { .. } | DayRule::Nearest(_) => return None,
        DayRule::OfWeek(days) => ("*".to_owned(), days.text(weekday)),
        DayRule::LastOfWeek(day) => ("*".to_owned(), format!("{}L", weekday(*day))),
        DayRule::Nth(day, which) => ("*".to_owned(), format!("{}#{which}", weekday(*day))),
    };
    let lists =
        [&expression.minutes, &expression.hours, &expression.months].map(|list| list.text(number));
    let [minutes, hours, months] = &lists;
    // A range of one value with a step goes on to the end there.
    let wraps = |text: &String| {
        let ranges = text.split(',').filter_map(|item| item.split('/').next()?.split_once('-'));
        let number = |text: &str| text.parse::<u32>().unwrap_or_default();
        ranges.into_iter().any(|(first, last)| number(first) >= number(last))
    };
    // There, 0 and 7 are both Sunday, so steps through the week differ.
    let usable =
        !lists.iter().any(wraps) && !wraps(&of_month) && !wraps(&of_week) && !of_week.contains('/');
    usable.then(|| format!("{minutes} {hours} {of_month} {months} {of_week}"))
}

fn sample(count: usize) -> Vec<Case> {
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let mut draw =
        |strategy: &BoxedStrategy<Expression>| strategy.new_tree(&mut runner).unwrap().current();
    let (any, daily) = (expression().boxed(), daily_expression().boxed());
    let mut cases = Vec::new();
    for turn in 0.. {
        if cases.len() == count {
            break;
        }
        let is_zoned = turn % 2 == 0;
        let expression = draw(if is_zoned { &daily } else { &any });
        let Some(foreign) = foreign(&expression) else { continue };
        let (zone, after) = match turn % 6 {
            0 => (Tz::Europe__Berlin, "2026-03-28 22:10"),
            2 => (Tz::Europe__Berlin, "2026-10-24 22:10"),
            4 => (Tz::America__New_York, "2026-11-01 03:50"),
            _ => (Tz::UTC, "2026-11-24 11:59"),
        };
        // Debian's cron takes an expression for one of hours by how it begins, we by what it says.
        let stars = foreign.starts_with('*')
            || foreign.split(' ').nth(1).is_some_and(|hours| hours.starts_with('*'));
        if is_zoned && stars != expression.hours.is_all() {
            continue;
        }
        let after = at(after) + TimeDelta::days(i64::from(!is_zoned) * turn);
        // An expression that never is due takes cronsim long, and has no answer.
        let next = CronExpression::parse(&expression.text()).unwrap().next_after(after, zone);
        if next.is_some_and(|next| next - after < TimeDelta::days(9_000)) {
            cases.push(Case { expression: expression.text(), foreign, zone, after, count: 40 });
        }
    }
    cases
}

/// cronsim's answers, in the order of the cases.
fn ask(cases: &[Case]) -> Vec<Vec<i64>> {
    let folder = std::env::var_os("BACKSTITCH_PEERS").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers"),
        PathBuf::from,
    );
    let python = folder.join("cronsim/bin/python");
    assert!(
        python.exists(),
        "The peer `cronsim` is not at `{}`: run `cargo xtask setup --tests`",
        python.display()
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/next_starts.py");
    let mut child = Command::new(python)
        .arg(script)
        .env_remove("PYTHONPATH")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: String = cases
        .iter()
        .map(|case| {
            let (zone, after) = (case.zone.name(), case.after.timestamp());
            format!(
                "{}\n",
                json!({ "cron": case.foreign, "zone": zone, "after": after, "count": case.count })
            )
        })
        .collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn cronsim_finds_the_same_starts() {
    let cases = sample(400);
    let answers = ask(&cases);
    assert_eq!(answers.len(), cases.len());
    for (case, mut expected) in cases.iter().zip(answers) {
        // Times that a change leaves out come several times there, all at the moment after it.
        expected.dedup();
        let cron = CronExpression::parse(&case.expression).unwrap();
        let next = |after: &DateTime<Utc>| cron.next_after(*after, case.zone);
        let found: Vec<i64> = std::iter::successors(next(&case.after), next)
            .map(|start| start.timestamp())
            .take(expected.len())
            .collect();
        assert_eq!(found, expected, "`{}` (`{}`) in {}", case.expression, case.foreign, case.zone);
    }
    let zoned = cases.iter().filter(|case| case.zone != Tz::UTC).count();
    assert!((100..300).contains(&zoned), "{zoned}");
}
