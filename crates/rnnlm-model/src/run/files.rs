//! Reading files with bounded memory, replacing them atomically, and the lock of a run's folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::Path;

use super::disk::Disk;
use crate::{Error, Result};

/// Prefix of the names of files that are being written. A file with this prefix was left by a process that ended early.
pub(crate) const UNFINISHED: &str = ".rnnlm-";
/// The file that the writing process has locked. It is never removed: the lock ends with its process, and a file that is
/// removed and created again could be locked twice.
pub(crate) const LOCK: &str = ".rnnlm.lock";

/// Converts an I/O error.
pub(crate) fn io_error<'a>(path: &'a Path, action: &'static str) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::Io { path: path.to_owned(), action, source }
}

/// The folder that contains `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Replaces the file at `path` atomically: writes a temporary file, syncs it, renames it, and syncs the folder. After a crash
/// at any point, the file has its old content or `bytes`. The caller has the lock of the folder.
pub(crate) fn write_atomically(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!("{UNFINISHED}{name}"));
    write_and_rename(disk, &temporary, path, bytes).map_err(|error| {
        // if this fails too, the next start removes the file
        let _ = disk.remove(&temporary);
        io_error(path, "written")(error)
    })
}

fn write_and_rename(disk: &dyn Disk, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    remove_if_exists(disk, temporary)?;
    let mut file = disk.create(temporary)?;
    disk.write(&mut file, bytes)?;
    disk.sync(&file)?;
    drop(file);
    disk.rename(temporary, path)?;
    disk.sync_folder(parent(path))
}

/// Removes a file or folder if it exists.
pub(crate) fn remove_if_exists(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => disk.remove(path),
    }
}

/// Removes the unfinished files of earlier processes.
pub(crate) fn remove_unfinished(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let error = io_error(folder, "read");
    for entry in fs::read_dir(folder).map_err(&error)? {
        let entry = entry.map_err(&error)?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            disk.remove(&entry.path()).map_err(io_error(&entry.path(), "removed"))?;
        }
    }
    Ok(())
}

/// Locks the run in `folder` for writing, as long as the returned file is open.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let error = io_error(&path, "locked");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(&error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(error(source)),
    }
}

/// Opens a regular file. Returns it with its length.
fn open(path: &Path) -> Result<(File, u64)> {
    let error = io_error(path, "read");
    // checked before the file is opened, because opening a pipe waits for a writer
    let metadata = fs::metadata(path).map_err(&error)?;
    if !metadata.is_file() {
        return Err(Error::Damaged { path: path.to_owned(), reason: "it is not a file".to_owned() });
    }
    Ok((File::open(path).map_err(&error)?, metadata.len()))
}

/// The result, or `None` if the file does not exist.
fn if_exists<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Like [`open`], or `None` if the file does not exist.
pub(crate) fn open_if_exists(path: &Path) -> Result<Option<(File, u64)>> {
    if_exists(open(path))
}

/// Reads a file of at most `bound` bytes. A larger one is damaged and is not read.
pub(crate) fn read_bounded(path: &Path, bound: u64) -> Result<Vec<u8>> {
    let (file, length) = open(path)?;
    check_length(path, length, bound)?;
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(bound.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    check_length(path, bytes.len() as u64, bound)?;
    Ok(bytes)
}

/// An error if the file at `path`, which has `length` bytes, has more than `bound`, or more than can be addressed.
pub(crate) fn check_length(path: &Path, length: u64, bound: u64) -> Result<()> {
    if length <= bound && usize::try_from(length).is_ok() {
        return Ok(());
    }
    let reason = format!("it has {length} bytes, more than the {bound} that it can have");
    Err(Error::Damaged { path: path.to_owned(), reason })
}

/// Reads the first `length` bytes of a file, or all if it is shorter. Returns `None` if the file does not exist.
pub(crate) fn read_start(path: &Path, length: u64) -> Result<Option<Vec<u8>>> {
    let Some((file, _)) = open_if_exists(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    Ok(Some(bytes))
}

/// Like [`read_bounded`], or `None` if the file does not exist.
pub(crate) fn read_if_exists(path: &Path, bound: u64) -> Result<Option<Vec<u8>>> {
    if_exists(read_bounded(path, bound))
}
