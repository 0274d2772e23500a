//! `cargo xtask soak` and `cargo xtask bench`: what takes too long for the gate, each by one command that needs no
//! preparation.

use crate::{failure::Failure, process, workspace::Workspace};

/// Plays random cases of extraction against the simulated server, and reports what they met.
///
/// It is the test that the gate runs too, with more cases and its report shown.
pub(crate) fn soak_extract(workspace: &Workspace, cases: u64, seed: u64) -> Result<(), Failure> {
    let mut test = workspace.cargo();
    test.args(["test", "--quiet", "--locked", "--package", "tap-bronto", "--test", "main", "--"]);
    test.args(["--exact", "seeded::rows_are_the_accounts_whatever_happens", "--nocapture"]);
    test.env("BACKSTITCH_SOAK_CASES", cases.to_string());
    test.env("BACKSTITCH_SOAK_SEED", seed.to_string());
    process::run(&mut test).map_err(|failure| {
        failure.remedy("`cargo xtask soak extract --cases 1 --seed SEED` plays one case again")
    })
}

/// Kills the service so many times, at moments spread over its runs, for each kind of destination.
///
/// They are the tests that the gate runs too, with more kills.
pub(crate) fn soak_service(workspace: &Workspace, kills: u64) -> Result<(), Failure> {
    let mut test = workspace.cargo();
    test.args(["test", "--quiet", "--locked", "--package", "backstitch", "--test", "main", "--"]);
    test.args(["serving_kills::kills_at_any_moment", "--nocapture"]);
    test.env("BACKSTITCH_SERVICE_KILLS", kills.to_string());
    process::run(&mut test)
}

/// What one benchmark is called, and where it is.
pub(crate) struct Benchmark {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    package: &'static str,
    target: &'static str,
}

/// All benchmarks.
pub(crate) const BENCHMARKS: [Benchmark; 3] = [
    Benchmark { name: "extract", package: "tap-bronto", target: "extract" },
    Benchmark { name: "load", package: "backstitch", target: "load" },
    Benchmark { name: "service", package: "backstitch", target: "service" },
];

impl Benchmark {
    /// Runs it; its arguments are its own. It prints Markdown.
    pub(crate) fn run(&self, workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
        let mut bench = workspace.cargo();
        bench.args(["bench", "--quiet", "--locked", "--package", self.package]);
        bench.args(["--bench", self.target, "--"]).args(arguments);
        process::run(&mut bench)
    }
}
