//! What can go wrong between a text and its minibatches (stages 1 to 3 of the walk), each case with its numbers.

use std::io;
use std::path::PathBuf;

use crate::{Normalization, TokenKind};

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A text, a vocabulary file or a size that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path of a corpus or vocabulary names nothing.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The path of a corpus or vocabulary names a folder.
    #[error("`{}` is a folder, a file is needed", path.display())]
    Folder {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The operating system refused a read.
    #[error("`{name}` could not be read")]
    Read {
        /// The path, or the caller's name for the stream.
        name: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A byte that is not part of any UTF-8 sequence.
    #[error("`{name}` is not UTF-8: byte 0x{byte:02X} at offset {offset}, line {line}")]
    InvalidUtf8 {
        /// The path, or the caller's name for the text.
        name: String,
        /// The first byte of the broken sequence.
        byte: u8,
        /// Its offset in the input, counted in bytes from 0, a byte order mark included.
        offset: u64,
        /// The line it stands on, counted from 1.
        line: u64,
    },
    /// A text of which normalisation leaves no token.
    #[error("`{name}` has {bytes} bytes but no `{kind}` token under normalization `{normalization}`")]
    Empty {
        /// The path, or the caller's name for the text.
        name: String,
        /// The length of the input.
        bytes: u64,
        /// The kind of token looked for.
        kind: TokenKind,
        /// The normalisation applied before.
        normalization: Normalization,
    },
    /// A reserved token that could not be told apart from another one or from the text.
    #[error("reserved token `{token}` {reason}")]
    Reserved {
        /// The token as it was given.
        token: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More distinct tokens than a vocabulary may hold.
    #[error("the vocabulary would have {found} entries, more than the {limit} allowed; raise `min_freq`")]
    TooManyTokens {
        /// How many the text would give.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// A vocabulary file larger than any this version writes.
    #[error("the vocabulary takes more than the {limit} bytes allowed")]
    VocabTooLarge {
        /// The bound.
        limit: u64,
    },
    /// A vocabulary file that is not JSON, or whose fields have other types than they should.
    #[error("the vocabulary is not in the expected form")]
    VocabSyntax(#[source] serde_json::Error),
    /// A vocabulary file written by a later version.
    #[error("the vocabulary has `format_version` {found}, this version reads up to {supported}")]
    VocabVersion {
        /// The version in the file.
        found: u64,
        /// The newest this library reads.
        supported: u64,
    },
    /// A vocabulary file whose fields contradict each other or the token kind.
    #[error("the vocabulary is inconsistent: {reason}")]
    VocabContent {
        /// Which field or token, and why.
        reason: String,
    },
    /// An id that names no token.
    #[error("token id {id} is outside the vocabulary of {vocab_size}")]
    IdOutOfRange {
        /// The offending id.
        id: u32,
        /// The number of tokens.
        vocab_size: usize,
    },
    /// A minibatch without rows or without steps.
    #[error("`{name}` is 0, at least 1 is needed")]
    Zero {
        /// `batch_size` or `num_steps`.
        name: &'static str,
    },
    /// A minibatch whose number of tokens does not fit a machine word.
    #[error("minibatches of batch_size {batch_size} × num_steps {num_steps} overflow the address space")]
    BatchOverflow {
        /// Rows of a minibatch.
        batch_size: usize,
        /// Steps of a minibatch.
        num_steps: usize,
    },
    /// A corpus that does not give one minibatch for every offset.
    #[error(
        "a corpus of {tokens} tokens is too short for minibatches of batch_size {batch_size} × num_steps {num_steps}: \
         {batch_size}·{num_steps} + {num_steps} + 1 = {needed} tokens are needed; {advice}"
    )]
    CorpusTooShort {
        /// Tokens in the corpus.
        tokens: usize,
        /// Rows of a minibatch.
        batch_size: usize,
        /// Steps of a minibatch.
        num_steps: usize,
        /// The fewest tokens that do.
        needed: usize,
        /// The largest size that would fit.
        advice: String,
    },
    /// The index of a minibatch past the last one.
    #[error("minibatch {index} was asked for, there are {num_minibatches}")]
    MinibatchIndex {
        /// The index asked for.
        index: usize,
        /// How many there are.
        num_minibatches: usize,
    },
    /// A minibatch to be filled that was made for other sizes.
    #[error("a minibatch of {found:?} (batch_size, num_steps) was given to be filled with {expected:?}")]
    MinibatchShape {
        /// `(batch_size, num_steps)` of the batches.
        expected: (usize, usize),
        /// `(batch_size, num_steps)` of the minibatch.
        found: (usize, usize),
    },
    /// A name that would not make a plain file name.
    #[cfg(feature = "corpora")]
    #[error("corpus name `{name}` is not made of lower-case letters, digits, `-` and `_`")]
    CorpusName {
        /// The name as it was given.
        name: String,
    },
    /// A file that has the name of a corpus but not its content.
    #[cfg(feature = "corpora")]
    #[error(
        "`{}` is not corpus `{name}`: {found_bytes} bytes with SHA-1 {found_sha1}, expected {expected_bytes} bytes \
         with SHA-1 {expected_sha1}; move it away, or use it by its path instead of by name", path.display()
    )]
    WrongCorpus {
        /// The corpus looked for.
        name: String,
        /// The file found.
        path: PathBuf,
        /// Its length.
        found_bytes: u64,
        /// Its digest.
        found_sha1: String,
        /// The length it should have.
        expected_bytes: u64,
        /// The digest it should have.
        expected_sha1: String,
    },
    /// A corpus that is nowhere to be had.
    #[cfg(feature = "corpora")]
    #[error("corpus `{name}` is not available: {}; {advice}", list(tried))]
    CorpusUnavailable {
        /// The corpus looked for.
        name: String,
        /// Every place in order, and why it did not give the corpus.
        tried: Vec<Attempt>,
        /// What may be put where.
        advice: String,
    },
    /// A file that could not be written whole; nothing of it was left.
    #[cfg(feature = "download")]
    #[error("`{}` could not be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// A place where a corpus was looked for in vain.
#[cfg(feature = "corpora")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// A path or a URL.
    pub place: String,
    /// Why it did not give the corpus.
    pub reason: String,
}

#[cfg(feature = "corpora")]
fn list(tried: &[Attempt]) -> String {
    if tried.is_empty() {
        return "no place to look was given".to_owned();
    }
    let tried: Vec<String> = tried.iter().map(|Attempt { place, reason }| format!("`{place}`: {reason}")).collect();
    tried.join("; ")
}
