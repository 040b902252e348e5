//! The folder that a new run gets: the one that was asked for, or the first free one; refused before training, not after.

use std::path::PathBuf;

use rnnlm_model::{Run, RunConfig, RunWriter};
use rnnlm_vocab::Vocab;

use crate::chart;
use crate::corpora::Source;
use crate::failure::{Failure, Result};
use crate::options::TrainArgs;

/// Where the run goes.
pub(crate) struct Out {
    pub(crate) path: PathBuf,
    replace: bool,
    /// `runs/CORPUS-CELL` where no folder was asked for.
    stem: Option<String>,
}

impl Out {
    /// The folder that was asked for, or the first free one; refused now rather than after training.
    pub(crate) fn choose(args: &TrainArgs, source: &Source) -> Result<Self> {
        let Some(path) = &args.out else {
            let stem = format!("runs/{}-{}", source.stem(), args.cell.as_str());
            return Ok(Self { path: first_free(&stem), replace: false, stem: Some(stem) });
        };
        let exists = path.symlink_metadata().is_ok() && !Run::is_unfinished(path);
        if exists && !args.force {
            return Err(rnnlm_model::Error::Exists { path: path.clone() }.into());
        }
        if exists {
            // other programs' models have files of the same names: only what reads as a run is one
            Run::open(path).map_err(|error| Failure::not_replaced(path, error))?;
        }
        Ok(Self { path: path.clone(), replace: args.force, stem: None })
    }

    /// Makes the folder; the next free one if another training has taken the name meanwhile.
    pub(crate) fn create(mut self, config: &RunConfig, vocab: &Vocab) -> Result<RunWriter> {
        use rnnlm_model::Error::{Exists, Locked};
        let mut number = 1;
        loop {
            match (RunWriter::create(&self.path, self.replace, config.clone(), vocab.clone()), &self.stem) {
                (Err(Exists { .. } | Locked { .. }), Some(stem)) => {
                    number += 1;
                    self.path = numbered(stem, number);
                }
                (writer, _) => {
                    let writer = writer?;
                    chart::remove(writer.run().path())?;
                    return Ok(writer);
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
