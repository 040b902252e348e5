//! Rows of a batch: the same sequences alone, among others or in another order.

use crate::device::{Features, StackInputs};

/// The given rows of each block of `batch_size` rows of `width` values, in the order of `rows`.
pub(crate) fn select<T: Copy>(values: &[T], batch_size: usize, rows: &[usize], width: usize) -> Vec<T> {
    let blocks = values.chunks(batch_size * width);
    let selected = blocks.flat_map(|block| rows.iter().map(move |&row| &block[row * width..(row + 1) * width]));
    selected.flatten().copied().collect()
}

impl StackInputs {
    /// The inputs of a batch of these rows, in this order.
    #[must_use]
    pub(crate) fn rows(&self, rows: &[usize]) -> Self {
        let n = self.batch_size;
        let features = |features: &Features| match features {
            Features::Dense(x) => Features::Dense(select(x, n, rows, self.config.input_size)),
            Features::OneHot(ids) => Features::OneHot(select(ids, n, rows, 1)),
        };
        Self {
            batch_size: rows.len(),
            minibatches: self.minibatches.iter().map(features).collect(),
            hidden: select(&self.hidden, n, rows, self.config.hidden_size),
            cell: select(&self.cell, n, rows, self.config.hidden_size),
            grad_output: select(&self.grad_output, n, rows, self.config.output_size()),
            starts: select(&self.starts, n, rows, 1),
            ..self.clone()
        }
    }
}
