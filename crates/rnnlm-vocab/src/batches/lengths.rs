//! Stage 3, minibatches of different lengths.

use std::ops::Range;

use super::{Batches, RowStarts};

impl Batches<'_> {
    /// Cuts the rows of sequential partitioning into minibatches of `next_length()` steps each, at least 1, instead of T. The
    /// last minibatch has what remains. Random sampling has no rows to cut and does not change.
    ///
    /// ```
    /// use rnnlm_vocab::Batches;
    ///
    /// let corpus: Vec<u32> = (0..100).collect();
    /// let mut lengths = [3, 7].into_iter().cycle();
    /// let batches = Batches::sequential(&corpus, 2, 5, 0, 0)?.with_lengths(|| lengths.next().unwrap_or(5));
    /// assert_eq!([batches.steps(0..1), batches.steps(1..2)], [3, 7]);
    /// # Ok::<(), rnnlm_vocab::Error>(())
    /// ```
    #[must_use]
    pub fn with_lengths(self, mut next_length: impl FnMut() -> usize) -> Self {
        let row_length = match self.row_starts {
            RowStarts::Sequential { row_length } | RowStarts::Documents { row_length, .. } => row_length,
            RowStarts::Random(_) => return self,
        };
        let mut first_steps = vec![0];
        let mut next = 0;
        while next < row_length {
            next = next.saturating_add(next_length().max(1)).min(row_length);
            first_steps.push(next);
        }
        Self { num_minibatches: first_steps.len() - 1, first_steps: Some(first_steps), ..self }
    }

    /// Number of steps of the minibatches in `range`, which does not exceed the epoch.
    pub fn steps(&self, range: Range<usize>) -> usize {
        match &self.first_steps {
            Some(first_steps) => first_steps[range.end] - first_steps[range.start],
            None => range.len() * self.num_steps,
        }
    }
}
