//! Stage 2, documents: where the documents of a corpus start and end.

use std::ops::Range;

use crate::memory::{MemoryUse, Stop};

/// Ascending offsets in 4 bytes each, also beyond 2^32.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    /// The low 32 bits of each offset.
    low: Vec<u32>,
    /// The high 32 bits of an offset are the number of these that are at most its index.
    carries: Vec<usize>,
}

impl Offsets {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { low: Vec::with_capacity(capacity), carries: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.low.len()
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.len().checked_sub(1).map(|last| self.get(last))
    }

    /// Appends an offset, at least as large as the last one.
    pub(crate) fn push(&mut self, offset: u64) {
        let high = (offset >> 32) as usize;
        self.carries.resize(high.max(self.carries.len()), self.low.len());
        self.low.push(offset as u32);
    }

    /// The offset at `index`, which must be in range.
    pub(crate) fn get(&self, index: usize) -> u64 {
        let high = self.carries.partition_point(|&carry| carry <= index) as u64;
        high << 32 | u64::from(self.low[index])
    }

    /// Number of offsets that are at most `value`.
    pub(crate) fn count_up_to(&self, value: u64) -> usize {
        let high = (value >> 32) as usize;
        let carry = |number: usize| self.carries.get(number).copied().unwrap_or(self.low.len());
        let start = if high == 0 { 0 } else { carry(high - 1) };
        start + self.low[start..carry(high)].partition_point(|&low| low <= value as u32)
    }
}

/// Bytes that an epoch of minibatches takes for each document: its number in the order, and an offset.
const EPOCH_BYTES: u64 = 8;

/// The ranges of the documents in the ids of a corpus. It takes 4 bytes a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentIndex {
    ends: Offsets,
}

impl DocumentIndex {
    /// The maximum number of documents.
    pub const MAX_DOCUMENTS: usize = u32::MAX as usize;

    /// The index of adjacent documents with these lengths.
    pub(crate) fn from_lengths(lengths: impl ExactSizeIterator<Item = usize>) -> Self {
        let mut ends = Offsets::with_capacity(lengths.len());
        let mut end = 0;
        for length in lengths {
            end += length as u64;
            ends.push(end);
        }
        Self { ends }
    }

    /// Appends a document of `tokens` tokens. Its entry counts as memory, and so does what minibatches take for it.
    pub(crate) fn try_push(&mut self, tokens: usize, memory: &mut MemoryUse) -> Result<(), Stop> {
        if self.len() == Self::MAX_DOCUMENTS {
            return Err(Stop::TooManyDocuments(Self::MAX_DOCUMENTS));
        }
        memory.reserve(&mut self.ends.low)?;
        memory.allocate(EPOCH_BYTES)?;
        self.ends.push(self.ends.last().unwrap_or(0) + tokens as u64);
        Ok(())
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.ends.low.shrink_to_fit();
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no document: the text is one stream.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The range of a document in the ids, with its end token.
    ///
    /// # Panics
    ///
    /// If there is no document with this index.
    pub fn range(&self, document: usize) -> Range<usize> {
        self.start(document)..self.ends.get(document) as usize
    }

    /// The index in the ids where a document starts. For the number of documents, it is the number of ids.
    fn start(&self, document: usize) -> usize {
        document.checked_sub(1).map_or(0, |previous| self.ends.get(previous) as usize)
    }

    /// The ranges of all documents, in order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        (0..self.len()).map(|document| self.range(document))
    }

    /// The range in the ids of adjacent documents.
    pub(crate) fn range_of_documents(&self, documents: Range<usize>) -> Range<usize> {
        self.start(documents.start)..self.start(documents.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_beyond_32_bits_take_4_bytes() {
        let expected = [0, 7, 7, (1 << 32) - 1, 1 << 32, (1 << 32) + 5, (3 << 32) + 1, (3 << 32) + 1, 4 << 32];
        let mut offsets = Offsets::default();
        expected.iter().for_each(|&offset| offsets.push(offset));
        assert_eq!((offsets.low.len(), offsets.carries.as_slice()), (9, &[4, 6, 6, 8][..]));
        assert_eq!((0..9).map(|index| offsets.get(index)).collect::<Vec<_>>(), expected);
        assert_eq!(offsets.last(), Some(4 << 32));
        for value in expected.iter().flat_map(|&offset| [offset.saturating_sub(1), offset, offset + 1]) {
            let count = expected.iter().filter(|&&offset| offset <= value).count();
            assert_eq!(offsets.count_up_to(value), count, "{value}");
        }
        assert_eq!((offsets.count_up_to(u64::MAX), Offsets::default().count_up_to(5)), (9, 0));
    }

    #[test]
    fn a_document_counts_as_twelve_bytes() {
        // 1024 entries of 4 bytes are allocated first, and every document takes 8 more
        let mut memory = MemoryUse::new(4 * 1024 + 8 * 10);
        let mut index = DocumentIndex::default();
        let pushed = (0..20).take_while(|_| index.try_push(1, &mut memory).is_ok()).count();
        assert_eq!((pushed, index.len()), (10, 10));
    }
}
