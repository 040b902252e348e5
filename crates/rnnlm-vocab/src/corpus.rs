//! Stages 1 and 2 combined: reading a text in one pass and encoding it.

use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::builder::VocabBuilder;
use crate::error::{Error, Result};
use crate::normalize::{Extent, Normalization};
use crate::text::{Lines, TextFormat, TextSize, open};
use crate::tokenize::{TokenKind, TokenizeError, Tokenizer};
use crate::unknown::{UNKNOWN_ID, UnknownTokens};
use crate::vocab::{Encoding, Vocab};

/// Options for building a vocabulary from a text. The defaults are the book's: characters, normalized, the whole text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorpusOptions {
    /// The unit of tokenization.
    pub kind: TokenKind,
    /// The text transformation before tokenization.
    pub normalization: Normalization,
    /// Tokens with fewer occurrences in the whole text become `<unk>`. 0 and 1 keep all tokens.
    pub min_freq: u64,
    /// Maximum number of ids to keep, from the start of the text; 0 keeps all. The vocabulary is built on the whole text
    /// in any case.
    pub max_tokens: usize,
    /// Tokens that get the ids after `<unk>`, whether or not they occur in the text.
    pub reserved: Vec<String>,
}

/// An encoded text and its vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The ids of the first `max_tokens` tokens, or of all tokens.
    pub ids: Vec<u32>,
    /// The vocabulary, built on the whole text or given by the caller.
    pub vocab: Vocab,
    /// The format of the text.
    pub text_format: TextFormat,
    /// Number of bytes read.
    pub source_bytes: u64,
    /// The size of the whole text after normalization and decoding.
    pub text: TextSize,
    /// Number of tokens in the whole text.
    pub tokens: u64,
    /// The tokens of `ids` that were encoded as `UNKNOWN_ID`.
    pub unknown: UnknownTokens,
}

impl Corpus {
    /// Reads the text at `path` and builds its vocabulary.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Folder`] and those of [`Corpus::from_reader`].
    pub fn from_path(path: impl AsRef<Path>, options: &CorpusOptions) -> Result<Self> {
        let path = path.as_ref();
        build(BufReader::new(open(path)?), &path.display().to_string(), options)
    }

    /// Reads a text from a stream and builds its vocabulary. Reads the stream once, without keeping the text. `name`
    /// identifies the stream in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::InvalidUtf8`], [`Error::Empty`], [`Error::Reserved`], [`Error::TooManyTokens`].
    pub fn from_reader(reader: impl Read, name: &str, options: &CorpusOptions) -> Result<Self> {
        build(BufReader::new(reader), name, options)
    }

    /// Encodes a text in memory and builds its vocabulary. Errors call it `the text`.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::from_reader`].
    pub fn from_bytes(text: &[u8], options: &CorpusOptions) -> Result<Self> {
        build(text, "the text", options)
    }

    /// Reads the text at `path` and encodes its first `max_tokens` tokens (0: all) with an existing vocabulary.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Folder`] and those of [`Corpus::encode_reader`].
    pub fn encode_path(path: impl AsRef<Path>, vocab: Vocab, max_tokens: usize) -> Result<Self> {
        let path = path.as_ref();
        encode(BufReader::new(open(path)?), &path.display().to_string(), vocab, max_tokens)
    }

    /// Reads a text from a stream and encodes it with an existing vocabulary. `name` identifies the stream in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::InvalidUtf8`], [`Error::Empty`].
    pub fn encode_reader(reader: impl Read, name: &str, vocab: Vocab, max_tokens: usize) -> Result<Self> {
        encode(BufReader::new(reader), name, vocab, max_tokens)
    }

    /// Encodes a text in memory with an existing vocabulary.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::encode_reader`].
    pub fn encode_bytes(text: &[u8], vocab: Vocab, max_tokens: usize) -> Result<Self> {
        encode(text, "the text", vocab, max_tokens)
    }

