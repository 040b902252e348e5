//! Stages 1 and 2 of the walk put together: read a text once and have its ids.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::builder::VocabBuilder;
use crate::error::{Error, Result};
use crate::normalize::{Extent, Normalization};
use crate::text::{Lines, TextFormat, TextSize};
use crate::tokenize::{TokenKind, Tokenizer, Unsplit};
use crate::unknown::UnknownTokens;
use crate::vocab::{Encoding, UNKNOWN_ID, Vocab};

/// How to make a vocabulary of a text. The default is the book's: characters, normalised, the whole text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorpusOptions {
    /// What a token is.
    pub kind: TokenKind,
    /// What is done to the text before it is cut into tokens.
    pub normalization: Normalization,
    /// Tokens seen fewer times in the whole text become `<unk>`; 0 and 1 keep all.
    pub min_freq: u64,
    /// How many tokens to keep of the text, from its start; 0 keeps all. The vocabulary is of the whole text.
    pub max_tokens: usize,
    /// Tokens that get the ids after `<unk>` whether or not the text holds them.
    pub reserved: Vec<String>,
}

/// A text as ids, with the vocabulary that encoded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The ids of the first `max_tokens` tokens.
    pub ids: Vec<u32>,
    /// The vocabulary: built on the whole text, or the stored one it was encoded with.
    pub vocab: Vocab,
    /// The form of the text that was read.
    pub text_format: TextFormat,
    /// Bytes that were read.
    pub source_bytes: u64,
    /// The size of the whole text once normalised, as its tokens spell it out.
    pub text: TextSize,
    /// Tokens in the whole text.
    pub tokens: u64,
    /// The tokens among `ids` that are 0.
    pub unknown: UnknownTokens,
}

impl Corpus {
    /// Reads a text and builds its vocabulary.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Folder`] and those of [`Corpus::from_reader`].
    pub fn from_path(path: impl AsRef<Path>, options: &CorpusOptions) -> Result<Self> {
        let path = path.as_ref();
        build(BufReader::new(open(path)?), &path.display().to_string(), options)
    }

    /// Reads a text from a stream, once and without keeping it, and builds its vocabulary; `name` stands for the
    /// stream in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::InvalidUtf8`], [`Error::Empty`], [`Error::Reserved`], [`Error::TooManyTokens`].
    pub fn from_reader(reader: impl Read, name: &str, options: &CorpusOptions) -> Result<Self> {
        build(BufReader::new(reader), name, options)
    }

    /// Builds the vocabulary of a text in memory, called `the text` in errors.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::from_reader`].
    pub fn from_bytes(text: &[u8], options: &CorpusOptions) -> Result<Self> {
        build(text, "the text", options)
    }

    /// Reads a text and encodes its first `max_tokens` tokens (0: all) with a stored vocabulary.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Folder`] and those of [`Corpus::encode_reader`].
    pub fn encode_path(path: impl AsRef<Path>, vocab: Vocab, max_tokens: usize) -> Result<Self> {
        let path = path.as_ref();
        encode(BufReader::new(open(path)?), &path.display().to_string(), vocab, max_tokens)
    }

    /// Reads a text from a stream and encodes it with a stored vocabulary; `name` stands for the stream in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::InvalidUtf8`], [`Error::Empty`].
    pub fn encode_reader(reader: impl Read, name: &str, vocab: Vocab, max_tokens: usize) -> Result<Self> {
        encode(BufReader::new(reader), name, vocab, max_tokens)
    }

    /// Encodes a text in memory with a stored vocabulary.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::encode_reader`].
    pub fn encode_bytes(text: &[u8], vocab: Vocab, max_tokens: usize) -> Result<Self> {
        encode(text, "the text", vocab, max_tokens)
    }

    /// What the tokens at these places of `ids` measure in the normalised text: the denominators of bits per character
    /// and bits per byte. A token that became `<unk>` counts with its own size, and a word with the space before it
    /// (the first word of the corpus has none), so that the sizes of neighbouring ranges add up to that of both.
    ///
    /// # Panics
    ///
    /// When the range reaches past the end of `ids`.
    pub fn text_size(&self, range: Range<usize>) -> TextSize {
        let mut size = TextSize::default();
        let known = self.ids[range.clone()].iter().filter(|&&id| id != UNKNOWN_ID).map(|&id| self.vocab.size_of(id));
        let separators = range.clone().filter(|&place| place > 0).map(|_| separator_size(self.vocab.kind()));
        known.chain(self.unknown.sizes(range)).chain(separators).for_each(|part| size += part);
        size
    }
}

fn separator_size(kind: TokenKind) -> TextSize {
    TextSize::of(kind.separator().as_bytes())
}

/// Opens a file for reading and says plainly when there is none.
pub(crate) fn open(path: &Path) -> Result<File> {
    let refuse = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Read { name: path.display().to_string(), source },
    };
    let file = File::open(path).map_err(refuse)?;
    match file.metadata().map_err(refuse)?.is_dir() {
        true => Err(Error::Folder { path: path.to_owned() }),
        false => Ok(file),
    }
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

/// What a pass over a text counts.
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

/// Hands every token of a text to `sink` as it stands there, and counts.
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
            Err(Unsplit::InvalidUtf8(valid)) => return Err(lines.invalid_utf8(valid)),
            Err(Unsplit::Refused(error)) => return Err(error),
        }
    }
    if totals.tokens == 0 {
        return Err(Error::Empty { name: lines.name().to_owned(), bytes: lines.offset(), kind, normalization });
    }
    Ok(totals)
}
