//! The bars that loading is held against, from what was measured.

use crate::growth;
use crate::results::{
    Bar::{AtLeast, AtMost},
    Results, Step, head_of_bars, hold,
    step::{CHANGES, EVERYTHING},
    who::{
        BINARY_FLOOR, CSV_FLOOR, DLT, KEYLESS_COPY, MELTANO, NATIVE_DUCKDB, NATIVE_POSTGRES,
        OUR_CHAIN, OURS_DUCKDB, OURS_POSTGRES, PIPELINEWISE, READ_JSON, TARGET_DUCKDB, THEIR_CHAIN,
    },
};

/// Prints the bars of a comparison: those of which both sides were measured.
pub(crate) fn of_comparison(results: &Results) {
    let ratio = |over: (&str, &str), under: (&str, &str), of: fn(&Step) -> f64| {
        Some(of(results.find(over.0, over.1)?) / of(results.find(under.0, under.1)?).max(0.01))
    };
    let client: fn(&Step) -> f64 = |step| step.cost.processor;
    let wall: fn(&Step) -> f64 = |step| step.cost.wall;
    let best = |others: [&str; 2], ours: &str, of| {
        let ratios = others.map(|other| ratio((other, EVERYTHING), (ours, EVERYTHING), of));
        ratios.into_iter().flatten().reduce(f64::min)
    };
    head_of_bars();
    let targets = [PIPELINEWISE, MELTANO];
    let times = "PostgreSQL from Singer JSON, times less CPU than the best target";
    hold(&format!("{times}: total"), AtLeast(6.0), best(targets, OURS_POSTGRES, Step::total));
    hold(&format!("{times}: client"), AtLeast(12.0), best(targets, OURS_POSTGRES, client));
    hold(
        "DuckDB from Singer JSON, times less CPU than the better of target-duckdb and dlt",
        AtLeast(8.0),
        best([TARGET_DUCKDB, DLT], OURS_DUCKDB, client),
    );
    let against = |figure: &str, bar, ours: &str, floor: &str, step: &str, of| {
        hold(figure, bar, ratio((ours, step), (floor, step), of));
    };
    let figure = "DuckDB from Singer JSON, CPU against `read_json` and a merge";
    against(figure, AtMost(1.5), OURS_DUCKDB, READ_JSON, EVERYTHING, client);
    let figure = "native path, PostgreSQL, against CSV and SQL";
    let total = Step::total;
    for (what, of) in [("wall", wall), ("CPU", total)] {
        let figure = format!("{figure}: {what}");
        against(&figure, AtMost(0.8), NATIVE_POSTGRES, CSV_FLOOR, EVERYTHING, of);
    }
    let figure = "native path, PostgreSQL, CPU against ready-made binary and SQL";
    against(figure, AtMost(1.15), NATIVE_POSTGRES, BINARY_FLOOR, EVERYTHING, total);
    let figure = "native path, DuckDB, CPU against `copy` of CSV without a key";
    against(figure, AtMost(1.2), NATIVE_DUCKDB, KEYLESS_COPY, EVERYTHING, client);
    let figure = "changes of a fifth, PostgreSQL, CPU against CSV and SQL";
    against(figure, AtMost(1.0), OURS_POSTGRES, CSV_FLOOR, CHANGES, total);
    let figure = "changes of a fifth, DuckDB, CPU against `read_json` and a merge";
    against(figure, AtMost(1.5), OURS_DUCKDB, READ_JSON, CHANGES, client);
    hold(
        "from the simulated account to PostgreSQL, times less client CPU",
        AtLeast(40.0),
        ratio((THEIR_CHAIN, EVERYTHING), (OUR_CHAIN, EVERYTHING), client),
    );
}

/// Prints the bars of growing tables.
pub(crate) fn of_memory(results: &Results, sizes: &[u32]) {
    head_of_bars();
    for (who, limit) in [(OURS_POSTGRES, 96.0), (OURS_DUCKDB, 384.0)] {
        let peak = |step: String| results.find(who, &step).map(|done| done.cost.peak_mib);
        let steps: [fn(u32) -> String; 2] = [growth::inserts, growth::changes];
        for step in steps {
            for &rows in sizes {
                hold(&format!("{who}, peak MiB: {}", step(rows)), AtMost(limit), peak(step(rows)));
            }
            let peaks = sizes.iter().filter_map(|&rows| peak(step(rows)));
            let (least, most) = peaks
                .fold((f64::MAX, 0.0_f64), |(least, most), peak| (least.min(peak), most.max(peak)));
            if sizes.len() > 1 {
                hold(
                    &format!("{who}, the greater of these peaks against the lesser"),
                    AtMost(1.25),
                    Some(most / least),
                );
            }
        }
        for &rows in sizes {
            let step = growth::increment(rows);
            let total = results.find(who, &step).map(Step::total);
            hold(&format!("{who}, CPU s: {step}"), AtMost(1.0), total);
        }
    }
}
