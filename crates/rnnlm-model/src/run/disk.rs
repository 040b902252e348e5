//! The operations that change files. All of them go through [`Disk`], so that a test can make any one fail.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::links::open_unlinked;

/// Operations that change files. The default implementations are the operating system's, which [`System`] uses.
pub trait Disk: Debug + Send + Sync {
    /// Creates a folder in an existing one. On Unix it has at most the permissions `mode`, without the bits of the umask.
    ///
    /// # Errors
    /// The operating system's; also if the path exists already.
    fn create_folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
        #[cfg(not(unix))]
        let _ = mode;
        builder.create(path)
    }

    /// Creates a file. On Unix it has at most the permissions `mode`, without the bits of the umask.
    ///
    /// # Errors
    /// The operating system's; also if the path exists already.
    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        options.write(true).create_new(true).open(path)
    }

    /// Sets the permissions of an open file, on Unix.
    ///
    /// # Errors
    /// The operating system's.
    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        #[cfg(not(unix))]
        let _ = (file, mode);
        Ok(())
    }

    /// Opens an existing file for appending. A symbolic link is an error.
    ///
    /// # Errors
    /// The operating system's.
    fn append(&self, path: &Path) -> io::Result<File> {
        open_unlinked(path, OpenOptions::new().append(true))
    }

    /// Writes `bytes` to an open file. After an error, any part of them may have been written.
    ///
    /// # Errors
    /// The operating system's, such as a full disk.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Makes the content and the length of a file durable.
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Truncates a file to `len` bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    /// Renames a file atomically; replaces the one at `to`.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Creates a hard link.
    ///
    /// # Errors
    /// The operating system's; some file systems have no hard links.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    /// Removes a file, a link or an empty folder.
    ///
    /// # Errors
    /// The operating system's; also if a folder is not empty.
    fn remove(&self, path: &Path) -> io::Result<()> {
        if path.symlink_metadata()?.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }
    }

    /// Makes the entries of a folder durable, on platforms that can open folders.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Disk for System {}
