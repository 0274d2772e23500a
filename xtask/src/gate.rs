//! The gate: everything that has to hold before a change goes in, in the order in which failures cost least to find.
//!
//! Lints and documentation share one build (`check`, unoptimised), programs and tests the other (`build`, unoptimised), so
//! that nothing is compiled a third time.

mod tree;

use std::{
    iter,
    time::{Duration, Instant},
};

use crate::{
    cargo_deny,
    failure::Failure,
    process,
    setup::{self, Extent, Talk},
    workspace::Workspace,
};

/// One thing that the gate checks.
pub(crate) struct Step {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    /// What it does, for the person who watches.
    purpose: &'static str,
    /// What has to be set up for it.
    needs: Option<Extent>,
    run: fn(&Workspace) -> Result<(), Failure>,
}

/// All steps, in their order. The tests come last, so that what a run ends on is their tally.
pub(crate) const STEPS: [Step; 8] = [
    Step { name: "tree", purpose: "Rules for files", needs: None, run: tree::check },
    Step {
        name: "fmt",
        purpose: "Formatting",
        needs: None,
        run: |workspace| cargo(workspace, &["fmt", "--all", "--check"]),
    },
    Step {
        name: "deny",
        purpose: "Licences, bans and sources",
        needs: None,
        run: cargo_deny::check_offline,
    },
    Step { name: "clippy", purpose: "Lints", needs: Some(Extent::Build), run: clippy },
    Step {
        name: "docs",
        purpose: "Documentation without warnings",
        needs: Some(Extent::Build),
        run: docs,
    },
    Step { name: "build", purpose: "Programs and tests", needs: Some(Extent::Build), run: build },
    Step {
        name: "doctests",
        purpose: "Examples in the documentation",
        needs: Some(Extent::Build),
        run: doctests,
    },
    Step { name: "tests", purpose: "Tests", needs: Some(Extent::Tests), run: tests },
];

/// Sets up what the steps need and runs them, until one fails.
pub(crate) fn run(workspace: &Workspace, steps: &[&Step]) -> Result<(), Failure> {
    let start = Instant::now();
    let mut times = Vec::new();
    if let Some(extent) = steps.iter().filter_map(|step| step.needs).max() {
        announce("setup", "What the steps need");
        setup::run(workspace, extent, Talk::Everything)?;
        finish(&mut times, "setup", start);
    }
    for step in steps {
        announce(step.name, step.purpose);
        let begun = Instant::now();
        (step.run)(workspace).map_err(|failure| {
            eprint!("{}", summary(&times, Some(step.name), start.elapsed()));
            Failure::new(format!("Step `{}` failed", step.name))
                .because(failure)
                .remedy(format!("`cargo xtask check --only {}` repeats this step alone", step.name))
        })?;
        finish(&mut times, step.name, begun);
    }
    eprint!("{}", summary(&times, None, start.elapsed()));
    Ok(())
}

fn announce(name: &str, purpose: &str) {
    eprintln!("\n== {name}: {purpose}");
}

fn finish(times: &mut Vec<(&'static str, Duration)>, name: &'static str, begun: Instant) {
    let time = begun.elapsed();
    eprintln!("== {name}: passed in {:.1} s", time.as_secs_f64());
    times.push((name, time));
}

/// The table at the end: every step that ran with its time, and how it ended.
fn summary(passed: &[(&str, Duration)], failed: Option<&str>, total: Duration) -> String {
    let seconds = |time: Duration| format!("{:8.1} s", time.as_secs_f64());
    let passed =
        passed.iter().map(|(name, time)| format!("  {name:<10} passed {}\n", seconds(*time)));
    let failed = failed.map(|name| format!("  {name:<10} FAILED\n"));
    let total = format!("  {:<10}        {}\n", "total", seconds(total));
    iter::once("\n".to_owned()).chain(passed).chain(failed).chain([total]).collect()
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    process::run(workspace.cargo().args(arguments))
}

fn clippy(workspace: &Workspace) -> Result<(), Failure> {
    cargo(
        workspace,
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"],
    )
}

fn docs(workspace: &Workspace) -> Result<(), Failure> {
    let mut doc = workspace.cargo();
    doc.env("RUSTDOCFLAGS", "--deny warnings").args([
        "doc",
        "--workspace",
        "--no-deps",
        "--locked",
    ]);
    process::run(&mut doc)
}

fn build(workspace: &Workspace) -> Result<(), Failure> {
    cargo(workspace, &["build", "--workspace", "--all-targets", "--locked"])
}

fn doctests(workspace: &Workspace) -> Result<(), Failure> {
    cargo(workspace, &["test", "--workspace", "--doc", "--locked"])
}

/// The tests, by nextest where it is installed (one process per test, so one that hangs or aborts is named). The tests
/// that go from program to program take the programs as the build step left them, so that comes first.
fn tests(workspace: &Workspace) -> Result<(), Failure> {
    build(workspace)?;
    if process::on_path("cargo-nextest").is_some() {
        cargo(workspace, &["nextest", "run", "--workspace", "--all-targets", "--locked"])
    } else {
        cargo(workspace, &["test", "--workspace", "--all-targets", "--locked"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_lists_times_and_the_step_that_failed() {
        let passed = [("setup", Duration::from_millis(120)), ("fmt", Duration::from_millis(1_949))];
        assert_eq!(
            summary(&passed, Some("clippy"), Duration::from_secs(83)),
            "\n  setup      passed      0.1 s\n  fmt        passed      1.9 s\n  clippy     FAILED\n  total                 83.0 s\n"
        );
    }
}
