//! Stage 2, statistics: the most frequent n-grams of a corpus.

use std::cmp::Reverse;
use std::collections::HashMap;

/// The `limit` most frequent `N`-grams of `ids` with their counts, by descending count. Equal counts are ordered by
/// first occurrence. `N` = 1 counts tokens, 2 bigrams, 3 trigrams, as in section 8.3 of the book.
///
/// ```
/// use rnnlm_vocab::most_frequent;
///
/// let ids = [1, 2, 3, 1, 2];
/// assert_eq!(most_frequent::<1>(&ids, 2), [([1], 2), ([2], 2)]);
/// assert_eq!(most_frequent::<2>(&ids, 1), [([1, 2], 2)]);
/// ```
pub fn most_frequent<const N: usize>(ids: &[u32], limit: usize) -> Vec<([u32; N], u64)> {
    const { assert!(N > 0, "an n-gram has at least one token") }
    let mut index_of = HashMap::new();
    let mut counts: Vec<([u32; N], u64)> = Vec::new();
    for window in ids.windows(N) {
        let mut ngram = [0; N];
        ngram.copy_from_slice(window);
        let index = *index_of.entry(ngram).or_insert(counts.len());
        match counts.get_mut(index) {
            Some((_, count)) => *count += 1,
            None => counts.push((ngram, 1)),
        }
    }
    counts.sort_by_key(|&(_, count)| Reverse(count)); // a stable sort keeps ties in order of first occurrence
    counts.truncate(limit);
    counts
}
