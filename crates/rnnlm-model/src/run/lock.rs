//! The lock of a run's folder: one process writes a run at a time. Readers do not need it.
//!
//! A writer locks the folder itself and the file `.rnnlm.lock` in it. Where folders cannot be locked, as on network file
//! systems, the file remains. A copy of a run that consists of hard links (`cp -al`) shares the file, but not the folder; its
//! first writer replaces the file by its own.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::files::io_error;
use super::links::{has_hard_links, identity, mode_of_new, open_unlinked};
use crate::{Error, Result};

/// The file that the writing process has locked. It stays in the folder: the lock ends with its process.
pub(crate) const LOCK: &str = ".rnnlm.lock";

/// How often locking starts again when another process replaces the file at the same time.
const ATTEMPTS: usize = 100;

/// A locked folder, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _folder: Option<File>,
    _file: File,
}

/// The result of an attempt to lock the file.
enum Attempt {
    Locked(File),
    /// Another process has it.
    Busy,
    /// The file was replaced.
    Again,
}

/// Locks the run in `folder` for writing.
pub(crate) fn lock(folder: &Path) -> Result<Lock> {
    let busy = || Error::Locked { path: folder.to_owned() };
    let locked_folder = lock_folder(folder).map_err(|()| busy())?;
    let path = folder.join(LOCK);
    for _ in 0..ATTEMPTS {
        match attempt(&path, locked_folder.is_some()).map_err(io_error(&path, "locked"))? {
            Attempt::Locked(file) => return Ok(Lock { _folder: locked_folder, _file: file }),
            Attempt::Busy => break,
            Attempt::Again => {}
        }
    }
    Err(busy())
}

/// Locks the folder itself. Returns `None` if that is not possible, and an error if another process has locked it.
fn lock_folder(folder: &Path) -> Result<Option<File>, ()> {
    // on other platforms, a folder cannot be opened as a file
    let Some(file) = File::open(folder).ok().filter(|_| cfg!(unix)) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(()),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Tries to lock the file at `path`. It is created if it is missing. Links are replaced.
fn attempt(path: &Path, folder_is_locked: bool) -> io::Result<Attempt> {
    let Some(file) = open(path)? else { return Ok(Attempt::Again) };
    let metadata = file.metadata()?;
    let is_locked = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => return Err(error),
    };
    let is_replaceable = folder_is_locked && has_hard_links(&metadata);
    if !is_locked && !is_replaceable {
        return Ok(Attempt::Busy);
    }
    // a process that replaced the file may have locked the new one
    let is_current = match path.symlink_metadata() {
        Ok(current) => identity(&current) == identity(&metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if is_current && has_hard_links(&metadata) {
        // the other name is that of a copy, whose writer must not block this one
        return remove(path).map(|()| Attempt::Again);
    }
    Ok(if is_current { Attempt::Locked(file) } else { Attempt::Again })
}

/// Opens or creates the file; `None` if it was created, replaced or removed at the same time.
fn open(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let opened = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => return remove(path).map(|()| None),
        Ok(_) => open_unlinked(path, &options),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode_of_new(path));
            options.create_new(true).open(path)
        }
        Err(error) => Err(error),
    };
    match opened {
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Other) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) => Ok(None),
        opened => opened.map(Some),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
