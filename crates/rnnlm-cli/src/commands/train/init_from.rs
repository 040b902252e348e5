//! `--init-from`: the model and the text of a new run that starts with the weights of another run.

use std::cmp::Reverse;

use rnnlm_model::{ModelConfig, Run};
use rnnlm_vocab::{Corpus, CorpusOptions};

use super::args::TrainArgs;
use super::{config, conflicts};
use crate::corpora::TextSource;
use crate::failure::Result;
use crate::human;
use crate::progress::error_line;
use crate::unknown_tokens::MAX_UNKNOWN_SHARE;

/// The maximum number of unknown tokens in the warning.
const MAX_EXAMPLES: usize = 8;

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
    let options = CorpusOptions {
        kind: vocab.kind(),
        normalization: vocab.normalization(),
        line_ends: vocab.line_ends(),
        min_freq: 0,
        ..requested.clone()
    };
    let default = config::corpus_options(&TrainArgs::defaults(), source);
    let found = conflicts::find(&options, &requested, &default, &args.settings);
    conflicts::require_none(
        &found,
        run.path(),
        "omit these flags; the vocabulary of the run defines how text is read",
    )?;
    let corpus = source.encode(vocab.clone(), options.max_tokens, options.encoding)?;
    warn_of_unknown_tokens(run, &corpus);
    Ok((options, corpus))
}

/// Prints a warning if the vocabulary of the other run lacks so many tokens of the text that it probably does not fit.
fn warn_of_unknown_tokens(run: &Run, corpus: &Corpus) {
    let (unknown, all) = (corpus.unknown.count(), corpus.ids.len());
    if unknown as f64 <= MAX_UNKNOWN_SHARE * all as f64 {
        return;
    }
    let mut distinct: Vec<_> = corpus.unknown.distinct().iter().collect();
    distinct.sort_by_key(|token| Reverse(token.count));
    let examples: Vec<String> =
        distinct.iter().take(MAX_EXAMPLES).map(|unknown| format!("{:?}", unknown.token)).collect();
    let more = if distinct.len() > MAX_EXAMPLES { " …" } else { "" };
    error_line(&format!(
        "warning: {} of the text's tokens ({} of {}) are not in the vocabulary of {} (read as <unk>): {}{more}",
        human::percent(unknown, all),
        human::thousands(unknown as u64),
        human::thousands(all as u64),
        run.path().display(),
        examples.join(" ")
    ));
}
