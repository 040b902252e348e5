//! The seam to the file system: every operation that changes what is in a run's folder goes through [`Disk`], so that a test
//! can make any one of them fail, and a reader sees in one place what saving is made of.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Operations that change files. What each does by default is the operating system's; [`System`] does nothing else.
pub trait Disk: Debug + Send + Sync {
    /// Makes a folder, whose parent exists.
    ///
    /// # Errors
    /// The operating system's; if anything is there already too.
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    /// Makes a new file, with the permissions that the umask leaves of 0666.
    ///
    /// # Errors
    /// The operating system's; if anything is there already too.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    /// Opens a file to write behind its end, and makes it if there is none.
    ///
    /// # Errors
    /// The operating system's.
    fn append(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(path)
    }

    /// Writes all of `bytes` where the file stands; on an error, any part of them may have been written.
    ///
    /// # Errors
    /// The operating system's, such as a full disk.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Waits until content and length of a file would outlive a power cut.
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Cuts a file off after `len` bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    /// Puts one file in the place of another, at one moment.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Gives a file a second name.
    ///
    /// # Errors
    /// The operating system's; some file systems cannot.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    /// Removes a file, or a folder with all that is in it.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, path: &Path) -> io::Result<()> {
        if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    }

    /// Makes what happened to the names in a folder outlive a power cut, where the platform can open folders.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Disk for System {}
