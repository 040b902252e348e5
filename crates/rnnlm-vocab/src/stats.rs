//! Stage 2 of the walk, looked at: which tokens, pairs and triples of tokens a corpus repeats most.

use std::cmp::Reverse;
use std::collections::HashMap;

/// The `limit` commonest sequences of `N` neighbouring ids by falling count, ties in the order in which they were first
/// seen. `N` = 1 counts tokens, 2 bigrams, 3 trigrams, as *Dive into Deep Learning* does in section 8.3.
///
/// ```
/// let ids = [1, 2, 3, 1, 2];
/// assert_eq!(rnnlm_vocab::commonest::<1>(&ids, 2), [([1], 2), ([2], 2)]);
/// assert_eq!(rnnlm_vocab::commonest::<2>(&ids, 1), [([1, 2], 2)]);
/// ```
pub fn commonest<const N: usize>(ids: &[u32], limit: usize) -> Vec<([u32; N], u64)> {
    const { assert!(N > 0, "a sequence has at least one token") }
    let mut places = HashMap::new();
    let mut counts: Vec<([u32; N], u64)> = Vec::new();
    for window in ids.windows(N) {
        let mut sequence = [0; N];
        sequence.copy_from_slice(window);
        let place = *places.entry(sequence).or_insert(counts.len());
        match counts.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => counts.push((sequence, 1)),
        }
    }
    counts.sort_by_key(|&(_, count)| Reverse(count)); // stable: ties stay in the order of first sight
    counts.truncate(limit);
    counts
}
