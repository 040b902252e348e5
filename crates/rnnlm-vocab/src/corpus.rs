//! Stages 1 and 2 combined: reading a text in one pass and encoding it.

mod files;
mod from_ids;
mod scan;
mod size;
mod validation;

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::builder::VocabBuilder;
use crate::document_index::DocumentIndex;
use crate::document_set::DocumentSet;
use crate::documents::Documents;
use crate::encoding::TextEncoding;
use crate::error::{Error, Result};
use crate::normalize::{DroppedLetters, LineEndConversion, Normalization};
use crate::source::Source;
use crate::text::{TextFormat, TextSize};
use crate::tokenize::TokenKind;
use crate::unknown::{UNKNOWN_ID, UnknownTokens};
use crate::vocab::{Encoding, Vocab};
use scan::Scanned;

pub(crate) use files::{FileFormats, Files};
pub(crate) use scan::{Scan, Token};
#[cfg(feature = "cache")]
pub(crate) use {files::interpretation, scan::Scanner, validation::Fnv1a};

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
    /// Maximum number of tokens in the vocabulary besides `<unk>` and the reserved tokens: the most frequent ones of the
    /// whole text. The end token of documents is kept in any case. 0, which files omit, keeps all.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_vocab: usize,
    /// How the text is divided into documents. Files that do not have it imply none.
    #[serde(skip_serializing_if = "Documents::is_none")]
    pub documents: Documents,
    /// Maximum number of ids to keep, from the start of the text; 0 keeps all. The vocabulary is built on the whole text
    /// in any case. Only whole documents are kept, with their end tokens; if the first one alone is longer, its first
    /// tokens are kept, without an end token.
    pub max_tokens: usize,
    /// Tokens that get the ids after `<unk>`, whether or not they occur in the text.
    pub reserved: Vec<String>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// An encoded text and its vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The ids of the first `max_tokens` tokens, or of all tokens. Each document is followed by the end token.
    pub ids: Vec<u32>,
    /// Where the documents are in `ids`. Documents without a token after the normalization are left out.
    pub documents: DocumentIndex,
    /// Number of documents of the whole text that have no token after the normalization.
    pub empty_documents: u64,
    /// Whether the text is read as a stream but [looks like records](crate::looks_like_records).
    pub looks_like_records: bool,
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
    /// Number of tokens in the whole text, with end tokens.
    pub tokens: u64,
    /// The tokens of `ids` that were encoded as `UNKNOWN_ID`.
    pub unknown: UnknownTokens,
    /// The letters of the whole text that [`Normalization::Book`] dropped.
    pub dropped_letters: DroppedLetters,
    /// The digest of the content of each document, if the unknown tokens are not known one by one.
    pub(crate) document_contents: Option<Vec<u64>>,
}

impl Corpus {
    /// Reads a text and builds its vocabulary. Reads the source once, without keeping the text.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::InvalidUtf8`], [`Error::InvalidEncoding`], [`Error::TooLarge`], [`Error::Empty`],
    /// [`Error::Reserved`], [`Error::TooManyTokens`], [`Error::TooManyDocuments`].
    pub fn read(source: Source<'_>, options: &CorpusOptions) -> Result<Self> {
        build(one(source), options)
    }

