//! The training text of an existing run, for a command that reads it again.

use rnnlm_model::Run;

use super::resume::read_text;
use super::split::{Split, Validation};
use crate::corpora;
use crate::failure::{Failure, Result};

/// Reads the text of a run and divides it as at the start of the run; `corpus` is its present location, if that has changed.
///
/// # Errors
/// If the text cannot be read, or is not the text of the run.
pub(crate) fn training_text(run: &Run, corpus: Option<&str>) -> Result<Split> {
    let config = run.config()?;
    let name = corpus.unwrap_or(&config.corpus.name);
    let source = corpora::resolve(name)?;
    if corpus.is_none() && source.is_standard_input() {
        let message = format!("`{}` was trained on standard input, which cannot be read again", run.path().display());
        return Err(Failure::usage(message).with_hint("add --training-corpus FILE, or use --dynamic=sgd"));
    }
    let encoding = config.corpus.options.encoding;
    let text = read_text(&source, name, &config.corpus, run.vocab(), encoding)?;
    let recorded = config.validation.as_ref();
    let validation = Validation {
        // another text is the validation set of the run, and does not shorten this one
        fraction: recorded.map_or(0.0, |record| record.fraction),
        seed: config.train.seed,
        text: None,
        encoding,
    };
    Ok(Split::new(text, validation)?.0)
}
