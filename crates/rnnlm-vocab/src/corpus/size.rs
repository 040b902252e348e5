//! The size of a corpus: the denominators of bits per character and bits per byte.

use std::ops::Range;

use super::Corpus;
use crate::error::Result;
use crate::ids::Ids;
use crate::text::TextSize;

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
        let end = range.end;
        let mut sizes = Sizes::new(self, range);
        sizes.add(&self.ids[..end]);
        sizes.all()
    }

    /// The size of a range of the tokens, as [`Corpus::text_size`], and of those of them that are not `<unk>`. `ids` are the ids
    /// of the corpus, which can be stored. If its unknown tokens are not known one by one, as in a token cache, each counts
    /// with their mean size in the whole text; if the range ends before the text, like a literal `<unk>`.
    ///
    /// # Errors
    ///
    /// Those of [`IdSource::read`](crate::IdSource::read).
    pub fn text_sizes(&self, ids: Ids<'_>, range: Range<usize>) -> Result<[TextSize; 2]> {
        let (is_whole, skipped) = (range.end as u64 == self.tokens, range.start);
        let mut sizes = Sizes::new(self, range);
        ids.for_each_part(|part| sizes.add(part))?;
        let known = sizes.known;
        let num_unknown = self.unknown.count() as u64;
        if !is_whole || self.unknown.is_listed() {
            return Ok([sizes.all(), known]);
        }
        let mut start = Sizes::new(self, 0..skipped);
        ids.slice(0..skipped).for_each_part(|part| start.add(part))?;
        let unknown = self.text - known - start.known;
        let counted = num_unknown.saturating_sub(start.num_unknown as u64);
        let part = |size: u64| (u128::from(size) * u128::from(counted) / u128::from(num_unknown.max(1))) as u64;
        let mut all = known;
        all += TextSize { characters: part(unknown.characters), bytes: part(unknown.bytes) };
        Ok([all, known])
    }
}

/// Adds up the sizes of a range of tokens.
struct Sizes<'a> {
    corpus: &'a Corpus,
    range: Range<usize>,
    /// The number of tokens, and of unknown tokens, before the next one.
    tokens: usize,
    num_unknown: usize,
    previous: Option<u32>,
    /// The size of known tokens, and of the separators before all tokens.
    known: TextSize,
    unknown: TextSize,
}

impl<'a> Sizes<'a> {
    fn new(corpus: &'a Corpus, range: Range<usize>) -> Self {
        let (known, unknown) = (TextSize::default(), TextSize::default());
        Self { corpus, range, tokens: 0, num_unknown: 0, previous: None, known, unknown }
    }

    /// The next tokens of the corpus.
    fn add(&mut self, ids: &[u32]) {
        let Corpus { vocab, unknown, .. } = self.corpus;
        for &id in ids {
            let is_unknown = vocab.is_unknown(id);
            if self.range.contains(&self.tokens) {
                if self.previous.is_some() {
                    self.known += TextSize::of(vocab.separator(self.previous, id).as_bytes());
                }
                match is_unknown {
                    true => self.unknown += unknown.size_of(self.num_unknown),
                    false => self.known += vocab.size_of(id),
                }
            }
            self.tokens += 1;
            self.num_unknown += usize::from(is_unknown);
            self.previous = Some(id);
        }
    }

    fn all(&self) -> TextSize {
        let mut size = self.known;
        size += self.unknown;
        size
    }
}