    /// The size of the tokens in this range of `ids` in the normalized text: the denominators of bits per character and
    /// bits per byte. A token that became `<unk>` counts with its original size. A word includes the space before it,
    /// except for the first word of the corpus, so the sizes of adjacent ranges add up.
    ///
    /// # Panics
    ///
    /// If the range exceeds `ids`.
    pub fn text_size(&self, range: Range<usize>) -> TextSize {
        let mut size = TextSize::default();
        let known = self.ids[range.clone()].iter().filter(|&&id| id != UNKNOWN_ID).map(|&id| self.vocab.size_of(id));
        let separators = range.clone().filter(|&index| index > 0).map(|_| separator_size(self.vocab.kind()));
        known.chain(self.unknown.sizes(range)).chain(separators).for_each(|part| size += part);
        size
    }
}

fn separator_size(kind: TokenKind) -> TextSize {
    TextSize::of(kind.separator().as_bytes())
}

fn build(reader: impl BufRead, name: &str, options: &CorpusOptions) -> Result<Corpus> {
    let CorpusOptions { kind, normalization, min_freq, max_tokens, ref reserved } = *options;
    let mut builder = VocabBuilder::new(kind, normalization, reserved)?;
    let mut ids = Vec::new();
    let mut lines = Lines::new(reader, name);
    let totals = scan(&mut lines, kind, normalization, |token| {
        let provisional = builder.count(token)?;
        if max_tokens == 0 || ids.len() < max_tokens {
            ids.push(provisional);
        }
        Ok(())
    })?;

    let built = builder.finish(min_freq, lines.format())?;
    let mut unknown = UnknownTokens::default();
    for (position, id) in ids.iter_mut().enumerate() {
        let provisional = *id as usize;
        *id = built.renumbering[provisional];
        if *id == UNKNOWN_ID {
            unknown.record(position, &built.tokens[provisional], kind);
        }
    }
    Ok(totals.into_corpus(&lines, Encoding { ids, unknown }, built.vocab))
}

fn encode(reader: impl BufRead, name: &str, vocab: Vocab, max_tokens: usize) -> Result<Corpus> {
    let mut encoding = Encoding::default();
    let mut lines = Lines::new(reader, name);
    let totals = scan(&mut lines, vocab.kind(), vocab.normalization(), |token| {
        if max_tokens == 0 || encoding.ids.len() < max_tokens {
            let Ok(()) = encoding.add(token, &vocab);
        }
        Ok(())
    })?;
    Ok(totals.into_corpus(&lines, encoding, vocab))
}

/// Counts from one pass over a text.
#[derive(Default)]
struct Totals {
    tokens: u64,
    text: TextSize,
}

impl Totals {
    fn into_corpus<R: BufRead>(self, lines: &Lines<R>, encoding: Encoding, vocab: Vocab) -> Corpus {
        let Encoding { ids, unknown } = encoding;
        let (text_format, source_bytes) = (lines.format(), lines.offset());
        Corpus { ids, vocab, text_format, source_bytes, text: self.text, tokens: self.tokens, unknown }
    }
}

/// Calls `sink` with every raw token of a text and counts them.
fn scan<R: BufRead>(
    lines: &mut Lines<R>,
    kind: TokenKind,
    normalization: Normalization,
    mut sink: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut tokenizer = Tokenizer::new(kind, normalization);
    while lines.advance()? {
        let outcome = tokenizer.try_each(lines.line(), Extent::Lines, |token| {
            if totals.tokens > 0 {
                totals.text += separator_size(kind);
            }
            totals.tokens += 1;
            totals.text += TextSize::of(token);
            sink(token)
        });
        match outcome {
            Ok(()) => {}
            Err(TokenizeError::InvalidUtf8(valid)) => return Err(lines.invalid_utf8(valid)),
            Err(TokenizeError::Sink(error)) => return Err(error),
        }
    }
    if totals.tokens == 0 {
        return Err(Error::Empty { name: lines.name().to_owned(), bytes: lines.offset(), kind, normalization });
    }
    Ok(totals)
}
