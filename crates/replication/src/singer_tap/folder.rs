//! The folder in which a tap finds its configuration and its state: for our eyes only, and gone with the tap.
//!
//! A process that is killed removes nothing, so a lock tells whose folder is still needed, and every start removes those
//! that nobody holds any more.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Uid, geteuid},
};

use super::remains;

/// What the names of these folders start with.
const PREFIX: &str = "backstitch-tap-";
/// The file whose lock tells that the folder is needed.
const LOCK: &str = "lock";

/// A folder of a tap; removed when it is dropped.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    path: PathBuf,
    _lock: File,
    _remains: remains::Entry,
}

impl PrivateFolder {
    /// Makes one in the system's folder for temporary files, after removing what killed processes left there.
    ///
    /// # Errors
    /// When it can't be made.
    pub(super) fn create() -> io::Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent, geteuid());
        let path = parent.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
        DirBuilder::new().mode(0o700).create(&path)?;
        let remains = remains::folder(&path);
        // Under its name only once it is locked, so that nobody takes the folder for an abandoned one.
        let unnamed = path.join("lock.new");
        let lock = private_file(&unnamed)?;
        lock.try_lock()?;
        fs::rename(&unnamed, path.join(LOCK))?;
        Ok(Self { path, _lock: lock, _remains: remains })
    }

    /// Writes a file that only we can read.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        private_file(&path)?.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            let path = self.path.display();
            tracing::warn!(%error, "The folder `{path}`, which holds the tap's configuration, could not be removed");
        }
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Removes our folders that no process holds. What can't be looked at belongs to somebody else.
fn sweep(parent: &Path, us: Uid) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let is_abandoned = || is_abandoned(&entry.path(), us);
        if is_named && is_abandoned() && fs::remove_dir_all(entry.path()).is_ok() {
            tracing::debug!("Removed `{}`, which a killed run had left", entry.path().display());
        }
    }
}

/// Whether a folder is ours and nobody holds its lock. Everybody may put things of that name beside it, so nothing is
/// opened that isn't ours: a link would lead elsewhere, a pipe would make us wait.
fn is_abandoned(folder: &Path, us: Uid) -> bool {
    let lock = folder.join(LOCK);
    let is_ours = |path: &Path, is_right: fn(&Metadata) -> bool| {
        path.symlink_metadata()
            .is_ok_and(|metadata| is_right(&metadata) && metadata.uid() == us.as_raw())
    };
    if !is_ours(folder, Metadata::is_dir) || !is_ours(&lock, Metadata::is_file) {
        return false;
    }
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(&lock, flags, Mode::empty())
        .is_ok_and(|lock| File::from(lock).try_lock().is_ok())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_we_can_look_into_it_and_it_goes_with_its_owner() {
        let folder = PrivateFolder::create().unwrap();
        let file = folder.write("config.json", "{}").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder.path), mode(&file)), (0o700, 0o600));
        let path = folder.path.clone();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_is_held_stays() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            (File::create(folder.join(LOCK)).unwrap(), folder)
        };
        let (lock, held) = make("backstitch-tap-held");
        lock.try_lock().unwrap();
        let (_, abandoned) = make("backstitch-tap-abandoned");
        let (_, foreign) = make("somebody-elses");
        sweep(parent.path(), geteuid());
        assert_eq!([held.exists(), abandoned.exists(), foreign.exists()], [true, false, true]);
    }

    #[test]
    fn what_others_laid_there_is_neither_opened_nor_removed() {
        use std::{process::Command, sync::mpsc, thread, time::Duration};

        let parent = tempfile::tempdir().unwrap();
        let outside = parent.path().join("outside");
        fs::create_dir(&outside).unwrap();
        File::create(outside.join(LOCK)).unwrap();
        let make = |name: &str| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let pipe = make("backstitch-tap-pipe");
        assert!(Command::new("mkfifo").arg(pipe.join(LOCK)).status().unwrap().success());
        let link = make("backstitch-tap-link");
        symlink(outside.join(LOCK), link.join(LOCK)).unwrap();
        let folder_link = parent.path().join("backstitch-tap-folder-link");
        symlink(&outside, &folder_link).unwrap();
        let (sender, swept) = mpsc::sync_channel(1);
        let path = parent.path().to_owned();
        thread::spawn(move || {
            sweep(&path, geteuid());
            sender.send(()).unwrap();
        });
        swept
            .recv_timeout(Duration::from_secs(30))
            .expect("a pipe that nobody reads is not opened");
        for path in [pipe, link, folder_link] {
            assert!(path.symlink_metadata().is_ok(), "{}", path.display());
        }

        let abandoned = make("backstitch-tap-abandoned");
        File::create(abandoned.join(LOCK)).unwrap();
        sweep(parent.path(), Uid::from_raw(geteuid().as_raw() + 1));
        assert!(abandoned.exists(), "another user's");
        sweep(parent.path(), geteuid());
        assert!(!abandoned.exists());
    }
}
