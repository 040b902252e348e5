//! Builds token caches, with progress on standard error and a check of the free disk space.

use std::path::{Path, PathBuf};

use rnnlm_vocab::{CachePass, CacheProgress, CorpusOptions, Error, TokenCache, Vocab};

use crate::available_memory::available_memory;
use crate::failure::Result;
use crate::progress::{ReadingProgress, error_line};
use crate::{disk_space, human, progress};

/// Builds the token cache of these files in `folder`, or opens it if it is there. `replace` replaces another cache.
pub(crate) fn build(
    folder: &Path,
    paths: &[PathBuf],
    options: &CorpusOptions,
    vocab: Option<&Vocab>,
    replace: bool,
) -> Result<TokenCache> {
    let mut progress = Progress { name: name(paths), line: None };
    let memory = available_memory().unwrap_or(u64::MAX);
    let build = if replace { TokenCache::rebuild } else { TokenCache::build };
    Ok(build(folder, paths, options, vocab, memory, &mut progress)?)
}

/// `text.txt`; `text.txt and 3 others`.
fn name(paths: &[PathBuf]) -> String {
    let first = paths.first().map_or_else(String::new, |path| path.display().to_string());
    match paths.len() {
        0 | 1 => first,
        count => format!("{first} and {}", human::count(count as u64 - 1, "other")),
    }
}

struct Progress {
    name: String,
    /// The pass with its line.
    line: Option<(CachePass, ReadingProgress)>,
}

impl CacheProgress for Progress {
    fn progress(&mut self, pass: CachePass, bytes: u64, total: u64) {
        let is_current = self.line.as_ref().is_some_and(|(current, _)| *current == pass);
        if !is_current {
            let verb = match pass {
                CachePass::Count => "counting",
                CachePass::Write => "writing the ids of",
            };
            self.line = Some((pass, ReadingProgress::of_activity(verb, &self.name, Some(total))));
        }
        if let Some((_, line)) = &mut self.line {
            line.update(bytes);
        }
    }

    fn announce(&mut self, folder: &Path, bytes: u64) -> rnnlm_vocab::Result<()> {
        self.line = None;
        if let Some(free) = disk_space::free(folder).filter(|&free| free < bytes) {
            return Err(Error::DiskSpace { path: folder.to_owned(), needed: bytes, free });
        }
        if !progress::is_quiet() {
            let size = human::bytes(bytes.into());
            error_line(&format!("the token cache `{}` takes {size} of disk space", folder.display()));
        }
        Ok(())
    }
}
