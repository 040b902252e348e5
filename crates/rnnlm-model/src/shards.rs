//! The canonical shards of a minibatch. Their gradients are added along one binary tree, whichever rank computes them:
//!
//! ```text
//! rows      0 … N/4   N/4 … N/2   N/2 … 3N/4   3N/4 … N          N rows, S = 4 shards
//! shards       g₀          g₁           g₂           g₃          each the sum over the rows of one shard
//!              └─── + ──────┘           └──── + ──────┘
//!                   └─────────── + ──────────┘                   (g₀ + g₁) + (g₂ + g₃)
//! ```
//!
//! Rank `r` of `n` owns the shards `[r·S/n, (r+1)·S/n)`. It adds within the largest subtrees of its shards and sends the sums;
//! every rank then adds what is left of the tree.

use std::ops::Range;

use rnnlm_tensor::MaskRows;

use crate::{Collective, Error, Result, TrainConfig};

/// The shards of a minibatch, and which of them this rank computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shards {
    /// **S**, a power of two.
    pub(crate) count: usize,
    /// **N**, the rows of the whole minibatch.
    pub(crate) batch_size: usize,
    rank: usize,
    size: usize,
}

/// A complete subtree: `len` shards, a power of two, from shard `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subtree {
    pub(crate) first: usize,
    pub(crate) len: usize,
}

impl Subtree {
    /// The additions within the subtree, in order: `[a, b]` adds the sum at shard `b` to that at shard `a`.
    pub(crate) fn additions(self) -> impl Iterator<Item = [usize; 2]> {
        let leaves: Vec<_> = (self.first..self.first + self.len).map(|first| Self { first, len: 1 }).collect();
        additions(&leaves).into_iter().map(move |pair| pair.map(|index| self.first + index))
    }
}

impl Shards {
    /// The shards of `config` on a rank of `collective`.
    ///
    /// # Errors
    /// If there are fewer shards than ranks.
    pub(crate) fn new(config: &TrainConfig, collective: &dyn Collective) -> Result<Self> {
        let (count, size) = (config.shards, collective.size());
        if count < size {
            let value = format!("{count} with {size} ranks");
            return Err(Error::Setting { name: "shards", value, needed: "at least the number of ranks" });
        }
        Ok(Self { count, batch_size: config.batch_size, rank: collective.rank(), size })
    }

    /// The shards of rank `rank`.
    pub(crate) fn of_rank(&self, rank: usize) -> Range<usize> {
        let first = |rank: usize| (rank as u128 * self.count as u128 / self.size as u128) as usize;
        first(rank)..first(rank + 1)
    }

    /// The shards of this rank.
    pub(crate) fn local(&self) -> Range<usize> {
        self.of_rank(self.rank)
    }

    /// The rows of the shards of `rank` in each step.
    pub(crate) fn rows_of_rank(&self, rank: usize) -> Range<usize> {
        let (rows, shards) = (self.batch_size / self.count, self.of_rank(rank));
        rows * shards.start..rows * shards.end
    }

    /// The rows of this rank's shards in each step.
    pub(crate) fn rows(&self) -> Range<usize> {
        self.rows_of_rank(self.rank)
    }

    /// This rank's rows of a carried state, which has `num_states` times the rows of a minibatch.
    pub(crate) fn own_rows(&self, state: &[f32], num_states: usize) -> Vec<f32> {
        let (rows, per_state) = (self.rows(), state.len() / num_states);
        let cols = per_state / self.batch_size;
        let own = |state: usize| state * per_state + rows.start * cols..state * per_state + rows.end * cols;
        (0..num_states).flat_map(|index| &state[own(index)]).copied().collect()
    }

    /// The rows of all ranks of a carried state, given those of each rank.
    pub(crate) fn join_rows(&self, ranks: &[Vec<f32>], num_states: usize) -> Vec<f32> {
        let part = |state: usize, own: &[f32]| {
            let len = own.len() / num_states;
            own[state * len..(state + 1) * len].to_vec()
        };
        (0..num_states).flat_map(|state| ranks.iter().flat_map(move |own| part(state, own))).collect()
    }

