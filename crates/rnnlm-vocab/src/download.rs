//! Before stage 1 of the walk: a corpus that no folder holds, over https.
//!
//! Nothing that comes over the wire is trusted: at most the length on record is read, and the file appears under its
//! name only when all of it has been written and its digest is right.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::corpora::{CHUNK_BYTES, CorpusEntry, Measure, Search, Verdict};
use crate::error::{Attempt, Error, Result};

/// How long a server may keep silent before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The path of the corpus in the first of `folders` or else in `cache` that has it unaltered; if none does, it is
/// downloaded into `cache`, which is created if need be. An altered copy in `cache` is replaced.
///
/// `proxy` is the URL of a proxy to go through. `progress` is called with the bytes received so far and those expected.
///
/// # Errors
///
/// [`Error::WrongCorpus`] if one of `folders` holds a file of that name and other content, and none the right one;
/// [`Error::CorpusUnavailable`] with every place and the reason why it did not give the corpus, the URL included;
/// [`Error::Write`]; [`Error::CorpusName`].
pub fn fetch(
    entry: &CorpusEntry,
    folders: &[impl AsRef<Path>],
    cache: &Path,
    proxy: Option<&str>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<PathBuf> {
    let mut tried = match entry.search(folders)? {
        Search::Found(path) => return Ok(path),
        Search::Missed { tried, wrong } => wrong.map_or(Ok(tried), |wrong| {
            // Only the cache may hold the right one still; a download would hide that the user's copy is not it.
            match entry.search(&[cache])? {
                Search::Found(path) => Err(Stop::Found(path)),
                Search::Missed { .. } => Err(Stop::Failed(wrong)),
            }
        }),
    };
    Ok(PathBuf::new())
}
