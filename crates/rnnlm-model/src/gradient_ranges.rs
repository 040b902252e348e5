//! Where the gradients of a training step may differ from zero: everywhere but in the rows of an embedding whose tokens are
//! not in the minibatch. Clearing, norm and update of these ranges take time that does not depend on the vocabulary.
//!
//! ```text
//! all parameters  │ before │ embedding: row 0 · row 2 row 3 · · row 6 · │ after │
//! ranges            ██████              █████   ███████████     █████     █████
//! ```

use std::ops::Range;

use rnnlm_rnn::{ParameterSet, ParameterSpec};
use rnnlm_tensor::{Backend, ops};

use crate::Result;

/// Ascending ranges of the flat parameters.
#[derive(Debug)]
pub(crate) struct GradientRanges {
    /// The number of all parameters.
    len: usize,
    /// The embedding; `None` if all gradients are dense.
    table: Option<Table>,
    ranges: Vec<Range<usize>>,
    /// Which of `ranges` are rows of the embedding.
    rows: Range<usize>,
}

#[derive(Debug)]
struct Table {
    range: Range<usize>,
    row_len: usize,
    /// The distinct inputs of a minibatch, in ascending order.
    ids: Vec<u32>,
}

impl GradientRanges {
    /// One range of all `len` parameters.
    pub(crate) fn dense(len: usize) -> Self {
        Self { len, table: None, ranges: std::iter::once(0..len).collect(), rows: 0..0 }
    }

    /// Ranges for minibatches of at most `max_ids` inputs, which select rows of the embedding `table`. No range of the
    /// embedding is set.
    pub(crate) fn sparse(len: usize, table: &ParameterSpec, max_ids: usize) -> Self {
        let row_len = table.shape.last().copied().unwrap_or(0);
        let ids = Vec::with_capacity(max_ids);
        let table = Table { range: table.range(), row_len, ids };
        let mut ranges = Self { len, table: Some(table), ranges: Vec::with_capacity(max_ids + 2), rows: 0..0 };
        ranges.set(&[]);
        ranges
    }

    /// All ranges.
    pub(crate) fn all(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// The ranges before the embedding, the rows of the embedding, and the ranges after it.
    pub(crate) fn parts(&self) -> [&[Range<usize>]; 3] {
        let (before, others) = self.ranges.split_at(self.rows.start);
        let (rows, after) = others.split_at(self.rows.len());
        [before, rows, after]
    }

    /// Sets all gradients to zero, and the ranges to those of a minibatch with these inputs, which the embedding contains. The
    /// first set has the sums of the last step in the ranges, and the others have unknown values.
    pub(crate) fn clear<B: Backend>(
        &mut self,
        backend: &B,
        inputs: &[u32],
        gradients: &mut [ParameterSet<B>],
    ) -> Result<()> {
        let Some((gradients, others)) = gradients.split_first_mut() else { return Ok(()) };
        others.iter_mut().try_for_each(|shard| ops::fill(backend, 0.0, shard.flat_mut()))?;
        if backend.prefers_ranges() {
            for range in &self.ranges {
                ops::fill(backend, 0.0, gradients.flat_mut().cols(range.clone()))?;
            }
        } else {
            ops::fill(backend, 0.0, gradients.flat_mut())?;
        }
        self.set(inputs);
        Ok(())
    }

    /// Sets the rows of the embedding.
    fn set(&mut self, inputs: &[u32]) {
        let Some(Table { range: table, row_len, ids }) = &mut self.table else { return };
        ids.clear();
        ids.extend_from_slice(inputs);
        ids.sort_unstable();
        ids.dedup();
        let outside = [0..table.start, table.end..self.len].map(|range| (!range.is_empty()).then_some(range));
        let [before, after] = outside;
        self.ranges.clear();
        self.ranges.extend(before);
        let first = self.ranges.len();
        for &id in &*ids {
            let start = table.start + id as usize * *row_len;
            let end = start + *row_len;
            match self.ranges[first..].last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => self.ranges.push(start..end),
            }
        }
        self.rows = first..self.ranges.len();
        self.ranges.extend(after);
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges")]
mod tests {
    use rnnlm_rnn::ParameterLayout;

    use super::*;

    #[test]
    fn ranges_are_the_rows_of_the_inputs_and_all_other_parameters() {
        let mut layout = ParameterLayout::default();
        layout.add_bias("before", 3, 1).unwrap();
        let embedding = layout.add_embedding("embedding.weight", [5, 2]).unwrap();
        layout.add_bias("after", 4, 1).unwrap();
        let mut ranges = GradientRanges::sparse(layout.len(), layout.spec(embedding), 6);
        assert_eq!(ranges.all(), [0..3, 13..17]);
        ranges.set(&[4, 1, 0, 1, 4, 4]);
        assert_eq!(ranges.parts(), [&[0..3][..], &[3..7, 11..13], &[13..17]]);
        assert_eq!(GradientRanges::dense(17).parts(), [&[][..], &[], &[0..17]]);
    }
}
