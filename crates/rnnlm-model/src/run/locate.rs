//! Where a run's files are while it replaces another run in the same folder. `replacement.rs` explains the steps.

use std::path::{Path, PathBuf};

use super::files::is_folder;

/// A new run that was not saved yet.
pub(crate) const NEW: &str = ".rnnlm-new";
/// A new run that counts, next to files that only the old run has.
pub(crate) const REPLACEMENT: &str = ".rnnlm-replacement";
/// A new run some of whose files replaced those of the old run already.
pub(crate) const MOVING: &str = ".rnnlm-moving";

/// Where a file of the run in `folder` is.
pub(crate) fn locate(folder: &Path, name: &str) -> PathBuf {
    let replacement = folder.join(REPLACEMENT);
    if is_folder(&replacement) {
        return replacement.join(name);
    }
    let moving = folder.join(MOVING).join(name);
    if is_folder(&folder.join(MOVING)) && moving.exists() { moving } else { folder.join(name) }
}

/// Whether the run in `folder` has a file. Another process that replaces the run may move the file meanwhile.
pub(crate) fn has_file(folder: &Path, name: &str) -> bool {
    let mut path = locate(folder, name);
    loop {
        if path.is_file() {
            return true;
        }
        let current = locate(folder, name);
        if current == path {
            return false;
        }
        path = current;
    }
}

/// Whether files of the run in `folder` are still in a folder of their own.
pub(crate) fn is_incomplete(folder: &Path) -> bool {
    [REPLACEMENT, MOVING].iter().any(|name| is_folder(&folder.join(name)))
}
