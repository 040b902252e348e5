//! Stages 1 and 2 combined: reading a text in one pass and encoding it.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::builder::VocabBuilder;
use crate::encoding::TextEncoding;
use crate::error::{Error, Result};
use crate::memory::{MemoryUse, Stop};
use crate::normalize::{DroppedLetters, Extent, LineEndConversion, Normalization};
use crate::reader::{Interpretation, TextReader};
use crate::source::Source;
use crate::text::{TextFormat, TextSize};
use crate::tokenize::{TokenKind, Tokenizer};
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
    /// The conversion of line ends before the normalization. Files that do not have it imply `keep`.
    pub line_ends: LineEndConversion,
    /// The encoding of the text, unless a byte order mark determines it. Files that do not have it imply UTF-8. With
    /// byte tokens, no normalization and UTF-8, the text may be any bytes.
    pub encoding: TextEncoding,
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
    /// The encoding that the text was converted from.
    pub encoding: TextEncoding,
    /// Whether the text was read as UTF-8 but is probably UTF-16 without a byte order mark. The zero bytes of Latin
    /// characters in UTF-16 are valid UTF-8.
    pub is_likely_utf_16: bool,
    /// Number of bytes read, after decompression and before decoding.
    pub source_bytes: u64,
    /// The size of the whole text after normalization and decoding.
    pub text: TextSize,
    /// Number of tokens in the whole text.
    pub tokens: u64,
    /// The tokens of `ids` that were encoded as `UNKNOWN_ID`.
    pub unknown: UnknownTokens,
    /// The letters of the whole text that [`Normalization::Book`] dropped.
    pub dropped_letters: DroppedLetters,
}

impl Corpus {
    /// Reads a text and builds its vocabulary. Reads the source once, without keeping the text.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::InvalidUtf8`], [`Error::InvalidEncoding`], [`Error::TooLarge`], [`Error::Empty`],
    /// [`Error::Reserved`], [`Error::TooManyTokens`].
    pub fn read(source: Source<'_>, options: &CorpusOptions) -> Result<Self> {
        build(source, options)
    }

    /// Reads a text and encodes its first `max_tokens` tokens (0: all) with an existing vocabulary. `encoding` is that
    /// of the text, unless a byte order mark determines it.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::InvalidUtf8`], [`Error::InvalidEncoding`], [`Error::TooLarge`], [`Error::Empty`].
    pub fn encode(source: Source<'_>, vocab: Vocab, max_tokens: usize, encoding: TextEncoding) -> Result<Self> {
        encode(source, vocab, max_tokens, encoding)
    }

    /// [`Corpus::read`] for the file at `path`.
    ///
    /// # Errors
    ///
    /// Those of [`Source::open`] and [`Corpus::read`].
    pub fn from_path(path: impl AsRef<Path>, options: &CorpusOptions) -> Result<Self> {
        build(Source::open(path)?, options)
    }

    /// [`Corpus::read`] for a stream. `name` identifies the stream in errors.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::read`].
    pub fn from_reader(reader: impl Read, name: &str, options: &CorpusOptions) -> Result<Self> {
        build(Source::from_reader(reader, name), options)
    }

    /// [`Corpus::read`] for a text in memory. Errors call it `the text`.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::read`].
    pub fn from_bytes(text: &[u8], options: &CorpusOptions) -> Result<Self> {
        build(Source::from_bytes(text), options)
    }

    /// [`Corpus::encode`] for the file at `path`, in UTF-8.
    ///
    /// # Errors
    ///
    /// Those of [`Source::open`] and [`Corpus::encode`].
    pub fn encode_path(path: impl AsRef<Path>, vocab: Vocab, max_tokens: usize) -> Result<Self> {
        encode(Source::open(path)?, vocab, max_tokens, TextEncoding::UTF_8)
    }

    /// [`Corpus::encode`] for a stream, in UTF-8. `name` identifies the stream in errors.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::encode`].
    pub fn encode_reader(reader: impl Read, name: &str, vocab: Vocab, max_tokens: usize) -> Result<Self> {
        encode(Source::from_reader(reader, name), vocab, max_tokens, TextEncoding::UTF_8)
    }

    /// [`Corpus::encode`] for a text in memory, in UTF-8. Errors call it `the text`.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::encode`].
    pub fn encode_bytes(text: &[u8], vocab: Vocab, max_tokens: usize) -> Result<Self> {
        encode(Source::from_bytes(text), vocab, max_tokens, TextEncoding::UTF_8)
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
        let is_unknown = |ids: &[u32]| ids.iter().filter(|&&id| id == UNKNOWN_ID).count();
        let unknown = self.unknown.sizes(is_unknown(&self.ids[..range.start]), is_unknown(&self.ids[range.clone()]));
        let known = self.ids[range.clone()].iter().filter(|&&id| id != UNKNOWN_ID).map(|&id| self.vocab.size_of(id));
        let separators = range.filter(|&index| index > 0).map(|_| separator_size(self.vocab.kind()));
        known.chain(unknown).chain(separators).for_each(|part| size += part);
        size
    }
}

