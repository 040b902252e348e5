//! The folder of a new run: the one of `--out`, or the first free numbered one. Problems are found before training.

use std::path::{Path, PathBuf};

use rnnlm_model::{Run, RunConfig, RunWriter};
use rnnlm_vocab::Vocab;

use crate::failure::{Failure, Result};

/// The folder of a new run.
pub(crate) struct RunFolder {
    pub(crate) path: PathBuf,
    /// Whether an existing run is replaced.
    replace: bool,
    /// `runs/STEM` if there is no `--out`.
    stem: Option<String>,
}

impl RunFolder {
    /// The folder `out`, or `runs/STEM-N` with the first free `N`.
    ///
    /// # Errors
    /// If `out` exists and may not be replaced. With `force`, only a complete run may be.
    pub(crate) fn choose(out: Option<&PathBuf>, force: bool, stem: &str) -> Result<Self> {
        let Some(path) = out else {
            let stem = format!("runs/{stem}");
            return Ok(Self { path: first_free(&stem), replace: false, stem: Some(stem) });
        };
        let exists = path.symlink_metadata().is_ok() && !Run::is_unfinished(path);
        if exists && !force {
            return Err(rnnlm_model::Error::Exists { path: path.clone() }.into());
        }
        if exists {
            // a folder with files of the same names may belong to another program; only one that opens as a run is a
            // run
            Run::open(path).map_err(|error| Failure::not_replaced(path, error))?;
        }
        Ok(Self { path: path.clone(), replace: force, stem: None })
    }

    /// Creates the folder for a training run.
    pub(crate) fn create(self, config: &RunConfig, vocab: &Vocab) -> Result<RunWriter> {
        self.create_with(|path, replace| RunWriter::create(path, replace, config.clone(), vocab.clone()))
    }

    /// Creates the folder with `create(path, replace)`. If another process has taken the numbered folder in the
    /// meantime, the next free number is used.
    pub(crate) fn create_with<T>(mut self, create: impl Fn(&Path, bool) -> rnnlm_model::Result<T>) -> Result<T> {
        use rnnlm_model::Error::{Exists, Locked};
        let mut number = 1;
        loop {
            match (create(&self.path, self.replace), &self.stem) {
                (Err(Exists { .. } | Locked { .. }), Some(stem)) => {
                    number += 1;
                    self.path = numbered(stem, number);
                }
                (created, _) => return Ok(created?),
            }
        }
    }
}

/// `STEM-N` with the first free `N`.
fn first_free(stem: &str) -> PathBuf {
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err() || Run::is_unfinished(path);
    (1..).map(|number| numbered(stem, number)).find(is_free).unwrap_or_else(|| numbered(stem, 0))
}

fn numbered(stem: &str, number: u64) -> PathBuf {
    PathBuf::from(format!("{stem}-{number}"))
}
