//! `--vocab` and `--tokenizer`: a run whose vocabulary is given instead of built from its text.

use std::path::Path;

use rnnlm_model::{Run, read_vocab};
use rnnlm_vocab::{CorpusOptions, TokenCache, TokenKind, Vocab};

use super::args::TrainArgs;
use super::settings::flag;
use super::{config, conflicts};
use crate::corpora::{self, TextSource};
use crate::failure::{Failure, Result};
use crate::progress::error_line;
use crate::text::{self, Text};
use crate::unknown_tokens::{MAX_UNKNOWN_SHARE, UnknownCounts};
use crate::{human, tokenizer_file};

/// The vocabulary in `path`: that of a run, or of a file in one of the forms of `rnnlm import --vocab`. If the file has only
/// tokens, flags and defaults of the text define how texts are read. With `--tokenizer`, the vocabulary of the tokenizer in `path`.
pub(crate) fn load(path: &Path, args: &TrainArgs, source: &TextSource) -> Result<GivenVocab> {
    if path.is_dir() {
        let vocab = match TokenCache::is_cache(path) {
            true => TokenCache::open(path)?.vocab().clone(),
            false => Run::open(path)?.vocab().clone(),
        };
        return Ok(GivenVocab { vocab, shift: Some(0) });
    }
    let requested = config::corpus_options(args, source);
    if args.tokenizer.is_some() {
        require_no_other_tokens(args)?;
        let vocab = tokenizer_file::vocab(path, requested.line_ends, requested.documents)?;
        return Ok(GivenVocab { vocab, shift: Some(0) });
    }
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
    let is_shifted = |shift: u32| {
        (shift..).zip(&vocab.file_ids()[shift as usize..]).all(|(id, file_id)| *file_id == Some(id - shift))
    };
    let has_added_unknown = vocab.file_ids().first() == Some(&None);
    let shift = Some(u32::from(has_added_unknown)).filter(|&shift| is_shifted(shift));
    if vocab.is_stored() {
        return Ok(GivenVocab { vocab: vocab.into_vocab(), shift });
    }
    let vocab = vocab.into_vocab().with_line_ends(requested.line_ends);
    let vocab = vocab.with_documents(requested.documents).map_err(rnnlm_model::Error::from)?;
    Ok(GivenVocab { vocab, shift })
}

/// An error if the command line sets another tokenization than that of `--tokenizer`.
fn require_no_other_tokens(args: &TrainArgs) -> Result<()> {
    let refused =
        ["token", "normalize", "min_freq", "max_vocab"].into_iter().find(|name| args.settings.is_explicit(name));
    match refused {
        None => Ok(()),
        Some(name) => Err(Failure::usage(format!("--tokenizer and {} cannot be used together", flag(name)))
            .with_hint("the tokenizer has its own tokens and its own normalization")),
    }
}

/// A given vocabulary.
pub(crate) struct GivenVocab {
    pub(crate) vocab: Vocab,
    /// The difference between the ids of the vocabulary and those of its file: 1 if `<unk>` was added; `None` if the order is
    /// another one.
    shift: Option<u32>,
}

/// Reads the text with the vocabulary of `--vocab`. A `.bin` file has ids of the vocabulary's file.
pub(crate) fn read_text(path: &Path, args: &TrainArgs, source: &TextSource) -> Result<(CorpusOptions, Text)> {
    let GivenVocab { vocab, shift } = load(path, args, source)?;
    let Some(file) = text::token_file(source).filter(|_| vocab.kind() != TokenKind::Byte) else {
        return read_corpus(&vocab, path, args, source);
    };
    let options = corpus_options(&vocab, path, args, source)?;
    let shift = shift.ok_or_else(|| {
        let (file, path) = (file.display(), path.display());
        Failure::failed(format!("the ids of `{file}` are not those of `{path}`, where special tokens are not first"))
    })?;
    let text = Text::of_token_file(file, &vocab, shift, options.max_tokens)?;
    Ok((options, text))
}

/// Opens a token cache as the text. Its options and its vocabulary are those that it was built with.
pub(crate) fn read_cache(folder: &Path, args: &TrainArgs, source: &TextSource) -> Result<(CorpusOptions, Text)> {
    let cache = corpora::open_cache(folder)?;
    let requested = config::corpus_options(args, source);
    let options = CorpusOptions { max_tokens: requested.max_tokens, ..cache.options().clone() };
    let default = config::corpus_options(&TrainArgs::defaults(), source);
    let found = conflicts::find(&options, &requested, &default, &args.settings);
    conflicts::require_none(&found, folder, "omit these flags, or build a cache with them")?;
    let text = Text::of_cache(cache, options.max_tokens)?;
    Ok((options, text))
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
) -> Result<(CorpusOptions, Text)> {
    let options = corpus_options(vocab, origin, args, source)?;
    let text = Text::encode(source, vocab, &options)?;
    warn_of_unknown_tokens(origin, &text);
    Ok((options, text))
}

/// Prints a warning if the vocabulary lacks so many tokens of the text that it probably does not fit.
fn warn_of_unknown_tokens(origin: &Path, text: &Text) {
    let corpus = &text.corpus;
    let (unknown, all) = (corpus.unknown.count(), text.ids().len());
    if unknown as f64 <= MAX_UNKNOWN_SHARE * all as f64 {
        return;
    }
    error_line(&format!(
        "warning: {} of the text's tokens ({} of {}) are not in the vocabulary of {} (read as <unk>): {}",
        human::percent(unknown, all),
        human::thousands(unknown as u64),
        human::thousands(all as u64),
        origin.display(),
        UnknownCounts::of(&corpus.unknown).names().join(" ")
    ));
}
