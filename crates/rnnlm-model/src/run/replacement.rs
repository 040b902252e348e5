//! A run that replaces another one in the same folder.
//!
//! The old run stays complete until the first save of the new one is complete:
//!
//! 1. The files of the new run are written to `.rnnlm-new`.
//! 2. That folder is renamed to `.rnnlm-replacement`. From then on, the new run counts.
//! 3. Files that only the old run has are removed, and the folder is renamed to `.rnnlm-moving`.
//! 4. Its files replace those of the old run, and it is removed.
//!
//! After a crash before 2, the old run is read. After a crash between 2 and 4, the new run is read from both folders
//! (`locate.rs`), and the next writer completes the steps ([`complete`]).

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::checkpoints;
use super::disk::Disk;
use super::files::{io_error, is_folder, remove_file_if_exists, remove_temporary_files};
use super::links::mode_of_new_folder;
use super::locate::{MOVING, NEW, REPLACEMENT};
use super::names::{BEST, CHART, CHECKPOINTS, CONFIG, METRICS, MODEL, TOKENIZER, TRAINER, VOCAB};
use crate::Result;

/// The files that a new run can have before its first save is complete.
const NEW_FILES: [&str; 8] = [CONFIG, VOCAB, TOKENIZER, MODEL, TRAINER, METRICS, BEST, CHART];
/// The files that a run may not have, so that the new run might leave those of the old one.
const OPTIONAL: [&str; 5] = [TOKENIZER, TRAINER, METRICS, BEST, CHART];

/// The folder in which the files of a new run are written until it replaces the run in `folder`.
pub(crate) fn new_folder(folder: &Path) -> PathBuf {
    folder.join(NEW)
}

/// Creates the folder for the files of a new run.
pub(crate) fn begin(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let new = new_folder(folder);
    disk.create_folder(&new, mode_of_new_folder(&new)).map_err(io_error(&new, "created"))
}

/// Removes a new run that was never saved. A folder with other files is not from this program and stays.
pub(crate) fn abandon(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let new = new_folder(folder);
    if !is_folder(&new) {
        return Ok(());
    }
    let error = io_error(&new, "removed");
    remove_temporary_files(disk, &new)?;
    remove_files(disk, &new, &NEW_FILES).map_err(&error)?;
    let is_empty = fs::read_dir(&new).map_err(&error)?.next().is_none();
    if is_empty { disk.remove(&new).map_err(&error) } else { Ok(()) }
}

/// Makes the new run count.
pub(crate) fn commit(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let renamed = disk.rename(&new_folder(folder), &folder.join(REPLACEMENT));
    renamed.and_then(|()| disk.sync_folder(folder)).map_err(io_error(folder, "replaced"))
}

/// Moves the files of a new run that counts to their place. Does nothing without such a run.
pub(crate) fn complete(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let error = io_error(folder, "replaced");
    let (replacement, moving) = (folder.join(REPLACEMENT), folder.join(MOVING));
    if is_folder(&replacement) {
        checkpoints::remove_all(disk, &folder.join(CHECKPOINTS))?;
        let removed = remove_files(disk, folder, &OPTIONAL);
        removed
            .and_then(|()| disk.rename(&replacement, &moving))
            .and_then(|()| disk.sync_folder(folder))
            .map_err(&error)?;
    }
    if is_folder(&moving) {
        for name in NEW_FILES {
            if moving.join(name).symlink_metadata().is_ok() {
                disk.rename(&moving.join(name), &folder.join(name)).map_err(&error)?;
            }
        }
        disk.sync_folder(folder).map_err(&error)?;
        disk.remove(&moving).map_err(io_error(&moving, "removed"))?;
    }
    Ok(())
}

fn remove_files(disk: &dyn Disk, folder: &Path, names: &[&str]) -> io::Result<()> {
    names.iter().try_for_each(|name| remove_file_if_exists(disk, &folder.join(name)))
}
