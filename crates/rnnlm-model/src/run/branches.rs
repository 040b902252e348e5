//! Checkpoints of abandoned branches.
//!
//! A user who copies a checkpoint over `trainer.safetensors` goes back to it. The epochs after it are trained again, and
//! `metrics.jsonl` loses their lines. The checkpoints after it then cannot be resumed: each was saved with lines that are gone.
//! They are renamed to `abandoned-step-N.safetensors`, and are the first to be removed.

use super::checkpoints::{Checkpoint, file_name, list};
use super::disk::Disk;
use super::files::io_error;
use super::log::{LogRecord, matching_records};
use super::metadata::Metadata;
use super::names::{CHECKPOINTS, METRICS};
use super::reader::Run;
use super::source::Source;
use super::weights::read_metadata;
use crate::Result;

/// Renames the checkpoints that were saved with other lines than those at the start of `metrics.jsonl`, up to the end of
/// `current`.
pub(crate) fn mark_abandoned(disk: &dyn Disk, run: &Run, current: &LogRecord) -> Result<()> {
    let folder = run.path().join(CHECKPOINTS);
    let (mut checkpoints, mut records) = (Vec::new(), Vec::new());
    for checkpoint in list(&folder)?.into_iter().filter(|checkpoint| checkpoint.is_usable) {
        let saved_with = metadata(run, &checkpoint).and_then(|metadata| metadata.trainer?.saved_with);
        if let Some(saved_with) = saved_with {
            checkpoints.push(checkpoint);
            records.push(saved_with.metrics);
        }
    }
    let matches = matching_records(&run.path().join(METRICS), current, &records)?;
    for (checkpoint, _) in checkpoints.iter().zip(matches).filter(|(_, matches)| !matches) {
        let abandoned = folder.join(file_name(false, checkpoint.step));
        disk.rename(&checkpoint.path, &abandoned).map_err(io_error(&abandoned, "written"))?;
    }
    Ok(())
}

/// Whether a trainer's file with this digest is a copy of an abandoned checkpoint of the run.
pub(crate) fn is_abandoned(run: &Run, sha256: &str) -> bool {
    let checkpoints = list(&run.path().join(CHECKPOINTS)).unwrap_or_default();
    let mut abandoned = checkpoints.iter().filter(|checkpoint| !checkpoint.is_usable);
    abandoned.any(|checkpoint| metadata(run, checkpoint).is_some_and(|metadata| metadata.sha256 == sha256))
}

/// The metadata of a checkpoint; `None` if it is damaged, which is reported when it is resumed.
fn metadata(run: &Run, checkpoint: &Checkpoint) -> Option<Metadata> {
    let name = checkpoint.path.file_name()?.to_string_lossy();
    read_metadata(&Source::Folder(run.path().join(CHECKPOINTS)), &name, run.model()).ok().flatten()
}