fn separator_size(kind: TokenKind) -> TextSize {
    TextSize::of(kind.separator().as_bytes())
}

fn build(source: Source<'_>, options: &CorpusOptions) -> Result<Corpus> {
    let CorpusOptions { kind, normalization, line_ends, encoding, min_freq, max_tokens, ref reserved } = *options;
    let mut builder = VocabBuilder::new(kind, normalization, line_ends, reserved)?;
    let mut ids = Vec::new();
    let mut memory = source.memory();
    let mut reader = source.into_reader(interpretation(kind, normalization, encoding))?;
    let tokenizer = Tokenizer::new(kind, normalization, line_ends, Extent::Lines);
    let scanned = scan(&mut reader, tokenizer, kind, normalization, &mut memory, |token, memory| {
        let provisional = builder.count(token, memory)?;
        if max_tokens == 0 || ids.len() < max_tokens {
            memory.reserve(&mut ids)?;
            ids.push(provisional);
        }
        Ok(())
    })?;

    let built = builder.finish(min_freq, reader.format())?;
    let mut unknown = UnknownTokens::default();
    for id in &mut ids {
        let provisional = *id as usize;
        *id = built.renumbering[provisional];
        if *id == UNKNOWN_ID {
            let raw = &built.tokens[provisional];
            unknown.try_record(raw, kind, &mut memory).map_err(|excess| excess.in_text(&reader))?;
        }
    }
    Ok(scanned.into_corpus(&reader, Encoding { ids, unknown }, built.vocab))
}

fn encode(source: Source<'_>, vocab: Vocab, max_tokens: usize, encoding: TextEncoding) -> Result<Corpus> {
    let (kind, normalization) = (vocab.kind(), vocab.normalization());
    let mut encoded = Encoding::default();
    let mut memory = source.memory();
    let mut reader = source.into_reader(interpretation(kind, normalization, encoding))?;
    let tokenizer = vocab.tokenizer(Extent::Lines);
    let scanned = scan(&mut reader, tokenizer, kind, normalization, &mut memory, |token, memory| {
        if max_tokens == 0 || encoded.ids.len() < max_tokens {
            encoded.try_add(token, &vocab, memory)?;
        }
        Ok(())
    })?;
    Ok(scanned.into_corpus(&reader, encoded, vocab))
}

/// Only byte tokens without normalization do not require a text.
fn interpretation(kind: TokenKind, normalization: Normalization, encoding: TextEncoding) -> Interpretation {
    match (kind, normalization) {
        (TokenKind::Byte, Normalization::None) if encoding.is_utf_8() => Interpretation::Bytes,
        _ => Interpretation::Text(encoding),
    }
}

/// Counts from one pass over a text.
#[derive(Default)]
struct Scanned {
    tokens: u64,
    text: TextSize,
    dropped_letters: DroppedLetters,
}

impl Scanned {
    fn into_corpus(self, reader: &TextReader<'_>, encoding: Encoding, vocab: Vocab) -> Corpus {
        let Self { tokens, text, dropped_letters } = self;
        let Encoding { mut ids, unknown } = encoding;
        ids.shrink_to_fit();
        Corpus {
            ids,
            vocab,
            text_format: reader.format(),
            encoding: reader.encoding(),
            is_likely_utf_16: reader.is_likely_utf_16(),
            source_bytes: reader.bytes_read(),
            text,
            tokens,
            unknown,
            dropped_letters,
        }
    }
}

/// Calls `sink` with every raw token of a text and counts them.
fn scan(
    reader: &mut TextReader<'_>,
    mut tokenizer: Tokenizer,
    kind: TokenKind,
    normalization: Normalization,
    memory: &mut MemoryUse,
    mut sink: impl FnMut(&[u8], &mut MemoryUse) -> Result<(), Stop>,
) -> Result<Scanned> {
    let mut tokens = 0;
    while let Some(piece) = reader.next()? {
        // the piece can end in a word that grows with every piece
        let pending = if kind == TokenKind::Word { 2 * (tokenizer.pending_bytes() + piece.len()) as u64 } else { 0 };
        let outcome = memory.check(pending).map_err(Stop::from).and_then(|()| {
            tokenizer.push(piece, &mut |token| {
                tokens += 1;
                sink(token, memory)
            })
        });
        outcome.map_err(|stop| stop.in_text(reader))?;
    }
    let outcome = tokenizer.finish(&mut |token| {
        tokens += 1;
        sink(token, memory)
    });
    outcome.map_err(|stop| stop.in_text(reader))?;
    if tokens == 0 {
        return Err(Error::Empty { name: reader.name().to_owned(), bytes: reader.bytes_read(), kind, normalization });
    }
    let mut text = tokenizer.size();
    let separator = separator_size(kind);
    text.characters += separator.characters * (tokens - 1);
    text.bytes += separator.bytes * (tokens - 1);
    Ok(Scanned { tokens, text, dropped_letters: tokenizer.dropped_letters().clone() })
}
