//! The prebuilt DuckDB library.
//!
//! DuckDB takes the better part of an hour to compile. Its makers publish the finished library for their Node binding,
//! with the ICU, JSON and Parquet extensions inside; it is fetched from there with the npm client, by exact version, and
//! held against the digest noted here.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    failure::Failure, integrity, process, setup::Talk, stamp::Stamp, workspace::Workspace,
};

/// The library for one platform.
pub(crate) struct Archive {
    /// The platform as the package's name has it.
    platform: &'static str,
    version: &'static str,
    /// The archive's digest, as `npm view NAME@VERSION dist.integrity` prints it.
    integrity: &'static str,
    /// The library's file name, in the archive and in the workspace.
    library: &'static str,
}

/// All platforms that can be set up. A newer version needs its digest here, and the `duckdb` crate of that version in
/// the root manifest. Only the first two have 1.5.6; 1.5.5 is what the others end at and has the same C interface.
/// Windows is missing because its archives lack the import library that a linker needs there.
const ARCHIVES: [Archive; 6] = [
    Archive {
        platform: "linux-x64",
        version: "1.5.6-r.1",
        integrity: "sha512-IXcrZJE6kEqM0Z4wwdVnGBHX/frOS33VPNAwDXQ/Q+Fs84b058Qe94chrCCIcNJlG8Y3UHIUU4eBeCQxW5mN1Q==",
        library: "libduckdb.so",
    },
    Archive {
        platform: "linux-x64-musl",
        version: "1.5.6-r.1",
        integrity: "sha512-PVzIEZqp7QN07WBgjmIH0cK2GKXR735KmL6wnghTzRnhHWrePxx3MjZB9zZHI8tB73wdF8luarBm4EgqSjGyVA==",
        library: "libduckdb.so",
    },
    Archive {
        platform: "linux-arm64",
        version: "1.5.5-r.5",
        integrity: "sha512-CafH2AIvXtpwDynG3KB/4uEOHRGlFoB7auCRMIwH3BKNIobsANV5LSpDJ3tfyRCFIsK6e8AT1eseWVnu2Dv3cw==",
        library: "libduckdb.so",
    },
    Archive {
        platform: "linux-arm64-musl",
        version: "1.5.5-r.5",
        integrity: "sha512-00z3mYHUBAucp3L73EoftKDdaGOaV8ENELejiT+PK7dFjTzdXxqhJwZ1LaQV1/zEhIecz+x23f6WvFhWw+7XXQ==",
        library: "libduckdb.so",
    },
    Archive {
        platform: "darwin-arm64",
        version: "1.5.5-r.5",
        integrity: "sha512-WJdeLTFy4pRg60rkbp9smtlP1iIQ8ErtIJkxS+2LQtM1ZZMSByyW+3WPpNoKe7IwPtVl2fLlPw7tDmQW4Z974g==",
        library: "libduckdb.dylib",
    },
    Archive {
        platform: "darwin-x64",
        version: "1.5.5-r.5",
        integrity: "sha512-rN0KjX13MwVQ5V5ufykolty/tf4SaafOpGWcUA1Cegf98jPeRdsJsEE1IMXn8n3u6WvMSZEVJmHJ3ma4Hr7Vzg==",
        library: "libduckdb.dylib",
    },
];

/// The library that this workspace is to be linked with.
pub(crate) enum Library {
    /// A folder that the user named in `DUCKDB_LIB_DIR`.
    Own(PathBuf),
    /// One that set-up fetches.
    Prebuilt {
        archive: &'static Archive,
        /// The folder that `.cargo/config.toml` points to.
        folder: PathBuf,
    },
}

/// The library for this machine. Fails where there is none to fetch and the user named none.
pub(crate) fn wanted(workspace: &Workspace) -> Result<Library, Failure> {
    if let Some(folder) = workspace.own_duckdb_library() {
        return Ok(Library::Own(folder));
    }
    let platform = platform();
    let archive = ARCHIVES.iter().find(|archive| archive.platform == platform).ok_or_else(|| {
        Failure::new(format!("There is no prebuilt DuckDB library for `{platform}`")).remedy(
            "Build or install the DuckDB 1.5 library, and set `DUCKDB_LIB_DIR` to the folder that holds it \
             (on Windows, the Linux subsystem is easier)",
        )
    })?;
    Ok(Library::Prebuilt { archive, folder: workspace.dependencies().join("duckdb") })
}

