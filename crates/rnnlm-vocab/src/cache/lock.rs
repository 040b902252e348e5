//! The folder in which a token cache is built. One process builds a cache at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::shard::write_error;
use crate::error::{Error, Result};

/// The locked file in the folder. It stays there when the folder becomes the cache.
const LOCK: &str = ".rnnlm.lock";

/// How often locking starts again when another process moves the folder at the same time.
const ATTEMPTS: usize = 10;

/// A folder that this process builds a cache in.
#[derive(Debug)]
pub(super) struct BuildFolder {
    path: PathBuf,
    _lock: File,
}

impl BuildFolder {
    /// Creates and locks the folder for building `target`, next to it. Removes what an interrupted build left there.
    pub(super) fn create(target: &Path) -> Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.building"));
        let busy = || Error::CacheBusy { path: target.to_owned() };
        for _ in 0..ATTEMPTS {
            let error = write_error(&path);
            fs::create_dir_all(&path).map_err(&error)?;
            let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK));
            let Ok(lock) = opened else { continue };
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(busy()),
                Err(TryLockError::Error(source)) => return Err(error(source)),
            }
            // the process that had the lock may have moved the folder
            if is_same_file(&lock, &path.join(LOCK)) {
                remove_content(&path).map_err(&error)?;
                drop(error);
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(busy())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the folder to `target`, which it replaces.
    pub(super) fn publish(self, target: &Path) -> Result<()> {
        sync_folder(&self.path);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let old = target.with_file_name(format!(".{name}.old"));
        let error = write_error(target);
        if target.exists() {
            if old.exists() {
                fs::remove_dir_all(&old).map_err(&error)?;
            }
            fs::rename(target, &old).map_err(&error)?;
        }
        fs::rename(&self.path, target).map_err(&error)?;
        target.parent().into_iter().for_each(sync_folder);
        if old.exists() {
            fs::remove_dir_all(&old).map_err(&error)?;
        }
        Ok(())
    }

    /// Removes the folder after an error.
    pub(super) fn discard(self) {
        // an error here must not hide the one that ended the build; the next build removes what is left
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn remove_content(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes the entries of a folder durable, where folders can be opened.
fn sync_folder(path: &Path) {
    if cfg!(unix)
        && let Ok(folder) = File::open(path)
    {
        let _ = folder.sync_all();
    }
}

#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata(), path.metadata()), (Ok(one), Ok(other)) if identity(&one) == identity(&other))
}

#[cfg(not(unix))]
fn is_same_file(_: &File, path: &Path) -> bool {
    path.exists()
}
