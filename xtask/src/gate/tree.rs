//! Rules for the files of the tree that no other tool checks.
//!
//! Nothing may depend on where the tree lies, so no file names a folder of somebody's machine; and a source file that
//! outgrows [`LONGEST_SOURCE`] holds a second concept, which wants a file of its own.

use std::{fs, io::ErrorKind, path::Path, process::Command};

use crate::{failure::Failure, process, workspace::Workspace};

/// The most lines that a Rust source file may have.
const LONGEST_SOURCE: usize = 600;

/// Folders of build machines and home folders. Pieced together, so that this file passes its own check.
const MACHINE_FOLDERS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Checks all files that git has or would take; names every offence.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let mut list = Command::new("git");
    list.current_dir(workspace.root());
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let names = process::output(&mut list).map_err(|failure| {
        failure.remedy("The rules for files are checked in a git work tree only")
    })?;
    let mut offences = Vec::new();
    for name in names.split_terminator('\0') {
        match fs::read(workspace.root().join(name)) {
            Ok(bytes) => offences.extend(offences_in(name, &bytes)),
            // A file that was removed and not yet committed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::file("Could not read", Path::new(name), error)),
        }
    }
    if offences.is_empty() {
        return Ok(());
    }
    offences.iter().for_each(|offence| eprintln!("{offence}"));
    Err(Failure::new(format!("{} places break the rules for files", offences.len())))
}

/// What is wrong with one file. Files that are not text pass.
fn offences_in(name: &str, bytes: &[u8]) -> Vec<String> {
    let Ok(text) = str::from_utf8(bytes) else {
        return Vec::new();
    };
    let mut offences = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for folder in MACHINE_FOLDERS.iter().filter(|folder| mentions(line, folder)) {
            offences.push(format!("{name}:{number}: Names the machine's folder `{folder}`"));
        }
    }
    let length = text.lines().count();
    if name.ends_with(".rs") && length > LONGEST_SOURCE {
        offences.push(format!("{name}: Has {length} lines, more than {LONGEST_SOURCE}"));
    }
    offences
}

/// Whether a line names an absolute path that begins with `folder`, as opposed to one that passes through a folder of
/// the same name, like an address.
fn mentions(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(position, _)| {
        let before = line[..position].chars().next_back();
        before
            .is_none_or(|character| !(character.is_alphanumeric() || "._-~})>".contains(character)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_of_a_machine_are_found() {
        let [first, second] = MACHINE_FOLDERS;
        let text = format!("fine\nsee `{first}x`\nHOME={second}\n");
        let offences = offences_in("notes.md", text.as_bytes());
        assert_eq!(offences.len(), 2);
        assert!(
            offences[0].starts_with("notes.md:2: ") && offences[1].starts_with("notes.md:3: "),
            "{offences:?}"
        );
    }

    #[test]
    fn addresses_and_relative_paths_are_not() {
        for folder in MACHINE_FOLDERS {
            let text =
                format!("https://example.com{folder}x ..{folder} crates{folder} $HOME{folder}");
            assert_eq!(offences_in("notes.md", text.as_bytes()), Vec::<String>::new());
        }
    }

    #[test]
    fn only_rust_sources_have_a_length_limit() {
        let text = "\n".repeat(LONGEST_SOURCE + 1);
        assert_eq!(offences_in("a.rs", text.as_bytes()), ["a.rs: Has 601 lines, more than 600"]);
        assert_eq!(offences_in("a.rs", &text.as_bytes()[1..]), Vec::<String>::new());
        assert_eq!(offences_in("a.md", text.as_bytes()), Vec::<String>::new());
    }

    #[test]
    fn files_that_are_not_text_pass() {
        assert_eq!(offences_in("a.rs", b"\xff/x"), Vec::<String>::new());
    }
}
