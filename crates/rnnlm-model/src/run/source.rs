//! Where a run's files are read from: a folder, or memory.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{check_length, io_error, read_bounded, read_start};
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
        self.folder().join(name)
    }

    /// Whether there is a file `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(_) => self.path(name).exists(),
            Self::Memory(_) => name == MODEL,
        }
    }

    /// The length of a file in bytes.
    pub(crate) fn len(&self, name: &str) -> Result<u64> {
        let path = self.path(name);
        match self {
            Self::Folder(_) => Ok(path.metadata().map_err(io_error(&path, "read"))?.len()),
            Self::Memory(model) if name == MODEL => Ok(model.len() as u64),
            Self::Memory(_) => Err(not_found(&path)),
        }
    }

    /// Reads a file of at most `bound` bytes.
    pub(crate) fn read(&self, name: &str, bound: u64) -> Result<Cow<'_, [u8]>> {
        let path = self.path(name);
        match self {
            Self::Folder(_) => read_bounded(&path, bound).map(Cow::Owned),
            Self::Memory(model) if name == MODEL => {
                check_length(&path, model.len() as u64, bound)?;
                Ok(Cow::Borrowed(model))
            }
            Self::Memory(_) => Err(not_found(&path)),
        }
    }

    /// Reads the first `length` bytes of a file, or all if it is shorter. Returns `None` if there is no such file.
    pub(crate) fn read_start(&self, name: &str, length: u64) -> Result<Option<Cow<'_, [u8]>>> {
        match self {
            Self::Folder(_) => Ok(read_start(&self.path(name), length)?.map(Cow::Owned)),
            Self::Memory(model) if name == MODEL => {
                let end = usize::try_from(length).unwrap_or(usize::MAX).min(model.len());
                Ok(Some(Cow::Borrowed(&model[..end])))
            }
            Self::Memory(_) => Ok(None),
        }
    }
}

fn not_found(path: &Path) -> Error {
    io_error(path, "read")(io::ErrorKind::NotFound.into())
}
