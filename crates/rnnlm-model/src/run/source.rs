//! Where a run's files are read from: a folder, or memory.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::files::{check_length, if_exists, io_error, open, read_bounded};
use super::locate::{has_file, locate};
use super::names::MODEL;
use crate::{Error, Result};

/// The origin of a run's files.
#[derive(Debug)]
pub(crate) enum Source {
    /// A folder.
    Folder(PathBuf),
    /// The bytes of `model.safetensors`. `config.json` and `vocab.json` were parsed already; there are no other files.
    Memory(Cow<'static, [u8]>),
}

impl Source {
    /// The folder; the empty path for a run in memory.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Folder(path) => path,
            Self::Memory(_) => Path::new(""),
        }
    }

    /// The path of a file, which errors show; the name alone for a run in memory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => locate(folder, name),
            Self::Memory(_) => name.into(),
        }
    }

    /// Reads a file of a run in a folder with `read`. Another process that replaces the run may move the file meanwhile.
    fn read_located<T>(&self, name: &str, read: impl Fn(&Path) -> Result<T>) -> Result<T> {
        let mut path = self.path(name);
        loop {
            let found = read(&path);
            let current = self.path(name);
            if found.is_ok() || current == path {
                return found;
            }
            path = current;
        }
    }

    /// Whether there is a file `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => has_file(folder, name),
            Self::Memory(_) => name == MODEL,
        }
    }

    /// The length of a file in bytes.
    pub(crate) fn len(&self, name: &str) -> Result<u64> {
        match self {
            Self::Folder(_) => {
                self.read_located(name, |path| Ok(path.metadata().map_err(io_error(path, "read"))?.len()))
            }
            Self::Memory(model) if name == MODEL => Ok(model.len() as u64),
            Self::Memory(_) => Err(not_found(&self.path(name))),
        }
    }

    /// Reads a file of at most `bound` bytes.
    pub(crate) fn read(&self, name: &str, bound: u64) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Folder(_) => self.read_located(name, |path| read_bounded(path, bound).map(Cow::Owned)),
            Self::Memory(model) if name == MODEL => {
                check_length(&self.path(name), model.len() as u64, bound)?;
                Ok(Cow::Borrowed(model))
            }
            Self::Memory(_) => Err(not_found(&self.path(name))),
        }
    }

    /// Reads the header of a weights file, whose length is at most `bound`. Returns `None` if there is no such file.
    pub(crate) fn read_header(&self, name: &str, bound: u64) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Folder(_) => if_exists(self.read_located(name, |path| read_header(path, open(path)?.0, bound))),
            Self::Memory(model) if name == MODEL => read_header(&self.path(name), &**model, bound).map(Some),
            Self::Memory(_) => Ok(None),
        }
    }
}

/// Reads the header of a weights file: eight bytes with its length, and the header.
fn read_header(path: &Path, mut file: impl Read, bound: u64) -> Result<Vec<u8>> {
    let error = io_error(path, "read");
    let mut length = Vec::new();
    file.by_ref().take(8).read_to_end(&mut length).map_err(&error)?;
    let length = <[u8; 8]>::try_from(&*length).map_or(u64::MAX, u64::from_le_bytes);
    if length > bound {
        let reason = format!("its header would have {length} bytes, more than the {bound} that it can have");
        return Err(Error::Damaged { path: path.to_owned(), reason });
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(&error)?;
    Ok(header)
}

fn not_found(path: &Path) -> Error {
    io_error(path, "read")(io::ErrorKind::NotFound.into())
}
