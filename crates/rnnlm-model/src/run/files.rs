//! Reading files with bounded memory, and replacing them atomically.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::disk::Disk;
use super::links::{mode, mode_of_new, mode_of_replaced};
use super::names::{TEMPORARY, parent};
use crate::{Error, Result};

/// The bytes that are copied together.
const COPY_BYTES: usize = 1 << 16;

/// Converts an I/O error.
pub(crate) fn io_error<'a>(path: &'a Path, action: &'static str) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::Io { path: path.to_owned(), action, source }
}

/// Replaces the file at `path` atomically: writes a temporary file, syncs it, renames it, and syncs the folder. After a crash
/// at any point, the file has its old content or `bytes`. A link is replaced, not followed. The permissions stay the same. The
/// caller has the lock of the folder.
pub(crate) fn write_atomically(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    replace(disk, path, |file| disk.write(file, bytes)).map_err(io_error(path, "written"))
}

/// Replaces the file at `path`, which may be a link, by a copy of its first `length` bytes. See [`write_atomically`].
pub(crate) fn replace_by_copy(disk: &dyn Disk, path: &Path, length: u64) -> io::Result<()> {
    replace(disk, path, |file| {
        if length == 0 {
            return Ok(());
        }
        let mut source = File::open(path)?.take(length);
        let mut buffer = vec![0; COPY_BYTES];
        let mut copied = 0;
        loop {
            match source.read(&mut buffer)? {
                0 if copied < length => return Err(io::Error::other(format!("it has {copied} of {length} bytes"))),
                0 => return Ok(()),
                read => {
                    disk.write(file, &buffer[..read])?;
                    copied += read as u64;
                }
            }
        }
    })
}

fn replace(disk: &dyn Disk, path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!("{TEMPORARY}{name}"));
    write_and_rename(disk, &temporary, path, write).inspect_err(|_| {
        // if this fails too, the next start removes the file
        let _ = remove_file_if_exists(disk, &temporary);
    })
}

fn write_and_rename(
    disk: &dyn Disk,
    temporary: &Path,
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    remove_file_if_exists(disk, temporary)?;
    let replaced = mode_of_replaced(path);
    let mut file = disk.create(temporary, replaced.unwrap_or_else(|| mode_of_new(path)))?;
    if let Some(replaced) = replaced
        && mode(&file.metadata()?) != replaced
    {
        // the umask removed some of the permissions
        disk.set_mode(&file, replaced)?;
    }
    write(&mut file)?;
    disk.sync(&file)?;
    drop(file);
    disk.rename(temporary, path)?;
    disk.sync_folder(parent(path))
}

/// Removes a file or a link if it exists. A folder is an error.
pub(crate) fn remove_file_if_exists(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => disk.remove(path),
    }
}

/// Whether the path is a folder and no link to one.
pub(crate) fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// Removes the temporary files of earlier processes from a folder. Other entries with such names are not from this program.
pub(crate) fn remove_temporary_files(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let error = io_error(folder, "read");
    for entry in fs::read_dir(folder).map_err(&error)? {
        let entry = entry.map_err(&error)?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            disk.remove(&entry.path()).map_err(io_error(&entry.path(), "removed"))?;
        }
    }
    Ok(())
}

/// Opens a regular file. Returns it with its length.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let error = io_error(path, "read");
    // checked before the file is opened, because opening a pipe waits for a writer
    let metadata = fs::metadata(path).map_err(&error)?;
    if !metadata.is_file() {
        return Err(Error::Damaged { path: path.to_owned(), reason: "it is not a file".to_owned() });
    }
    Ok((File::open(path).map_err(&error)?, metadata.len()))
}

/// The result, or `None` if the file does not exist.
pub(crate) fn if_exists<T>(result: Result<T>) -> Result<Option<T>> {
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
