//! The life of a run's folder: whether it contains a run, and how a new run starts in it.

use std::fs::File;
use std::path::Path;

use rnnlm_vocab::Vocab;
use serde::Serialize;

use super::disk::Disk;
use super::files::{LOCK, UNFINISHED, io_error, lock, parent, remove_if_exists, remove_unfinished};
use super::names::{BEST, CHECKPOINTS, CONFIG, METRICS, MODEL, TRAINER, VOCAB};
use super::record::write_with_digest;
use crate::{Error, Result};

/// An error unless the folder has the files that every run has.
pub(crate) fn require_run(path: &Path) -> Result<()> {
    let not_a_run = |reason: String| Err(Error::NotARun { path: path.to_owned(), reason });
    if !path.exists() {
        return not_a_run("it does not exist".to_owned());
    }
    if !path.is_dir() {
        return not_a_run("it is not a folder".to_owned());
    }
    match [CONFIG, VOCAB].iter().find(|name| !path.join(name).is_file()) {
        Some(missing) => not_a_run(format!("it has no `{missing}`")),
        None => Ok(()),
    }
}

/// Whether a folder is empty, or contains only the files of a process that ended before it saved its run for the first time.
pub(crate) fn is_unfinished(folder: &Path) -> bool {
    let is_first_file = |name: &str| name == LOCK || name.starts_with(UNFINISHED) || [VOCAB, CONFIG].contains(&name);
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let found: Vec<String> = entries
        .map(|entry| entry.map_or_else(|_| "?".to_owned(), |e| e.file_name().to_string_lossy().into_owned()))
        .collect();
    found.is_empty() || found.iter().any(|name| name == LOCK) && found.iter().all(|name| is_first_file(name))
}

/// Creates the folder of a run, or empties the one that it replaces, and locks it.
pub(crate) fn prepare(disk: &dyn Disk, path: &Path, replace: bool) -> Result<File> {
    check_available(path, replace)?;
    if path.symlink_metadata().is_err() {
        std::fs::create_dir_all(parent(path)).map_err(io_error(path, "created"))?;
        match disk.create_folder(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => check_available(path, replace),
            outcome => outcome.map_err(io_error(path, "created")),
        }?;
        disk.sync_folder(parent(path)).map_err(io_error(path, "created"))?;
    }
    let lock = lock(path)?;
    // again, because another process may have created a run before this one had the lock
    check_available(path, replace)?;
    remove_unfinished(disk, path)?;
    // the configuration is removed first and written last: a folder without it is not a run
    for name in [CONFIG, MODEL, TRAINER, BEST, METRICS, CHECKPOINTS, VOCAB] {
        let old = path.join(name);
        remove_if_exists(disk, &old).map_err(io_error(&old, "replaced"))?;
    }
    Ok(lock)
}

/// An error unless a run may be created at `path`.
fn check_available(path: &Path, replace: bool) -> Result<()> {
    if path.symlink_metadata().is_err() || is_unfinished(path) {
        return Ok(());
    }
    if replace { require_run(path) } else { Err(Error::Exists { path: path.to_owned() }) }
}

/// Writes `vocab.json` and returns its digest.
pub(crate) fn write_vocab(disk: &dyn Disk, folder: &Path, vocab: &Vocab) -> Result<String> {
    let content = serde_json::from_str(&vocab.to_json()?).expect("a vocabulary is valid JSON");
    write_with_digest(disk, &folder.join(VOCAB), content)
}

/// Writes `config.json`.
pub(crate) fn write_config(disk: &dyn Disk, folder: &Path, config: &impl Serialize) -> Result<()> {
    let content = serde_json::to_value(config).expect("plain values are valid JSON");
    write_with_digest(disk, &folder.join(CONFIG), content).map(|_| ())
}
