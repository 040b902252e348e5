//! The errors of stages 1 to 3. Every message contains the values that caused it.

use std::io;
use std::path::PathBuf;

use crate::content::LikelyContent;
use crate::encoding::TextEncoding;
use crate::normalize::Normalization;
use crate::tokenize::TokenKind;

/// The result of a fallible operation in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in a text, a vocabulary file, a corpus or a minibatch size.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file of a corpus or vocabulary does not exist.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// The path of a corpus or vocabulary is a folder.
    #[error("`{}` is a folder, expected a file", path.display())]
    Folder {
        /// The path as given.
        path: PathBuf,
    },
    /// The path of a corpus or vocabulary is a device, which may have no end.
    #[error("`{}` is a device, expected a file", path.display())]
    Device {
        /// The path as given.
        path: PathBuf,
    },
    /// A file or a stream cannot be read.
    #[error("`{name}` could not be read")]
    Read {
        /// The path, or the name that the caller gave the stream.
        name: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A text that must be UTF-8 is not.
    #[error("`{name}` is not UTF-8: byte 0x{byte:02X} at offset {offset}, line {line}")]
    InvalidUtf8 {
        /// The path, or the name that the caller gave the text.
        name: String,
        /// The first byte of the invalid sequence.
        byte: u8,
        /// Its offset in the input in bytes, counted from 0 and including a byte order mark.
        offset: u64,
        /// Its line, counted from 1.
        line: u64,
        /// What the text probably is.
        likely: LikelyContent,
    },
    /// A text is not valid in the given encoding, or in that of its byte order mark.
    #[error("`{name}` is not {encoding}: invalid sequence at offset {offset}, line {line}")]
    InvalidEncoding {
        /// The path, or the name that the caller gave the text.
        name: String,
        /// The encoding.
        encoding: TextEncoding,
        /// The offset of the sequence in the input in bytes, counted from 0 and including a byte order mark.
        offset: u64,
        /// Its line, counted from 1.
        line: u64,
    },
    /// Reading a text needs more memory than the limit.
    #[error("`{name}` needs {needed} bytes of memory after {bytes} bytes of text, the limit is {limit}")]
    TooLarge {
        /// The path, or the name that the caller gave the text.
        name: String,
        /// Number of bytes of text read, after decompression.
        bytes: u64,
        /// The memory that the text read needs, in bytes.
        needed: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A text has no token after normalization.
    #[error("`{name}` has {} but no `{kind}` token after normalization `{normalization}`", count(*bytes, "byte"))]
    Empty {
        /// The path, or the name that the caller gave the text.
        name: String,
        /// The length of the input in bytes.
        bytes: u64,
        /// The unit of tokenization.
        kind: TokenKind,
        /// The normalization.
        normalization: Normalization,
    },
    /// A reserved token is invalid or ambiguous.
    #[error("reserved token `{token}` {reason}")]
    Reserved {
        /// The token as given.
        token: String,
        /// Why it cannot be reserved.
        reason: String,
    },
    /// The number of distinct tokens exceeds `MAX_TOKENS`.
    #[error(
        "the vocabulary has {}, the maximum is {limit}; raise `min_freq`, or set `max_vocab`",
        count(*found as u64, "token")
    )]
    TooManyTokens {
        /// Number of tokens.
        found: usize,
        /// The maximum.
        limit: usize,
    },
    /// A vocabulary file exceeds the size limit.
    #[error("the vocabulary file is larger than the maximum of {limit} bytes")]
    VocabTooLarge {
        /// The maximum in bytes.
        limit: u64,
    },
    /// A vocabulary file is not JSON, or a field is missing, unknown or of the wrong type.
    #[error("the vocabulary is not in the expected form")]
    VocabSyntax(#[source] serde_json::Error),
    /// A vocabulary file has a newer format version.
    #[error("the vocabulary has `format_version` {found}, this version reads up to {supported}")]
    VocabVersion {
        /// The version in the file.
        found: u64,
        /// The newest version that this library reads.
        supported: u64,
    },
    /// The fields of a vocabulary contradict each other or the token kind.
    #[error("the vocabulary is inconsistent: {reason}")]
    VocabContent {
        /// The field or token, and the contradiction.
        reason: String,
    },
    /// A vocabulary of subwords is read by a program without a tokenizer of subwords.
    #[error("the vocabulary has subword tokens, and this program is built without them")]
    NoSubwords,
    /// Subword tokens are requested without a tokenizer.
    #[error("`subword` tokens are those of a tokenizer.json, and none is given")]
    SubwordsWithoutTokenizer,
    /// The content of a `tokenizer.json` cannot be used.
    #[error("the tokenizer cannot be used: {reason}")]
    Tokenizer {
        /// Why.
        reason: String,
    },
    /// A token id is out of range.
    #[error("token id {id} is out of range for a vocabulary of {}", count(*vocab_size as u64, "token"))]
    IdOutOfRange {
        /// The id.
        id: u32,
        /// Number of tokens in the vocabulary.
        vocab_size: usize,
    },
    /// A file of ids is not in a known format.
    #[error("`{}` has no ids that can be read: {reason}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A document of a stream is longer than the limit.
    #[error("the document at line {line} of `{name}` has at least {}, the limit is {limit}", count(*bytes, "byte"))]
    DocumentTooLarge {
        /// The name that the caller gave the stream.
        name: String,
        /// The line where the document starts, counted from 1.
        line: u64,
        /// Number of bytes read of it.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A text has more documents than an index can have.
    #[error("`{name}` has more than {limit} documents")]
    TooManyDocuments {
        /// The path, or the name that the caller gave the text.
        name: String,
        /// The maximum.
        limit: usize,
    },
    /// A document has a line end, but each line is a document.
    #[error("the document has a line end at offset {offset}, but each line is a document")]
    LineEndInDocument {
        /// The offset of the line end in bytes, counted from 0.
        offset: u64,
    },
    /// The documents cannot be divided into a training and a validation set.
    #[error(
        "a validation set of {fraction} of the documents needs at least 2 distinct documents, the text has {}, {distinct} \
         distinct",
        count(*documents as u64, "document")
    )]
    TooFewDocuments {
        /// Fraction of the documents in the validation set.
        fraction: f64,
        /// Number of documents.
        documents: usize,
        /// Number of distinct documents: 0 or 1.
        distinct: usize,
    },
    /// A size of a minibatch is 0.
    #[error("`{name}` is 0, must be at least 1")]
    Zero {
        /// `batch_size` or `num_steps`.
        name: &'static str,
    },
    /// The number of tokens of a minibatch overflows `usize`.
    #[error("minibatches of batch_size {batch_size} × num_steps {num_steps} overflow the address space")]
    BatchOverflow {
        /// Number of rows.
        batch_size: usize,
        /// Number of steps.
        num_steps: usize,
    },
    /// A corpus is too short for one minibatch at every offset.
    #[error(
        "a corpus of {} is too short for minibatches of batch_size {batch_size} × num_steps {num_steps}: \
         {batch_size}·{num_steps} + {num_steps} + 1 = {needed} tokens are needed; {advice}",
        count(*tokens as u64, "token")
    )]
    CorpusTooShort {
        /// Number of tokens in the corpus.
        tokens: usize,
        /// Number of rows.
        batch_size: usize,
        /// Number of steps.
        num_steps: usize,
        /// The minimum number of tokens.
        needed: usize,
        /// The largest sizes that fit.
        advice: String,
    },
    /// The index of a minibatch is out of range.
    #[error("minibatch index {index} is out of range for {}", count(*num_minibatches as u64, "minibatch"))]
    MinibatchIndex {
        /// The index.
        index: usize,
        /// Number of minibatches in the epoch.
        num_minibatches: usize,
    },
    /// The minibatch passed to `Batches::fill` has the wrong shape.
    #[error("the minibatch has (batch_size, num_steps) = {found:?}, expected {expected:?}")]
    MinibatchShape {
        /// `(batch_size, num_steps)` of the batches.
        expected: (usize, usize),
        /// `(batch_size, num_steps)` of the minibatch.
        found: (usize, usize),
    },
    /// A token cache, or a file of it, is not what was written.
    #[cfg(feature = "cache")]
    #[error("`{}` is damaged: {reason}", path.display())]
    DamagedCache {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the block of ids.
        reason: String,
    },
    /// A token cache is not that of this text, vocabulary or tokenization.
    #[cfg(feature = "cache")]
    #[error("the token cache `{}` does not fit: {reason}", path.display())]
    CacheMismatch {
        /// The folder.
        path: PathBuf,
        /// What differs, with both values.
        reason: String,
    },
    /// Another process is building the token cache.
    #[cfg(feature = "cache")]
    #[error("the token cache `{}` is being built by another process", path.display())]
    CacheBusy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of a token cache to build exists, and is no token cache.
    #[cfg(feature = "cache")]
    #[error("`{}` exists, and is no token cache", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A disk has no space for a token cache.
    #[cfg(feature = "cache")]
    #[error("the token cache `{}` needs {needed} bytes, {free} are free", path.display())]
    DiskSpace {
        /// The folder.
        path: PathBuf,
        /// The size of the cache in bytes.
        needed: u64,
        /// The free space in bytes.
        free: u64,
    },
    /// The name of a corpus is not a valid file stem.
    #[cfg(feature = "corpora")]
    #[error("corpus name `{name}` must consist of lowercase letters, digits, `-` and `_`")]
    CorpusName {
        /// The name as given.
        name: String,
    },
    /// A file has the name of a corpus but different content.
    #[cfg(feature = "corpora")]
    #[error(
        "`{}` is not corpus `{name}`: {} with SHA-1 {found_sha1}, expected {expected_bytes} bytes with SHA-1 \
         {expected_sha1}; move the file, or pass its path instead of the corpus name",
        path.display(),
        count(*found_bytes, "byte")
    )]
    WrongCorpus {
        /// The name of the corpus.
        name: String,
        /// The file.
        path: PathBuf,
        /// The length of the file in bytes.
        found_bytes: u64,
        /// The SHA-1 of the file.
        found_sha1: String,
        /// The length of the corpus in bytes.
        expected_bytes: u64,
        /// The SHA-1 of the corpus.
        expected_sha1: String,
    },
    /// A corpus was not found and not downloaded.
    #[cfg(feature = "corpora")]
    #[error("corpus `{name}` is not available: {}; {advice}", list(tried))]
    CorpusUnavailable {
        /// The name of the corpus.
        name: String,
        /// The locations searched, in order, with the reason for each failure.
        tried: Vec<Attempt>,
        /// How to add the corpus by hand.
        advice: String,
    },
    /// A file cannot be written. No partial download and no partial cache remains.
    #[cfg(any(feature = "cache", feature = "download"))]
    #[error("`{}` could not be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

/// A location that did not provide a corpus.
#[cfg(feature = "corpora")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// A path or a URL.
    pub location: String,
    /// The reason for the failure.
    pub reason: String,
}

#[cfg(feature = "corpora")]
fn list(tried: &[Attempt]) -> String {
    if tried.is_empty() {
        return "no folder was searched".to_owned();
    }
    let attempts = tried.iter().map(|Attempt { location, reason }| format!("`{location}`: {reason}"));
    attempts.collect::<Vec<_>>().join("; ")
}

/// A number with its noun: `1 byte`, `2 bytes`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let ending = match number {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{number} {noun}{ending}")
}
