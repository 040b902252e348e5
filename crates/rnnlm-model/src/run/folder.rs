//! The life of a run's folder: whether it contains a run, and how a new run starts in it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rnnlm_vocab::Vocab;
use serde::Serialize;

use super::checkpoints;
use super::disk::Disk;
use super::files::{io_error, remove_file_if_exists, remove_temporary_files, write_atomically};
use super::links::NEW_FOLDER;
use super::locate::{NEW, has_file, is_incomplete};
use super::lock::{LOCK, Lock, lock};
use super::names::{CHECKPOINTS, CONFIG, MAX_CONFIG_BYTES, MAX_VOCAB_BYTES, TEMPORARY, TOKENIZER, VOCAB, parent};
use super::record::write_with_digest;
use super::replacement;
use crate::{Error, Result};

/// A folder that this process has locked and writes.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    state: State,
    _lock: Lock,
}

/// Where the files of the run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the folder.
    Final,
    /// In a folder of their own, because the run will replace another one.
    New,
    /// The run replaced the other one, but some of its files may not be in the folder yet.
    Incomplete,
}

impl Folder {
    /// Creates or locks the folder of a new run. A run in it stays until [`Folder::complete`].
    ///
    /// # Errors
    /// [`Error::Exists`] if the path exists and `replace` is false; [`Error::NotARun`] if it exists and is not a run;
    /// [`Error::Locked`] if another process writes it; [`Error::Io`].
    pub(crate) fn create(disk: &dyn Disk, path: &Path, replace: bool) -> Result<Self> {
        check_available(path, replace)?;
        if path.symlink_metadata().is_err() {
            fs::create_dir_all(parent(path)).map_err(io_error(path, "created"))?;
            match disk.create_folder(path, NEW_FOLDER) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => check_available(path, replace),
                outcome => outcome.map_err(io_error(path, "created")),
            }?;
            disk.sync_folder(parent(path)).map_err(io_error(path, "created"))?;
        }
        let mut folder = Self::lock(disk, path)?;
        // again, because another process may have created a run before this one had the lock
        check_available(path, replace)?;
        if is_unfinished(path) {
            // the configuration is removed first and written last: a folder without it is not a run
            for old in [CONFIG, VOCAB, TOKENIZER].map(|name| path.join(name)) {
                remove_file_if_exists(disk, &old).map_err(io_error(&old, "replaced"))?;
            }
        } else {
            replacement::begin(disk, path)?;
            folder.state = State::New;
        }
        Ok(folder)
    }

    /// Locks a folder, and completes or removes what an earlier process left.
    pub(crate) fn lock(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let lock = lock(path)?;
        replacement::complete(disk, path)?;
        replacement::abandon(disk, path)?;
        remove_temporary_files(disk, path)?;
        checkpoints::remove_temporary(disk, &path.join(CHECKPOINTS))?;
        Ok(Self { path: path.to_owned(), state: State::Final, _lock: lock })
    }

    /// The path at which a file is written.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        if self.state == State::New { self.path.join(NEW).join(name) } else { self.path.join(name) }
    }

    /// Whether files can be written. If not, [`Folder::complete`] has to be repeated.
    pub(crate) fn is_writable(&self) -> bool {
        self.state != State::Incomplete
    }

    /// After all files of the first save were written: the run replaces the one that was in the folder.
    ///
    /// # Errors
    /// [`Error::Io`]. Either the old run or the new one is in the folder.
    pub(crate) fn complete(&mut self, disk: &dyn Disk) -> Result<()> {
        if self.state == State::New {
            replacement::commit(disk, &self.path)?;
            self.state = State::Incomplete;
        }
        if self.state == State::Incomplete {
            replacement::complete(disk, &self.path)?;
            self.state = State::Final;
        }
        Ok(())
    }
}

/// An error unless the folder has the files that every run has.
pub(crate) fn require_run(path: &Path) -> Result<()> {
    let not_a_run = |reason: String| Err(Error::NotARun { path: path.to_owned(), reason });
    if !path.exists() {
        return not_a_run("it does not exist".to_owned());
    }
    if !path.is_dir() {
        return not_a_run("it is not a folder".to_owned());
    }
    match [CONFIG, VOCAB].iter().find(|name| !has_file(path, name)) {
        Some(missing) => not_a_run(format!("it has no `{missing}`")),
        None => Ok(()),
    }
}

/// Whether a folder is empty, or contains only the files of a process that ended before it saved its run for the first time.
pub(crate) fn is_unfinished(folder: &Path) -> bool {
    let is_first_file =
        |name: &str| name == LOCK || name.starts_with(TEMPORARY) || [VOCAB, TOKENIZER, CONFIG].contains(&name);
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let found: Vec<String> = entries
        .map(|entry| entry.map_or_else(|_| "?".to_owned(), |e| e.file_name().to_string_lossy().into_owned()))
        .collect();
    let is_new = found.iter().any(|name| name == LOCK) && found.iter().all(|name| is_first_file(name));
    found.is_empty() || is_new && !is_incomplete(folder)
}

/// An error unless a run may be created at `path`.
fn check_available(path: &Path, replace: bool) -> Result<()> {
    if path.symlink_metadata().is_err() || is_unfinished(path) {
        return Ok(());
    }
    if replace { require_run(path) } else { Err(Error::Exists { path: path.to_owned() }) }
}

/// Writes `tokenizer.json` and `vocab.json`, and returns the digest of the latter.
pub(crate) fn write_vocab(disk: &dyn Disk, folder: &Folder, vocab: &Vocab) -> Result<String> {
    let content = serde_json::from_str(&vocab.to_json()?).expect("a vocabulary is valid JSON");
    write_atomically(disk, &folder.file(TOKENIZER), vocab.tokenizer_json().as_bytes())?;
    write_with_digest(disk, &folder.file(VOCAB), content, MAX_VOCAB_BYTES)
}

/// Writes `config.json`.
pub(crate) fn write_config(disk: &dyn Disk, folder: &Folder, config: &impl Serialize) -> Result<()> {
    let content = serde_json::to_value(config).expect("plain values are valid JSON");
    write_with_digest(disk, &folder.file(CONFIG), content, MAX_CONFIG_BYTES).map(|_| ())
}
