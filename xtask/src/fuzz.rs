//! `cargo xtask fuzz`: random input for everything that reads what others wrote.
//!
//! The targets and what has to hold for them are in `fuzz/`, which is no part of the workspace: it wants nightly and a
//! sanitiser. What fuzzing finds worth keeping gathers in the target folder; `fuzz/corpus` holds only what people put
//! there, and ordinary tests run it too.

use std::{fs, path::Path};

use crate::{failure::Failure, process, workspace::Workspace};

/// How long one target is fuzzed unless told otherwise.
pub(crate) const SECONDS: u32 = 60;

/// The longest input, in bytes, and the longest time for one.
const LIMITS: [&str; 2] = ["-max_len=16384", "-timeout=20"];

/// Fuzzes the target, or all of them one after the other, for so many seconds each.
pub(crate) fn run(
    workspace: &Workspace,
    target: Option<&str>,
    seconds: u32,
) -> Result<(), Failure> {
    let folder = workspace.root().join("fuzz");
    let known = targets(&folder)?;
    let wanted = match target {
        None => known,
        Some(name) if known.iter().any(|target| target == name) => vec![name.to_owned()],
        Some(name) => {
            let remedy = format!("The targets are {}", known.join(", "));
            return Err(Failure::new(format!("There is no target `{name}`")).remedy(remedy));
        }
    };
    if process::on_path("cargo-fuzz").is_none() {
        return Err(Failure::new("`cargo-fuzz` is not installed").remedy(
            "Install it with `cargo install cargo-fuzz --locked`, and nightly with `rustup toolchain install nightly`",
        ));
    }
    for name in wanted {
        eprintln!("\n== fuzz {name}: {seconds} s");
        let found = folder.join("target/corpus").join(&name);
        fs::create_dir_all(&found)
            .map_err(|error| Failure::file("Could not make", &found, error))?;
        // Not the cargo that runs us: that one is of the pinned toolchain.
        let mut cargo = std::process::Command::new("cargo");
        cargo.current_dir(&folder).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
        cargo.args(["+nightly", "fuzz", "run", &name]);
        cargo.arg(&found).arg(Path::new("corpus").join(&name));
        cargo.args(["--", &format!("-max_total_time={seconds}"), "-print_final_stats=1"]);
        process::run(cargo.args(LIMITS)).map_err(|failure| {
            failure.remedy(format!(
                "`fuzz/artifacts/{name}` holds the input; repeat it with `cd fuzz && cargo +nightly fuzz run {name} FILE`"
            ))
        })?;
    }
    Ok(())
}

/// The names of the targets, in order.
fn targets(folder: &Path) -> Result<Vec<String>, Failure> {
    let sources = folder.join("fuzz_targets");
    let unreadable = |error| Failure::file("Could not read", &sources, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(&sources).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_property_and_a_corpus() -> Result<(), Failure> {
        let folder = Workspace::of_this_program()?.root().join("fuzz");
        let names = targets(&folder)?;
        assert!(!names.is_empty());
        for name in names {
            assert!(folder.join("properties").join(format!("{name}.rs")).is_file(), "{name}");
            assert!(folder.join("corpus").join(&name).is_dir(), "{name}");
        }
        Ok(())
    }
}
