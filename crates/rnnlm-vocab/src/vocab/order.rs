//! The order of the ids.

use super::Vocab;

impl Vocab {
    /// The first token that is more frequent than the one before it; `None` if the ids are by descending frequency. `<unk>` and
    /// reserved tokens can have any frequency. A vocabulary without frequencies counts as ordered.
    ///
    /// ```
    /// use rnnlm_vocab::{Corpus, CorpusOptions};
    ///
    /// let vocab = Corpus::from_bytes(b"abba tabu", &CorpusOptions::default())?.vocab;
    /// assert_eq!(vocab.first_out_of_frequency_order(), None);
    /// # Ok::<(), rnnlm_vocab::Error>(())
    /// ```
    pub fn first_out_of_frequency_order(&self) -> Option<u32> {
        let first = self.most_frequent_id() as usize;
        let frequencies = self.frequencies.get(first..)?;
        let index = frequencies.windows(2).position(|pair| pair[1] > pair[0])?;
        Some((first + index + 1) as u32)
    }
}
