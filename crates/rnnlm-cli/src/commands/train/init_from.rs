//! `--init-from`: the model and the text of a new run that starts with the weights of another run.

use rnnlm_model::{ModelConfig, Run};
use rnnlm_vocab::{Corpus, CorpusOptions};

use super::args::TrainArgs;
use super::{config, conflicts};
use crate::corpora::TextSource;
use crate::failure::Result;

/// The configuration of the other run's model. An error if the command line sets other sizes.
pub(crate) fn model_config(run: &Run, args: &TrainArgs) -> Result<ModelConfig> {
    let of_run = run.model();
    let requested = config::model_config(args, of_run.vocab_size);
    let default = config::model_config(&TrainArgs::defaults(), of_run.vocab_size);
    let found = conflicts::find(of_run, &requested, &default, &args.settings);
    conflicts::require_none(&found, run.path(), "omit these flags; the model has the sizes of its weights")?;
    Ok(of_run.clone())
}

/// Reads the text with the vocabulary of the other run. An error if the command line sets another tokenization.
pub(crate) fn read_corpus(run: &Run, args: &TrainArgs, source: &TextSource) -> Result<(CorpusOptions, Corpus)> {
    let vocab = run.vocab();
    let requested = config::corpus_options(args, source);
    let options =
        CorpusOptions { kind: vocab.kind(), normalization: vocab.normalization(), min_freq: 0, ..requested.clone() };
    let default = config::corpus_options(&TrainArgs::defaults(), source);
    let found = conflicts::find(&options, &requested, &default, &args.settings);
    conflicts::require_none(
        &found,
        run.path(),
        "omit these flags; the vocabulary of the run defines how text is read",
    )?;
    let corpus = source.encode(vocab.clone(), options.max_tokens)?;
    Ok((options, corpus))
}