    /// [`Corpus::read`] for a text that consists of several files, in order. The end of a file ends a token and, with
    /// documents, a document. The limit of memory is that of the first file.
    ///
    /// ```
    /// use rnnlm_vocab::{Corpus, CorpusOptions, Source};
    ///
    /// let files = [&b"time"[..], b"traveller"].map(|text| Ok(Source::from_bytes(text)));
    /// let corpus = Corpus::read_files(files, &CorpusOptions::default())?;
    /// assert_eq!(corpus.vocab.decode(&corpus.ids)?, "timetraveller");
    /// # Ok::<(), rnnlm_vocab::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::read`], and of the sources.
    pub fn read_files<'a>(
        sources: impl IntoIterator<Item = Result<Source<'a>>>,
        options: &CorpusOptions,
    ) -> Result<Self> {
        build(sources, options)
    }

    /// [`Corpus::encode`] for a text that consists of several files, as in [`Corpus::read_files`].
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::encode`], and of the sources.
    pub fn encode_files<'a>(
        sources: impl IntoIterator<Item = Result<Source<'a>>>,
        vocab: Vocab,
        max_tokens: usize,
        encoding: TextEncoding,
    ) -> Result<Self> {
        encode(sources, vocab, max_tokens, encoding)
    }

    /// Reads a text and encodes its first `max_tokens` tokens (0: all) with an existing vocabulary, which also decides
    /// how the text is divided into documents. `encoding` is that of the text, unless a byte order mark determines it. A
    /// vocabulary of subwords without frequencies gets those of the whole text.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::InvalidUtf8`], [`Error::InvalidEncoding`], [`Error::TooLarge`], [`Error::Empty`],
    /// [`Error::TooManyDocuments`].
    pub fn encode(source: Source<'_>, vocab: Vocab, max_tokens: usize, encoding: TextEncoding) -> Result<Self> {
        encode(one(source), vocab, max_tokens, encoding)
    }

    /// Reads a text, in one or several files, with an existing vocabulary, and appends the tokens that the vocabulary does not have. The tokens of the
    /// vocabulary keep their ids; the new ones follow by descending frequency in this text. `min_freq` and `max_vocab` apply
    /// to the new tokens; the vocabulary decides how the text is read. Frequencies are those of both texts together.
    ///
    /// ```
    /// use rnnlm_vocab::{Corpus, CorpusOptions, Source};
    ///
    /// let options = CorpusOptions::default();
    /// let vocab = Corpus::from_bytes(b"abba", &options)?.vocab;
    /// let corpus = Corpus::extend([Ok(Source::from_bytes(b"add a bed"))], &vocab, &options)?;
    /// assert_eq!(corpus.vocab.tokens().collect::<Vec<_>>(), ["<unk>", "a", "b", "d", " ", "e"]);
    /// # Ok::<(), rnnlm_vocab::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::read`], except for [`Error::Reserved`]; [`Error::VocabContent`] for a vocabulary of subwords.
    pub fn extend<'a>(
        sources: impl IntoIterator<Item = Result<Source<'a>>>,
        vocab: &Vocab,
        options: &CorpusOptions,
    ) -> Result<Self> {
        if vocab.kind() == TokenKind::Subword {
            let reason = "it is that of a tokenizer, which has all its tokens".to_owned();
            return Err(Error::VocabContent { reason });
        }
        let (kind, normalization) = (vocab.kind(), vocab.normalization());
        let (line_ends, documents) = (vocab.line_ends(), vocab.documents());
        let options = CorpusOptions { kind, normalization, line_ends, documents, ..options.clone() };
        build_with(VocabBuilder::extending(vocab), sources, &options)
    }

    /// [`Corpus::read`] for the file at `path`.
    ///
    /// # Errors
    ///
    /// Those of [`Source::open`] and [`Corpus::read`].
    pub fn from_path(path: impl AsRef<Path>, options: &CorpusOptions) -> Result<Self> {
        build(one(Source::open(path)?), options)
    }

    /// [`Corpus::read`] for a stream. `name` identifies the stream in errors.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::read`].
    pub fn from_reader(reader: impl Read, name: &str, options: &CorpusOptions) -> Result<Self> {
        build(one(Source::from_reader(reader, name)), options)
    }

    /// [`Corpus::read`] for a text in memory. Errors call it `the text`.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::read`].
    pub fn from_bytes(text: &[u8], options: &CorpusOptions) -> Result<Self> {
        build(one(Source::from_bytes(text)), options)
    }

    /// [`Corpus::encode`] for the file at `path`, in UTF-8.
    ///
    /// # Errors
    ///
    /// Those of [`Source::open`] and [`Corpus::encode`].
    pub fn encode_path(path: impl AsRef<Path>, vocab: Vocab, max_tokens: usize) -> Result<Self> {
        encode(one(Source::open(path)?), vocab, max_tokens, TextEncoding::UTF_8)
    }

    /// [`Corpus::encode`] for a stream, in UTF-8. `name` identifies the stream in errors.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::encode`].
    pub fn encode_reader(reader: impl Read, name: &str, vocab: Vocab, max_tokens: usize) -> Result<Self> {
        encode(one(Source::from_reader(reader, name)), vocab, max_tokens, TextEncoding::UTF_8)
    }

    /// [`Corpus::encode`] for a text in memory, in UTF-8. Errors call it `the text`.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::encode`].
    pub fn encode_bytes(text: &[u8], vocab: Vocab, max_tokens: usize) -> Result<Self> {
        encode(one(Source::from_bytes(text)), vocab, max_tokens, TextEncoding::UTF_8)
    }

    /// The documents in this range of [`Corpus::documents`]; `None` if the text is one stream.
    ///
    /// # Panics
    ///
    /// If the range exceeds the documents.
    pub fn document_set(&self, documents: Range<usize>) -> Option<DocumentSet<'_>> {
        let end_token = self.vocab.end_token()?;
        Some(DocumentSet::adjacent(&self.ids, &self.documents, documents, end_token))
    }
}

