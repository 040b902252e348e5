//! Stage 2, unknown tokens: the id and the name of `<unk>`, and a record of the tokens it replaced.
//!
//! Warnings need the names of the replaced tokens; bits per character and bits per byte need their sizes.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

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
    /// From the raw bytes of a token to its index in `distinct`.
    index_of: HashMap<Box<[u8]>, usize>,
    /// Position and size in the text of each occurrence, by ascending position. The size cannot be recovered from
    /// the id, which is always 0.
    occurrences: Vec<(usize, TextSize)>,
}

impl UnknownTokens {
    /// Number of occurrences of unknown tokens.
    pub fn count(&self) -> usize {
        self.occurrences.len()
    }

    /// The distinct unknown tokens in order of first occurrence. A literal `<unk>` among words is counted by
    /// [`count`](Self::count) but not listed, because the vocabulary has it.
    pub fn distinct(&self) -> &[UnknownToken] {
        &self.distinct
    }

    /// Records an unknown token, given as raw bytes, at `position` in the ids.
    pub(crate) fn record(&mut self, position: usize, raw: &[u8], kind: TokenKind) {
        self.occurrences.push((position, TextSize::of(raw)));
        if raw == UNKNOWN_TOKEN.as_bytes() {
            return;
        }
        match self.index_of.get(raw) {
            Some(&index) => self.distinct[index].count += 1,
            None => {
                self.index_of.insert(raw.into(), self.distinct.len());
                self.distinct.push(UnknownToken { token: kind.escape(raw), count: 1 });
            }
        }
    }

    /// The sizes in the text of the unknown tokens at these positions.
    pub(crate) fn sizes(&self, positions: Range<usize>) -> impl Iterator<Item = TextSize> {
        let start = self.occurrences.partition_point(|&(position, _)| position < positions.start);
        let from_start = self.occurrences[start..].iter();
        from_start.take_while(move |&&(position, _)| position < positions.end).map(|&(_, size)| size)
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
