//! Where things are: the root of the workspace, its target folder, its tools.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{failure::Failure, json_text, process};

/// The work tree this program was built from.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace whose `xtask` this is.
    pub(crate) fn of_this_program() -> Result<Self, Failure> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root =
            package.parent().ok_or_else(|| Failure::new("The folder `xtask` has no parent"))?;
        if !root.join("Cargo.toml").is_file() {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            return Err(Failure::file("Could not find the workspace", root, missing).remedy(
                "Start the program as `cargo xtask` in the folder that holds the workspace now",
            ));
        }
        Ok(Self { root: root.to_owned() })
    }

    /// The folder that holds `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder for libraries fetched at set-up.
    pub(crate) fn dependencies(&self) -> PathBuf {
        self.root.join(".deps")
    }

    /// The folder cargo builds into, wherever the environment or a configuration file puts it.
    pub(crate) fn target(&self) -> Result<PathBuf, Failure> {
        let mut metadata = self.cargo();
        metadata.args(["metadata", "--no-deps", "--locked", "--format-version", "1"]);
        let answer = process::output(&mut metadata)?;
        json_text::string_value(&answer, "target_directory")
            .map(PathBuf::from)
            .ok_or_else(|| Failure::new("`cargo metadata` did not name the target folder"))
    }

    /// The folder that the user's environment names for the DuckDB library. Cargo runs this program with the default of
    /// `.cargo/config.toml`, which is the folder that set-up fills; any other is the user's own.
    pub(crate) fn own_duckdb_library(&self) -> Option<PathBuf> {
        let named = PathBuf::from(env::var_os("DUCKDB_LIB_DIR")?);
        (named != self.dependencies().join("duckdb")).then_some(named)
    }

    /// Cargo, of the toolchain that runs this program, in the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        cargo
    }
}
