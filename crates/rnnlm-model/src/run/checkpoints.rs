//! `checkpoints/`: earlier versions of `trainer.safetensors`, as `step-N.safetensors`. `branches.rs` explains the abandoned
//! ones.

use std::fs;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::files::{
    io_error, is_folder, read_bounded, remove_file_if_exists, remove_temporary_files, write_atomically,
};
use super::links::mode_of_new_folder;
use crate::Result;

/// Prefix of the names of abandoned checkpoints.
const ABANDONED: &str = "abandoned-";

/// A file in the folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Checkpoint {
    /// False if it was abandoned. The first key of the order, because usable checkpoints are more valuable.
    pub(crate) is_usable: bool,
    pub(crate) step: u64,
    pub(crate) path: PathBuf,
}

/// Keeps the current `trainer`, which was saved at `step`, before another version replaces it.
pub(crate) fn keep(disk: &dyn Disk, folder: &Path, trainer: &Path, step: u64) -> Result<()> {
    if !is_folder(folder) {
        // a link may lead to the checkpoints of another run
        remove_file_if_exists(disk, folder).map_err(io_error(folder, "replaced"))?;
        disk.create_folder(folder, mode_of_new_folder(folder)).map_err(io_error(folder, "created"))?;
    }
    let kept = folder.join(file_name(true, step));
    remove_file_if_exists(disk, &kept).map_err(io_error(&kept, "replaced"))?;
    let is_link = trainer.is_symlink();
    // some file systems have no hard links
    if is_link || disk.link(trainer, &kept).is_err() {
        write_atomically(disk, &kept, &read_bounded(trainer, u64::MAX)?)?;
    }
    disk.sync_folder(folder).map_err(io_error(folder, "written"))
}

/// Removes all checkpoints but the newest `count`. Abandoned ones are removed first.
pub(crate) fn remove_old(disk: &dyn Disk, folder: &Path, count: usize) -> Result<()> {
    let mut found = list(folder)?;
    found.sort_unstable();
    remove(disk, &found[..found.len().saturating_sub(count)])
}

/// Removes the temporary files of earlier processes.
pub(crate) fn remove_temporary(disk: &dyn Disk, folder: &Path) -> Result<()> {
    if is_folder(folder) { remove_temporary_files(disk, folder) } else { Ok(()) }
}

/// Removes all checkpoints, and the folder if nothing else is in it.
pub(crate) fn remove_all(disk: &dyn Disk, folder: &Path) -> Result<()> {
    if !is_folder(folder) {
        return remove_file_if_exists(disk, folder).map_err(io_error(folder, "replaced"));
    }
    remove_temporary_files(disk, folder)?;
    remove(disk, &list(folder)?)?;
    let is_empty = fs::read_dir(folder).map_err(io_error(folder, "read"))?.next().is_none();
    if is_empty { disk.remove(folder).map_err(io_error(folder, "removed")) } else { Ok(()) }
}

fn remove(disk: &dyn Disk, checkpoints: &[Checkpoint]) -> Result<()> {
    checkpoints.iter().try_for_each(|Checkpoint { path, .. }| disk.remove(path).map_err(io_error(path, "removed")))
}

/// The name of the file of a checkpoint.
pub(crate) fn file_name(is_usable: bool, step: u64) -> String {
    let prefix = if is_usable { "" } else { ABANDONED };
    format!("{prefix}step-{step}.safetensors")
}

/// The checkpoints in a folder; none if it is a link.
pub(crate) fn list(folder: &Path) -> Result<Vec<Checkpoint>> {
    if !is_folder(folder) {
        return Ok(Vec::new());
    }
    let error = io_error(folder, "read");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(&error)? {
        let entry = entry.map_err(&error)?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let (is_usable, rest) = name.strip_prefix(ABANDONED).map_or((true, name.as_str()), |rest| (false, rest));
        let step = rest.strip_prefix("step-").and_then(|rest| rest.strip_suffix(".safetensors")?.parse().ok());
        if let Some(step) = step.filter(|&step| file_name(is_usable, step) == name && !is_folder(&path)) {
            found.push(Checkpoint { is_usable, step, path });
        }
    }
    Ok(found)
}
