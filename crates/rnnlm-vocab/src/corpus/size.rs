//! The size of a corpus: the denominators of bits per character and bits per byte.

use std::ops::Range;

use super::Corpus;
use crate::text::TextSize;
use crate::unknown::UNKNOWN_ID;

impl Corpus {
    /// The size of the tokens in this range of `ids` in the normalized text: the denominators of bits per character and
    /// bits per byte. A token that became `<unk>` counts with its original size, and an end token with that of
    /// [`Documents::separator`](crate::Documents::separator). A word includes the space before it, except for the first word of the corpus or of a
    /// document, so the sizes of adjacent ranges add up.
    ///
    /// # Panics
    ///
    /// If the range exceeds `ids`.
    pub fn text_size(&self, range: Range<usize>) -> TextSize {
        let mut size = TextSize::default();
        let unknown = self.unknown_size(range.clone());
        let known = self.ids[range.clone()].iter().filter(|&&id| id != UNKNOWN_ID).map(|&id| self.vocab.size_of(id));
        let separators = range.filter_map(|index| {
            let previous = self.ids[index.checked_sub(1)?];
            Some(TextSize::of(self.vocab.separator(Some(previous), self.ids[index]).as_bytes()))
        });
        known.chain(separators).chain([unknown]).for_each(|part| size += part);
        size
    }

    /// The size of the unknown tokens in this range of `ids`: the part of [`Corpus::text_size`] that no token represents.
    ///
    /// # Panics
    ///
    /// If the range exceeds `ids`.
    pub fn unknown_size(&self, range: Range<usize>) -> TextSize {
        let count = |ids: &[u32]| ids.iter().filter(|&&id| id == UNKNOWN_ID).count();
        let mut size = TextSize::default();
        let unknown = self.unknown.sizes(count(&self.ids[..range.start]), count(&self.ids[range]));
        unknown.for_each(|part| size += part);
        size
    }
}
