//! Stage 2, documents: the division of a corpus into a training and a validation set.

use super::Corpus;
use crate::document_index::DocumentIndex;
use crate::document_set::DocumentList;
use crate::error::{Error, Result};
use crate::rng::SplitMix64;

impl Corpus {
    /// Moves the documents of the validation set to the end of the corpus, and returns the number of documents before
    /// them: the training set. Both keep the order of the text.
    ///
    /// A document belongs to the validation set if a digest of `seed` and its content, as a fraction of 2^64, is below
    /// `fraction`. The content is the text of its tokens: the document after the normalization, whichever tokens are in
    /// the vocabulary. So equal documents are in the same set, and neither the order of the documents nor the other
    /// documents change the set. Only if one set would be empty, the documents with the lowest digest are moved to the
    /// validation set, or those with the highest to the training set.
    ///
    /// ```
    /// use rnnlm_vocab::{Corpus, CorpusOptions, Documents, Ids};
    ///
    /// let options = CorpusOptions { documents: Documents::Lines, ..CorpusOptions::default() };
    /// let mut corpus = Corpus::from_bytes(b"ada\ngrace\nada\nmary\n", &options)?;
    /// let num_training = corpus.split_documents(0.25, 0)?;
    /// let training = corpus.document_set(0..num_training).unwrap();
    /// let validation = corpus.document_set(num_training..corpus.documents.len()).unwrap();
    /// assert_eq!(training.len() + validation.len(), 4);
    /// let ids = |document: Ids<'_>| document.load().map(|ids| ids.into_owned());
    /// for document in training.iter() {
    ///     assert!(validation.iter().all(|other| ids(other).ok() != ids(document).ok()));
    /// }
    /// # Ok::<(), rnnlm_vocab::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TooFewDocuments`] if `fraction` is above 0 and all documents are equal.
    pub fn split_documents(&mut self, fraction: f64, seed: u64) -> Result<usize> {
        let documents = self.documents.len();
        if fraction <= 0.0 {
            return Ok(documents);
        }
        let is_validation = is_validation(&self.document_contents(), fraction, seed)?;
        let lengths: Vec<usize> = self.documents.ranges().map(|range| range.len()).collect();
        let vocab = &self.vocab;
        let is_unknown =
            |range: std::ops::Range<usize>| self.ids[range].iter().filter(|&&id| vocab.is_unknown(id)).count();
        let unknown_lengths: Vec<usize> = self.documents.ranges().map(is_unknown).collect();
        move_to_end(&mut self.ids, &lengths, &is_validation);
        if let Some(contents) = &mut self.document_contents {
            move_to_end(contents, &vec![1; documents], &is_validation); // the unknown tokens are not known one by one
        } else {
            move_to_end(self.unknown.occurrences_mut(), &unknown_lengths, &is_validation);
        }
        let in_set = |validation: bool| {
            let both = lengths.iter().zip(&is_validation);
            both.filter(move |&(_, &is_validation)| is_validation == validation).map(|(&length, _)| length)
        };
        let ordered: Vec<usize> = in_set(false).chain(in_set(true)).collect();
        self.documents = DocumentIndex::from_lengths(ordered.into_iter());
        Ok(is_validation.iter().filter(|&&is_validation| !is_validation).count())
    }

    /// A digest of the content of each document, from which [`DocumentList::split`] chooses the validation set.
    pub fn document_contents(&self) -> Vec<u64> {
        if let Some(contents) = &self.document_contents {
            return contents.clone();
        }
        let kind = self.vocab.kind();
        let mut unknown = self.unknown.raw_tokens(kind);
        let contents = self.documents.ranges().map(|range| {
            let mut content = Fnv1a::default();
            let mut previous = None;
            for &id in self.ids[range].iter().filter(|&&id| Some(id) != self.vocab.end_token()) {
                // as in a token cache, which has no other separators
                content.add(previous.map_or("", |_| kind.separator()).as_bytes());
                let known = if self.vocab.is_unknown(id) { unknown.next() } else { self.vocab.raw_token(id) };
                content.add(known.unwrap_or_default());
                previous = Some(id);
            }
            content.value()
        });
        contents.collect()
    }
}

impl DocumentList {
    /// Divides documents, whose contents have these digests, into a training and a validation set, as
    /// [`Corpus::split_documents`] does, without moving their ids.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::split_documents`].
    pub fn split(index: &DocumentIndex, contents: &[u64], fraction: f64, seed: u64) -> Result<[Self; 2]> {
        if fraction <= 0.0 {
            return Ok([Self::new(index, |_| true), Self::default()]);
        }
        let is_validation = is_validation(contents, fraction, seed)?;
        Ok([false, true].map(|set| Self::new(index, |document| is_validation[document] == set)))
    }
}

/// Whether each document is in the validation set.
fn is_validation(contents: &[u64], fraction: f64, seed: u64) -> Result<Vec<bool>> {
    let documents = contents.len();
    let digest = |&content: &u64| SplitMix64::with_index(seed, content).next_u64();
    let (Some(lowest), Some(highest)) = (contents.iter().map(digest).min(), contents.iter().map(digest).max()) else {
        return Err(Error::TooFewDocuments { fraction, documents, distinct: 0 });
    };
    if lowest == highest {
        return Err(Error::TooFewDocuments { fraction, documents, distinct: 1 });
    }
    let bound = (fraction * 2_f64.powi(64)).ceil() as u128; // the product is exact
    let bound = bound.clamp(u128::from(lowest) + 1, u128::from(highest));
    Ok(contents.iter().map(|content| u128::from(digest(content)) < bound).collect())
}

/// Moves the segments that `is_moved` marks to the end. All segments keep their order.
fn move_to_end<T: Copy>(items: &mut Vec<T>, lengths: &[usize], is_moved: &[bool]) {
    let mut moved = Vec::new();
    let (mut start, mut kept) = (0, 0);
    for (&length, &is_moved) in lengths.iter().zip(is_moved) {
        let segment = start..start + length;
        start += length;
        if is_moved {
            moved.extend_from_slice(&items[segment]);
        } else {
            items.copy_within(segment, kept);
            kept += length;
        }
    }
    items.truncate(kept);
    items.append(&mut moved);
}

/// The hash function FNV-1a with 64 bits. It has the same values in every version and on every machine.
///
/// Source: G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, "The FNV Non-Cryptographic Hash Algorithm", IETF draft.
pub(crate) struct Fnv1a(u64);

impl Default for Fnv1a {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Fnv1a {
    pub(crate) fn value(&self) -> u64 {
        self.0
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_matches_published_values() {
        let hash = |text: &str| {
            let mut hash = Fnv1a::default();
            hash.add(text.as_bytes());
            hash.0
        };
        let published = [("", 0xCBF2_9CE4_8422_2325), ("a", 0xAF63_DC4C_8601_EC8C), ("foobar", 0x8594_4171_F739_67E8)];
        published.into_iter().for_each(|(text, value)| assert_eq!(hash(text), value, "{text}"));
    }

    #[test]
    fn marked_segments_move_to_the_end() {
        let mut items = vec![1, 2, 3, 4, 5, 6, 7];
        move_to_end(&mut items, &[2, 1, 0, 3, 1], &[true, false, false, true, false]);
        assert_eq!(items, [3, 7, 1, 2, 4, 5, 6]);
    }
}
