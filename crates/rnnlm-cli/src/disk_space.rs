//! Compares the disk space that a run needs with the free space, before training starts.

use std::path::Path;

use crate::failure::{Failure, Result};
use crate::human;

/// An error if the disk of `run` has no space for two checkpoints of `checkpoint_bytes` each. Replacing a file
/// atomically needs the old and the new one at the same time. If the free space is unknown, there is no error.
pub(crate) fn check(run: &Path, checkpoint_bytes: u64) -> Result<()> {
    compare(run, checkpoint_bytes, free(run))
}

/// The free space on the disk of `path`, which need not exist; `None` if it is unknown.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let folder = path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    fs4::available_space(folder).ok()
}

fn compare(run: &Path, checkpoint_bytes: u64, free: Option<u64>) -> Result<()> {
    let needed = checkpoint_bytes.saturating_mul(2);
    match free {
        Some(free) if free < needed => {
            let run = run.display();
            let needed = human::bytes(needed.into());
            let free = human::bytes(free.into());
            let message = format!("not enough space for `{run}`: two checkpoints need {needed}, {free} is free");
            Err(Failure::failed(message).with_hint("choose --out on another disk, or a smaller model"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_checkpoints_must_fit() {
        let run = Path::new("runs/x");
        assert!(compare(run, 500, Some(1000)).is_ok());
        assert!(compare(run, 500, None).is_ok());
        let error = compare(run, 1_200_000, Some(1_900_000)).unwrap_err().to_string();
        assert_eq!(error, "not enough space for `runs/x`: two checkpoints need 2.4 MB, 1.9 MB is free");
    }
}