    /// The rows of this rank, for dropout masks of the whole minibatch.
    pub(crate) fn mask_rows(&self) -> MaskRows {
        if self.size == 1 {
            return MaskRows::default();
        }
        let rows = self.rows();
        MaskRows { first: rows.start as u32, len: rows.len() as u32, batch_size: self.batch_size as u32 }
    }

    /// The largest subtrees of the shards of each rank, in order.
    pub(crate) fn subtrees(&self) -> Vec<Vec<Subtree>> {
        (0..self.size).map(|rank| subtrees(self.of_rank(rank))).collect()
    }
}

/// The largest complete subtrees that together have the shards `range`, in order.
pub(crate) fn subtrees(mut range: Range<usize>) -> Vec<Subtree> {
    let mut found = Vec::new();
    while !range.is_empty() {
        // a subtree starts at a multiple of its length
        let aligned = if range.start == 0 { usize::MAX } else { 1 << range.start.trailing_zeros() };
        let len = (1 << range.len().ilog2()).min(aligned);
        found.push(Subtree { first: range.start, len });
        range.start += len;
    }
    found
}

/// The additions that complete a tree, in order: `[a, b]` adds the sum of part `b` to that of part `a`. `parts` are subtrees
/// that are added already, in order.
pub(crate) fn additions(parts: &[Subtree]) -> Vec<[usize; 2]> {
    let mut open: Vec<(usize, Subtree)> = parts.iter().copied().enumerate().collect();
    let mut additions = Vec::new();
    // two neighbours of the same length, of which the first starts at a multiple of the sum, are a subtree
    let is_pair = |pair: &[(usize, Subtree)]| {
        let [a, b] = [pair[0].1, pair[1].1];
        a.len == b.len && a.first.is_multiple_of(2 * a.len)
    };
    while let Some(index) = open.windows(2).position(is_pair) {
        let (b, _) = open.remove(index + 1);
        additions.push([open[index].0, b]);
        open[index].1.len *= 2;
    }
    additions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(parts: &[Subtree]) -> Vec<(usize, usize)> {
        parts.iter().map(|part| (part.first, part.len)).collect()
    }

    #[test]
    fn ranks_own_all_shards_and_send_complete_subtrees() {
        let shards = |rank, size| Shards { count: 8, batch_size: 16, rank, size };
        // three ranks: 0 and 1, 2 to 4, 5 to 7
        let sent: Vec<_> = shards(0, 3).subtrees().iter().map(|parts| pairs(parts)).collect();
        assert_eq!(sent, [vec![(0, 2)], vec![(2, 2), (4, 1)], vec![(5, 1), (6, 2)]]);
        assert_eq!([0, 1, 2].map(|rank| shards(rank, 3).rows()), [0..4, 4..10, 10..16]);
        assert_eq!(pairs(&shards(0, 1).subtrees()[0]), [(0, 8)]);
        assert_eq!(shards(0, 1).mask_rows(), MaskRows::default());
        assert_eq!(shards(1, 3).mask_rows(), MaskRows { first: 4, len: 6, batch_size: 16 });
    }

    /// The expression that a tree adds, of the shards `0..count` cut among `size` ranks.
    fn expression(count: usize, size: usize) -> String {
        let shards = Shards { count, batch_size: count, rank: 0, size };
        let mut sums: Vec<String> = (0..count).map(|shard| shard.to_string()).collect();
        let mut add = |a: usize, b: usize| sums[a] = format!("({}+{})", sums[a], sums[b]);
        let parts = shards.subtrees().concat();
        for part in &parts {
            part.additions().for_each(|[a, b]| add(a, b));
        }
        for [a, b] in additions(&parts) {
            add(parts[a].first, parts[b].first);
        }
        sums.swap_remove(0)
    }

    #[test]
    fn every_number_of_ranks_adds_along_the_same_tree() {
        assert_eq!(expression(4, 1), "((0+1)+(2+3))");
        for count in [1, 2, 4, 8, 16, 64] {
            for size in 1..=count {
                assert_eq!(expression(count, size), expression(count, 1), "{count} shards on {size} ranks");
            }
        }
    }
}
