//! What taps of this process would leave behind if it ended without destructors: their process groups and their folders.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::process::Group;

static REMAINS: Mutex<BTreeMap<u64, Remains>> = Mutex::new(BTreeMap::new());

enum Remains {
    Folder(PathBuf),
    Group(Group),
}

/// An entry of the list; taken off it when it is dropped.
#[derive(Debug)]
pub(super) struct Entry(u64);

impl Drop for Entry {
    fn drop(&mut self) {
        all().remove(&self.0);
    }
}

/// Notes a folder.
pub(super) fn folder(path: &Path) -> Entry {
    note(Remains::Folder(path.to_owned()))
}

/// Notes a process group.
pub(super) fn group(group: Group) -> Entry {
    note(Remains::Group(group))
}

/// Kills every tap that this process runs and removes its files, without waiting for anything. For a program that is
/// about to exit without running destructors; it must not use its taps any more.
pub fn abandon_taps() {
    for remains in std::mem::take(&mut *all()).into_values() {
        match remains {
            Remains::Group(group) => group.kill(),
            // Nobody is left to tell.
            Remains::Folder(path) => fs::remove_dir_all(path).unwrap_or_default(),
        }
    }
}

fn note(remains: Remains) -> Entry {
    let mut all = all();
    let number = all.last_key_value().map_or(0, |(last, _)| last + 1);
    all.insert(number, remains);
    Entry(number)
}

fn all() -> MutexGuard<'static, BTreeMap<u64, Remains>> {
    REMAINS.lock().unwrap_or_else(PoisonError::into_inner)
}
