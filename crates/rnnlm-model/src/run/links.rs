//! Links and permissions of existing files. A run never writes through a link, and keeps the permissions of its files.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Error, ErrorKind};
use std::path::Path;

use super::names::{CONFIG, TEMPORARY, parent};

/// The permissions of a new file, before the umask.
const NEW_FILE: u32 = 0o666;

/// The permissions of a new folder, before the umask.
pub(crate) const NEW_FOLDER: u32 = 0o777;

/// What identifies a file, whatever its name is. On platforms without inodes, all files are equal.
#[cfg(unix)]
pub(crate) fn identity(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
pub(crate) fn identity(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

/// Whether a file has several names, as in a copy that `cp -al` made.
#[cfg(unix)]
pub(crate) fn has_hard_links(metadata: &Metadata) -> bool {
    metadata.is_file() && std::os::unix::fs::MetadataExt::nlink(metadata) > 1
}

#[cfg(not(unix))]
pub(crate) fn has_hard_links(_: &Metadata) -> bool {
    false
}

/// The permissions of a file, on Unix.
#[cfg(unix)]
pub(crate) fn mode(metadata: &Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o777
}

#[cfg(not(unix))]
pub(crate) fn mode(_: &Metadata) -> u32 {
    NEW_FILE
}

/// Opens an existing file. An error if the path is a symbolic link or no regular file.
pub(crate) fn open_unlinked(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let before = path.symlink_metadata()?;
    if !before.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is a link or not a file"));
    }
    let file = options.open(path)?;
    if identity(&file.metadata()?) == identity(&before) {
        Ok(file)
    } else {
        // it was replaced in the meantime, possibly by a link
        Err(Error::other("it was replaced while it was opened"))
    }
}

/// The permissions of the file at `path`, which is about to be replaced, if there is one.
pub(crate) fn mode_of_replaced(path: &Path) -> Option<u32> {
    path.metadata().ok().filter(Metadata::is_file).map(|metadata| mode(&metadata))
}

/// The most permissions of a new file at `path`: those of the run's configuration, which the user may have restricted.
pub(crate) fn mode_of_new(path: &Path) -> u32 {
    let folder = parent(path);
    let is_within_run = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY));
    let folders = [Some(folder), is_within_run.then(|| parent(folder))];
    let of_config = folders.into_iter().flatten().find_map(|folder| mode_of_replaced(&folder.join(CONFIG)));
    of_config.unwrap_or(NEW_FILE) & NEW_FILE
}

/// The most permissions of a new folder in a run: who may read the run's files may list the folder.
pub(crate) fn mode_of_new_folder(path: &Path) -> u32 {
    let mode = mode_of_new(path);
    mode | (mode & 0o444) >> 2
}
