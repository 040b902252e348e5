//! Whole files: a reader sees the old content or the new, never a part. And the lock that lets one process write a run.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::Path;

use super::disk::Disk;
use crate::{Error, Result};

/// What the name of a file begins with while it is not whole yet. Nothing else in a run does, so that what a killed process
/// left behind is known.
const UNFINISHED: &str = ".rnnlm-";
/// The file whose lock the process holds that writes the run. It stays when the process goes: a lock ends with its process,
/// a file that is removed and made again could be locked twice.
pub(crate) const LOCK: &str = ".rnnlm.lock";

/// Turns an I/O error into ours.
pub(crate) fn io_error<'a>(path: &'a Path, action: &'static str) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::Io { path: path.to_owned(), action, source }
}

/// The folder that a path's last component is in.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts `bytes` in place of `path`: a new file beside it, synced, renamed over it, and the folder synced, so that a crash at
/// any moment leaves the old file or the new one. The caller holds the lock of the folder.
pub(crate) fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!("{UNFINISHED}{name}"));
    write_beside(disk, &temporary, path, bytes).map_err(|error| {
        // if this fails too, the next start removes it
        let _ = disk.remove(&temporary);
        io_error(path, "written")(error)
    })
}

fn write_beside(disk: &dyn Disk, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    remove_if_there(disk, temporary)?;
    let mut file = disk.create(temporary)?;
    disk.write(&mut file, bytes)?;
    disk.sync(&file)?;
    drop(file);
    disk.rename(temporary, path)?;
    disk.sync_folder(parent(path))
}

/// Removes what may not be there.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => disk.remove(path),
    }
}

/// Removes the files that an earlier process did not finish.
pub(crate) fn sweep(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let error = io_error(folder, "read");
    for entry in fs::read_dir(folder).map_err(&error)? {
        let entry = entry.map_err(&error)?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            disk.remove(&entry.path()).map_err(io_error(&entry.path(), "removed"))?;
        }
    }
    Ok(())
}

/// Whether a folder has nothing in it but what a process leaves that was ended before it had made its run: a lock, and
/// `names`.
pub(crate) fn only_a_beginning(folder: &Path, names: &[&str]) -> bool {
    let ours = |name: &str| name == LOCK || name.starts_with(UNFINISHED) || names.contains(&name);
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let found: Vec<String> = entries
        .map(|entry| entry.map_or_else(|_| "?".to_owned(), |e| e.file_name().to_string_lossy().into_owned()))
        .collect();
    found.is_empty() || found.iter().any(|name| name == LOCK) && found.iter().all(|name| ours(name))
}

/// Takes the right to write the run in `folder`, which lasts as long as the file is open.
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

/// A regular file, open, and its length.
fn open(path: &Path) -> Result<(File, u64)> {
    let error = io_error(path, "read");
    // looked at before it is opened, which on a pipe would wait for a writer
    let about = fs::metadata(path).map_err(&error)?;
    if !about.is_file() {
        return Err(Error::Damaged { path: path.to_owned(), reason: "it is not a file".to_owned() });
    }
    Ok((File::open(path).map_err(&error)?, about.len()))
}

/// [`open`], or nothing where there is no such file.
pub(crate) fn open_if_there(path: &Path) -> Result<Option<(File, u64)>> {
    match open(path) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// All of a file that is expected to have at most `bound` bytes; a larger one is damaged and is not read.
pub(crate) fn read_bounded(path: &Path, bound: u64) -> Result<Vec<u8>> {
    let too_large = || {
        let reason = format!("it has more than the {bound} bytes that it can have");
        Error::Damaged { path: path.to_owned(), reason }
    };
    let (file, length) = open(path)?;
    if length > bound {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| too_large())?);
    file.take(bound.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    if bytes.len() as u64 > bound { Err(too_large()) } else { Ok(bytes) }
}

/// The first `length` bytes of a file, fewer if it has no more; nothing where there is no such file.
pub(crate) fn read_start(path: &Path, length: u64) -> Result<Option<Vec<u8>>> {
    let Some((file, _)) = open_if_there(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    Ok(Some(bytes))
}

/// [`read_bounded`], or nothing where there is no such file.
pub(crate) fn read_if_there(path: &Path, bound: u64) -> Result<Option<Vec<u8>>> {
    match read_bounded(path, bound) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some),
    }
}
