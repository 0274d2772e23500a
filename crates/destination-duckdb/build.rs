//! Puts the prebuilt DuckDB library beside the binaries and tells the linker to look for it there, so that programs
//! and tests run from any target folder without `LD_LIBRARY_PATH`.

use std::{env, error::Error, fs, path::Path, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=DUCKDB_LIB_DIR");
    let library_dir = env::var("DUCKDB_LIB_DIR").unwrap_or_default();
    let source = Path::new(&library_dir).join("libduckdb.so");
    let source = fs::canonicalize(&source).map_err(|error| {
        format!(
            "The DuckDB library `{}` is missing ({error}); run `cargo xtask setup`",
            source.display()
        )
    })?;
    println!("cargo::rerun-if-changed={}", source.display());
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let profile = out.ancestors().nth(3).ok_or("OUT_DIR is not inside a target folder")?;
    let copy = profile.join("libduckdb.so");
    // Written under another name first: a test that starts meanwhile sees the old copy or the new one, never a part.
    let partial = profile.join(format!("libduckdb.so.{}", std::process::id()));
    if fs::hard_link(&source, &partial).is_err() {
        fs::copy(&source, &partial)?;
    }
    fs::rename(&partial, &copy)?;
    println!("cargo::rustc-link-search=native={}", profile.display());
    for path in ["$ORIGIN", "$ORIGIN/..", "$ORIGIN/../lib"] {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{path}");
    }
    Ok(())
}
