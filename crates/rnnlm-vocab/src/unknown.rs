//! Stage 2, unknown tokens: the id and the name of `<unk>`, and a record of the tokens it replaced.
//!
//! Warnings need the names of the replaced tokens; bits per character and bits per byte need their sizes.

use std::collections::HashMap;
use std::fmt;

use crate::memory::{Excess, MemoryUse, distinct_token_bytes};
use crate::text::TextSize;
use crate::tokenize::TokenKind;

/// The id of every token that is not in the vocabulary.
pub const UNKNOWN_ID: u32 = 0;

/// The token with id 0. For words, a literal `<unk>` in a text is this token. For characters and bytes it never occurs
/// in a text.
pub const UNKNOWN_TOKEN: &str = "<unk>";

/// A token that is not in the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownToken {
    /// The token, as it would be written in a vocabulary file.
    pub token: String,
    /// Number of occurrences.
    pub count: u64,
}

/// The tokens of a text that were encoded as [`UNKNOWN_ID`].
///
/// `Display` lists the distinct tokens, quoted and separated by spaces, for warnings:
///
/// ```
/// use rnnlm_vocab::{Corpus, CorpusOptions};
///
/// let corpus = Corpus::from_bytes(b"time traveller", &CorpusOptions::default())?;
/// let unknown = corpus.vocab.encode("time box box").unknown;
/// assert_eq!(unknown.count(), 6);
/// assert_eq!(unknown.to_string(), r#""b" "o" "x""#);
/// # Ok::<(), rnnlm_vocab::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownTokens {
    distinct: Vec<UnknownToken>,
    /// The size in the text of each distinct token.
    sizes: Vec<TextSize>,
    /// From the raw bytes of a token to its index in `distinct`.
    index_of: HashMap<Box<[u8]>, usize>,
    /// The index in `distinct` of each occurrence, or [`LITERAL`]. The size of a token cannot be recovered from the id,
    /// which is always 0.
    occurrences: Vec<usize>,
    /// Number of occurrences that are not known one by one, as in a token cache.
    unlisted: usize,
}

/// The index of a literal `<unk>`, which is not in `distinct`.
const LITERAL: usize = usize::MAX;

impl UnknownTokens {
    /// Number of occurrences of unknown tokens.
    pub fn count(&self) -> usize {
        self.occurrences.len() + self.unlisted
    }

    /// This number of occurrences, which are not known one by one.
    #[cfg(feature = "cache")]
    pub(crate) fn with_count(count: u64) -> Self {
        Self { unlisted: count as usize, ..Self::default() }
    }

    /// The distinct unknown tokens in order of first occurrence. A literal `<unk>` among words is counted by
    /// [`count`](Self::count) but not listed, because the vocabulary has it.
    pub fn distinct(&self) -> &[UnknownToken] {
        &self.distinct
    }

    /// Records the next unknown token of a text, given as raw bytes.
    pub(crate) fn record(&mut self, raw: &[u8], kind: TokenKind) {
        if raw == UNKNOWN_TOKEN.as_bytes() {
            self.occurrences.push(LITERAL);
            return;
        }
        let index = match self.index_of.get(raw) {
            Some(&index) => index,
            None => {
                self.index_of.insert(raw.into(), self.distinct.len());
                self.distinct.push(UnknownToken { token: kind.escape(raw), count: 0 });
                self.sizes.push(TextSize::of(raw));
                self.distinct.len() - 1
            }
        };
        self.distinct[index].count += 1;
        self.occurrences.push(index);
    }

    /// [`record`](Self::record) within a limit of memory.
    pub(crate) fn try_record(&mut self, raw: &[u8], kind: TokenKind, memory: &mut MemoryUse) -> Result<(), Excess> {
        let is_new = raw != UNKNOWN_TOKEN.as_bytes() && !self.index_of.contains_key(raw);
        if is_new {
            memory.allocate(distinct_token_bytes(raw.len()))?;
        }
        memory.reserve(&mut self.occurrences)?;
        self.record(raw, kind);
        Ok(())
    }

    /// The unknown tokens of a text in order, in raw form.
    pub(crate) fn raw_tokens(&self, kind: TokenKind) -> impl Iterator<Item = &[u8]> {
        let raw = move |index: usize| self.distinct.get(index).map(|unknown| kind.unescape(&unknown.token));
        self.occurrences.iter().map(move |&index| raw(index).unwrap_or(UNKNOWN_TOKEN.as_bytes()))
    }

    /// The occurrences, to reorder them with the ids of a corpus.
    pub(crate) fn occurrences_mut(&mut self) -> &mut Vec<usize> {
        &mut self.occurrences
    }

    /// Whether every occurrence is known.
    pub(crate) fn is_listed(&self) -> bool {
        self.unlisted == 0
    }

    /// The size in the text of an unknown token. One that is not known counts like a literal `<unk>`.
    pub(crate) fn size_of(&self, number: usize) -> TextSize {
        let index = self.occurrences.get(number);
        let size = index.and_then(|&index| self.sizes.get(index)).copied();
        size.unwrap_or_else(|| TextSize::of(UNKNOWN_TOKEN.as_bytes()))
    }
}

impl fmt::Display for UnknownTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, unknown) in self.distinct.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{:?}", unknown.token)?;
        }
        Ok(())
    }
}
