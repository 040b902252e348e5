//! Stage 2 of the walk: the tokens that a vocabulary does not hold, by name for warnings and by size for rates per
//! character.

use std::collections::HashMap;
use std::ops::Range;

use crate::text::TextSize;
use crate::tokenize::TokenKind;
use crate::vocab::UNKNOWN_TOKEN;

/// A token that a vocabulary does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownToken {
    /// The token, spelled as in a vocabulary file.
    pub token: String,
    /// How often it was met.
    pub count: u64,
}

/// The tokens of a text that became id 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownTokens {
    distinct: Vec<UnknownToken>,
    /// From a token as it stands in the text to its place in `distinct`.
    places: HashMap<Box<[u8]>, usize>,
    /// Where each occurrence stands among the tokens, ascending, and what it measures in the text: the id 0 that
    /// replaces it no longer tells.
    occurrences: Vec<(usize, TextSize)>,
}

impl UnknownTokens {
    /// How many tokens of the text became id 0.
    pub fn count(&self) -> usize {
        self.occurrences.len()
    }

    /// The distinct tokens in the order in which they were met. A literal `<unk>` among words is counted but not
    /// listed: it is not missing from the vocabulary.
    pub fn distinct(&self) -> &[UnknownToken] {
        &self.distinct
    }

    pub(crate) fn record(&mut self, position: usize, raw: &[u8], kind: TokenKind) {
        self.occurrences.push((position, TextSize::of(raw)));
        if raw == UNKNOWN_TOKEN.as_bytes() {
            return;
        }
        match self.places.get(raw) {
            Some(&place) => self.distinct[place].count += 1,
            None => {
                self.places.insert(raw.into(), self.distinct.len());
                self.distinct.push(UnknownToken { token: kind.spell(raw), count: 1 });
            }
        }
    }

    /// What the unknown tokens at these positions measure in the text.
    pub(crate) fn sizes(&self, positions: Range<usize>) -> impl Iterator<Item = TextSize> {
        let start = self.occurrences.partition_point(|&(position, _)| position < positions.start);
        let from_start = self.occurrences[start..].iter();
        from_start.take_while(move |&&(position, _)| position < positions.end).map(|&(_, size)| size)
    }
}