fn build<'a>(sources: impl IntoIterator<Item = Result<Source<'a>>>, options: &CorpusOptions) -> Result<Corpus> {
    let CorpusOptions { kind, normalization, line_ends, documents, ref reserved, .. } = *options;
    build_with(VocabBuilder::new(kind, normalization, line_ends, documents, reserved)?, sources, options)
}

fn build_with<'a>(
    mut builder: VocabBuilder,
    sources: impl IntoIterator<Item = Result<Source<'a>>>,
    options: &CorpusOptions,
) -> Result<Corpus> {
    let CorpusOptions { kind, normalization, line_ends, encoding, min_freq, max_vocab, documents, max_tokens, .. } =
        *options;
    let mut ids = Vec::new();
    let scan = Scan { kind, normalization, line_ends, documents, max_tokens, subwords: None };
    let mut files = Files::read(sources, encoding, scan, |token, is_kept, memory| {
        let provisional = token.count(&mut builder, memory)?;
        if is_kept {
            memory.reserve(&mut ids)?;
            ids.push(provisional);
        }
        Ok(())
    })?;

    let built = builder.finish(min_freq, max_vocab, files.formats.format())?;
    let mut unknown = UnknownTokens::default();
    for id in &mut ids {
        let provisional = *id as usize;
        *id = built.renumbering[provisional];
        if *id == UNKNOWN_ID {
            let raw = &built.tokens[provisional];
            unknown.try_record(raw, kind, &mut files.memory).map_err(|excess| excess.in_text(&files.last))?;
        }
    }
    Ok(into_corpus(files, Encoding { ids, unknown }, built.vocab))
}

fn encode<'a>(
    sources: impl IntoIterator<Item = Result<Source<'a>>>,
    vocab: Vocab,
    max_tokens: usize,
    encoding: TextEncoding,
) -> Result<Corpus> {
    let (mut encoded, mut counter) = (Encoding::default(), vocab.counter());
    let files =
        Files::read(sources, encoding, Scan { max_tokens, ..Scan::of_vocab(&vocab) }, |token, is_kept, memory| {
            counter.add(token, &vocab);
            match (token, vocab.end_token()) {
                _ if !is_kept => {}
                (Token::Raw(token), _) => encoded.try_add(token, &vocab, memory)?,
                (Token::End, None) => {}
                (Token::End, Some(end)) => {
                    memory.reserve(&mut encoded.ids)?;
                    encoded.ids.push(end);
                }
            }
            Ok(())
        })?;
    Ok(into_corpus(files, encoded, vocab.counted(counter)))
}

fn into_corpus(files: Files<'_>, encoding: Encoding, vocab: Vocab) -> Corpus {
    let text_format = files.formats.format();
    let Files { scanned, formats: FileFormats { bytes, is_likely_utf_16, encoding: text_encoding, .. }, .. } = files;
    let Scanned { tokens, text, dropped_letters, mut documents, empty_documents, looks_like_records } = scanned;
    let Encoding { mut ids, unknown } = encoding;
    ids.shrink_to_fit();
    documents.shrink_to_fit();
    Corpus {
        ids,
        documents,
        empty_documents,
        looks_like_records,
        vocab,
        text_format,
        encoding: text_encoding,
        is_likely_utf_16,
        source_bytes: bytes,
        text,
        tokens,
        unknown,
        dropped_letters,
        document_contents: None,
    }
}

/// The iterator of a text in one file.
fn one(source: Source<'_>) -> impl IntoIterator<Item = Result<Source<'_>>> {
    std::iter::once(Ok(source))
}