/// This machine, as npm names it.
fn platform() -> String {
    let system = match env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let processor = match env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let libc = if cfg!(target_env = "musl") { "-musl" } else { "" };
    format!("{system}-{processor}{libc}")
}

impl Library {
    /// Whether it has to be fetched.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Prebuilt { archive, folder } => {
                !(archive.stamp(folder).is_current() && folder.join(archive.library).is_file())
            }
        }
    }

    /// Fetches it if it is missing.
    pub(crate) fn ensure(&self, talk: Talk) -> Result<(), Failure> {
        match self {
            Self::Own(folder) => {
                talk.in_place(&format!("DuckDB library of your own in `{}`", folder.display()));
                Ok(())
            }
            Self::Prebuilt { archive, folder } if self.is_missing() => {
                talk.doing(&format!("Fetching the DuckDB library, `{}`", archive.package()));
                archive.fetch(folder)
            }
            Self::Prebuilt { archive, .. } => {
                talk.in_place(&format!("DuckDB library {}", archive.version));
                Ok(())
            }
        }
    }
}

impl Archive {
    /// The package and version, as the npm client takes it.
    fn package(&self) -> String {
        format!("@duckdb/node-bindings-{}@{}", self.platform, self.version)
    }

    fn stamp(&self, folder: &Path) -> Stamp {
        Stamp::new(folder.join("stamp"), format!("{} {}\n", self.package(), self.integrity))
    }

    /// Fetches the archive into a folder of its own, and from there moves the library into place whole.
    fn fetch(&self, folder: &Path) -> Result<(), Failure> {
        let workshop = folder.join(format!("partial-{}", std::process::id()));
        fs::create_dir_all(&workshop)
            .map_err(|error| Failure::file("Could not create", &workshop, error))?;
        let fetched = self.fetch_into(&workshop, folder);
        // Whatever happened, a half-used folder is of no use; that it cannot be removed is no reason to fail.
        fs::remove_dir_all(&workshop).ok();
        fetched
    }

    fn fetch_into(&self, workshop: &Path, folder: &Path) -> Result<(), Failure> {
        let package = self.package();
        let mut pack = Command::new("npm");
        pack.current_dir(workshop).args(["pack", "--silent", &package]);
        let name = process::output(&mut pack).map_err(|failure| {
            failure.remedy(
                "The library comes from the npm registry; is it reachable from here (`npm ping`)?",
            )
        })?;
        let file = workshop.join(name.trim());
        let bytes =
            fs::read(&file).map_err(|error| Failure::file("Could not read", &file, error))?;
        let found = integrity::of(&bytes);
        if found != self.integrity {
            return Err(Failure::new(format!(
                "The archive of `{package}` has the digest `{found}` instead of `{}`",
                self.integrity
            ))
            .remedy("It was damaged or changed on its way and is not used; try again, or from another network"));
        }
        let member = format!("package/{}", self.library);
        process::run(
            Command::new("tar").current_dir(workshop).arg("-xzmf").arg(&file).arg(&member),
        )?;
        let library = folder.join(self.library);
        fs::rename(workshop.join(&member), &library)
            .map_err(|error| Failure::file("Could not put in place", &library, error))?;
        self.stamp(folder).set()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_platform_is_listed_once_with_a_whole_digest() {
        for archive in &ARCHIVES {
            assert_eq!(
                ARCHIVES.iter().filter(|other| other.platform == archive.platform).count(),
                1
            );
            // 64 bytes in base64 behind `sha512-`.
            assert_eq!(archive.integrity.len(), 7 + 88, "{}", archive.platform);
        }
    }

    #[test]
    fn a_library_without_its_stamp_counts_as_missing() {
        let folder = env::temp_dir().join(format!("xtask-duckdb-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let library = Library::Prebuilt { archive: &ARCHIVES[0], folder: folder.clone() };
        fs::write(folder.join(ARCHIVES[0].library), "").expect("the temporary folder is writable");
        assert!(library.is_missing());
        ARCHIVES[0].stamp(&folder).set().expect("the temporary folder is writable");
        assert!(!library.is_missing());
        fs::remove_dir_all(&folder).expect("the temporary folder can be removed");
    }
}
