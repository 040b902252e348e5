//! `--init-from`: the model and the text of a new run that starts with the weights of another run.

use rnnlm_model::{ModelConfig, Run};
use rnnlm_vocab::CorpusOptions;

use super::args::TrainArgs;
use super::{config, conflicts, given_vocab};
use crate::corpora::TextSource;
use crate::failure::Result;
use crate::text::Text;

/// The configuration of the other run's model, with this number of tokens. An error if the command line sets other sizes.
pub(crate) fn model_config(run: &Run, args: &TrainArgs, vocab_size: usize) -> Result<ModelConfig> {
    let of_run = run.model();
    let requested = config::model_config(args, of_run.vocab_size);
    let default = config::model_config(&TrainArgs::defaults(), of_run.vocab_size);
    let found = conflicts::find(of_run, &requested, &default, &args.settings);
    conflicts::require_none(&found, run.path(), "omit these flags; the model has the sizes of its weights")?;
    Ok(ModelConfig { vocab_size, ..of_run.clone() })
}

/// Reads the text with the vocabulary of the other run, which `--extend-vocab` extends. An error if the command line sets
/// another tokenization.
pub(crate) fn read_corpus(run: &Run, args: &TrainArgs, source: &TextSource) -> Result<(CorpusOptions, Text)> {
    if !args.extend_vocab {
        return given_vocab::read_corpus(run.vocab(), run.path(), args, source);
    }
    let options = given_vocab::corpus_options(run.vocab(), run.path(), args, source)?;
    let options = CorpusOptions { min_freq: args.min_freq, max_vocab: args.max_vocab, ..options };
    let corpus = source.extend(run.vocab(), &options)?;
    Ok((options, corpus.into()))
}
