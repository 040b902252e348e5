//! `--vocab`: a run whose vocabulary is given instead of built from its text.

use std::cmp::Reverse;
use std::path::Path;

use rnnlm_model::{Run, read_vocab};
use rnnlm_vocab::{Corpus, CorpusOptions, Vocab};

use super::args::TrainArgs;
use super::{config, conflicts};
use crate::corpora::TextSource;
use crate::failure::{Failure, Result};
use crate::human;
use crate::progress::error_line;
use crate::unknown_tokens::MAX_UNKNOWN_SHARE;

/// The maximum number of unknown tokens in the warning.
const MAX_EXAMPLES: usize = 8;

/// The vocabulary in `path`: that of a run, or of a file in one of the forms of `rnnlm import --vocab`. If the file has only
/// tokens, flags and defaults of the text define how texts are read.
pub(crate) fn load(path: &Path, args: &TrainArgs, source: &TextSource) -> Result<Vocab> {
    if path.is_dir() {
        return Ok(Run::open(path)?.vocab().clone());
    }
    let requested = config::corpus_options(args, source);
    let kind = args.settings.is_explicit("token").then_some(args.token);
    let vocab = match read_vocab(path, kind, Some(requested.normalization)) {
        // only a normalization that the user set contradicts that of a vocab.json
        Err(rnnlm_model::Error::VocabMismatch { name: "normalize", .. }) if args.normalize.is_none() => {
            read_vocab(path, kind, None)
        }
        Err(rnnlm_model::Error::Vocab(error @ rnnlm_vocab::Error::VocabContent { .. })) if kind.is_none() => {
            return Err(Failure::failed(error.to_string()).with_hint("--token word reads a vocabulary of words"));
        }
        vocab => vocab,
    }?;
    if vocab.is_stored() {
        return Ok(vocab.into_vocab());
    }
    let vocab = vocab.into_vocab().with_line_ends(requested.line_ends);
    Ok(vocab.with_documents(requested.documents).map_err(rnnlm_model::Error::from)?)
}

/// How a text is read with a given vocabulary, which is that of the run or the file `origin`. An error if the command line
/// sets another tokenization.
pub(crate) fn corpus_options(
    vocab: &Vocab,
    origin: &Path,
    args: &TrainArgs,
    source: &TextSource,
) -> Result<CorpusOptions> {
    let requested = config::corpus_options(args, source);
    let options = CorpusOptions {
        kind: vocab.kind(),
        normalization: vocab.normalization(),
        line_ends: vocab.line_ends(),
        documents: vocab.documents(),
        min_freq: 0,
        max_vocab: 0,
        ..requested.clone()
    };
    let default = config::corpus_options(&TrainArgs::defaults(), source);
    let mut found = conflicts::find(&options, &requested, &default, &args.settings);
    found.retain(|difference| !args.extend_vocab || !matches!(difference.name.as_str(), "min_freq" | "max_vocab"));
    conflicts::require_none(&found, origin, "omit these flags; the vocabulary defines how text is read")?;
    Ok(options)
}

/// Reads the text with a given vocabulary.
pub(crate) fn read_corpus(
    vocab: &Vocab,
    origin: &Path,
    args: &TrainArgs,
    source: &TextSource,
) -> Result<(CorpusOptions, Corpus)> {
    let options = corpus_options(vocab, origin, args, source)?;
    let corpus = source.encode(vocab.clone(), options.max_tokens, options.encoding)?;
    warn_of_unknown_tokens(origin, &corpus);
    Ok((options, corpus))
}

/// Prints a warning if the vocabulary lacks so many tokens of the text that it probably does not fit.
fn warn_of_unknown_tokens(origin: &Path, corpus: &Corpus) {
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
        origin.display(),
        examples.join(" ")
    ));
}
