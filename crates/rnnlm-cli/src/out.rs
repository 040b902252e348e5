//! The folder that a new run gets: the one that was asked for, or the first free one; refused before training, not after.

use std::path::{Path, PathBuf};

use rnnlm_model::{Run, RunConfig, RunWriter};
use rnnlm_vocab::Vocab;

use crate::chart;
use crate::failure::{Failure, Result};

/// Where the run goes.
pub(crate) struct Out {
    pub(crate) path: PathBuf,
    replace: bool,
    /// `runs/CORPUS-CELL` where no folder was asked for.
    stem: Option<String>,
}

impl Out {
    /// The folder that was asked for, or `runs/STEM-N` with the first free `N`; refused now rather than after training.
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
            // other programs' models have files of the same names: only what reads as a run is one
            Run::open(path).map_err(|error| Failure::not_replaced(path, error))?;
        }
        Ok(Self { path: path.clone(), replace: force, stem: None })
    }

    /// Makes the folder; the next free one if another training has taken the name meanwhile.
    pub(crate) fn create(self, config: &RunConfig, vocab: &Vocab) -> Result<RunWriter> {
        self.make(|path, replace| RunWriter::create(path, replace, config.clone(), vocab.clone()))
    }

    /// [`Out::create`] for whatever makes a run in a folder.
    pub(crate) fn make<T>(mut self, make: impl Fn(&Path, bool) -> rnnlm_model::Result<T>) -> Result<T> {
        use rnnlm_model::Error::{Exists, Locked};
        let mut number = 1;
        loop {
            match (make(&self.path, self.replace), &self.stem) {
                (Err(Exists { .. } | Locked { .. }), Some(stem)) => {
                    number += 1;
                    self.path = numbered(stem, number);
                }
                (made, _) => {
                    let made = made?;
                    chart::remove(&self.path)?;
                    return Ok(made);
                }
            }
        }
    }
}

/// `STEM-N` with the first `N` that is not taken.
fn first_free(stem: &str) -> PathBuf {
    let free = |path: &PathBuf| path.symlink_metadata().is_err() || Run::is_unfinished(path);
    (1..).map(|number| numbered(stem, number)).find(free).unwrap_or_else(|| numbered(stem, 0))
}

fn numbered(stem: &str, number: u64) -> PathBuf {
    PathBuf::from(format!("{stem}-{number}"))
}
